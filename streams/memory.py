"""The whole loop in memory: profiles in a dictionary, the learned log folded at once. For evaluations, warming up and tests."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from state.profiles import Stored
from streams.follower import Fold
from streams.learned import Taught, Teacher
from streams.metrics import Metrics
from streams.models.models import Models
from streams.observed import Observed
from streams.pipeline import Answer, Pipeline
from streams.profiles import Reads
from streams.records import decode
from streams.scoring import Scored
from streams.settings import Settings

__all__ = ["Loop"]


class _Nowhere:
    """Profiles live in the cache alone."""

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        """Know nobody."""
        return [None] * len(user_ids)


class Loop:
    """A pipeline whose records come back at once, as if worker, broker and Redis took no time."""

    def __init__(
        self,
        settings: Settings,
        *,
        reads: Reads | None = None,
        metrics: Metrics | None = None,
        partitions: int = 1,
    ) -> None:
        self.fold = Fold(Models(**settings.parameters()), Taught())
        self.teacher = Teacher(1, self.fold.taught)
        metrics = metrics or Metrics(CollectorRegistry())
        self.pipeline = Pipeline(settings, self.fold.models, self.teacher, reads or _Nowhere(), metrics)
        for partition in range(partitions):
            self.teacher.resume(partition, None)
        self._offset = 0

    def finish(self, answer: Answer) -> None:
        """Do what the log, Redis and Kafka would do for an answer."""
        self.append(answer.records)
        self.pipeline.profiles.let_go(answer.users, answer.gone)

    def append(self, records: Sequence[bytes]) -> None:
        """Fold records as if the log had returned them, and solve the segments when the keeper would."""
        for value in records:
            record = decode(value, self._offset)
            self.teacher.refused(record, accepted=self.fold.fold(record, self._offset))
            self._offset += 1
        self._solve()

    def learn(self, observed: Observed, scored: Scored) -> None:
        """Fold what was observed, to the same bytes as ``append`` folds its records, without writing and reading them."""
        for record, lesson in self.pipeline.lessons(observed, scored):
            self.teacher.refused(record, accepted=self.fold.learn(record, lesson, self._offset))
            self._offset += 1
        self._solve()

    def _solve(self) -> None:
        segments = self.fold.models.solver
        if segments and segments.needs_solve():
            self.fold.models.adopt(segments.solve(), segments.generation + 1, self.fold.models.time)
