"""One micro-batch, top to bottom: decode, observe, recommend, and the lesson of what it taught. It knows no Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from state.profiles import Write
from streams.answer import Messages, SegmentChange
from streams.decode import Batch, DeadLetter, Rekeyed, decode_batch
from streams.items import ItemNumbers
from streams.learned import Teacher
from streams.lessons import lesson_of
from streams.metrics import Metrics
from streams.models.lesson import Lesson
from streams.models.models import Models
from streams.observe import Observer
from streams.observed import Observed
from streams.profiles import Profiles, Reads
from streams.pseudonyms import addressed
from streams.records import Kind, Record, encode, with_lesson
from streams.scoring import Scored, Scorer
from streams.settings import Settings

__all__ = ["Answer", "Pipeline"]


# Users scored on the loop itself, a few milliseconds' worth; more are scored beside it, without the GIL.
_FEW = 100


@dataclass(slots=True)
class Answer:
    """All that a micro-batch sends out: to Kafka first, then to Redis (rule 5)."""

    recommendations: list[tuple[bytes, bytes]] = field(default_factory=list)
    segments: list[SegmentChange] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    rekeyed: list[Rekeyed] = field(default_factory=list)
    linked: list[Rekeyed] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    writes: dict[int, list[Write]] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    received: list[float] = field(default_factory=list)
    users: Collection[str] = ()
    events: int = 0
    refused: int = 0
    forgotten: int = 0
    merged: int = 0

    @property
    def gone(self) -> list[str]:
        """The users of whom nothing is left."""
        return [write.user_id for writes in self.writes.values() for write in writes if write.gone]

    def sent_on(self) -> list[Rekeyed]:
        """Give what goes to other users' partitions in the order of its origins, which is what their fences count on."""
        return sorted([*self.rekeyed, *self.linked], key=lambda one: one.origin)


class Pipeline:
    """Turns a batch of messages into an answer; the same object serves the worker, the demo, an evaluation and tests."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        teacher: Teacher,
        reads: Reads,
        metrics: Metrics,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.models = models
        self.teacher = teacher
        self.items = ItemNumbers()
        self.profiles = Profiles(reads, settings, self.items)
        self.scorer = Scorer(settings, models, self.profiles, self.items)
        # Folding and scoring exclude each other: scoring reads the arrays in a thread without the GIL.
        self.lock = asyncio.Lock()
        self.observer = Observer(settings, teacher, self.items, self.profiles, self.scorer.labels, self.scorer.knows)
        self._messages = Messages()
        self.segment_names: Mapping[int, str] = {}
        self._metrics = metrics
        self._executor = executor
        self._clock = clock

    async def prepare(self, batch: Batch, partitions: int) -> Answer:
        """Carry a micro-batch through all stages up to, not including, publishing; ``partitions`` is the topic's count."""
        self.profiles.tidy()
        with self._metrics.stage("decode"):
            decoded = decode_batch(batch, self.settings, partitions, self.profiles)
        homes = decoded.homes()
        profiles = await self.profiles.get(homes)
        for origin, count in self.profiles.found.items():
            self._metrics.profiles.labels(origin).inc(count)
        async with self.lock:
            with self._metrics.stage("observe"):
                observed = self.observer.observe(batch, decoded, profiles)
            with self._metrics.stage("recommend"):
                scored = await self._score(observed)
            for profile in observed.blank.values():
                self.profiles.clear(profile.slot)
        with self._metrics.stage("encode"):
            answer = Answer(
                dead=[*decoded.dead, *observed.dead],
                rekeyed=decoded.rekeyed,
                linked=observed.linked,
                ends=batch.ends(),
                users=homes,
                events=observed.events,
                refused=observed.refused,
                forgotten=len(observed.forgotten),
                merged=len(observed.merged),
            )
            # Of every event, not of every list: a list answers all of its user's events in the batch.
            answer.received = [placed.received for events in decoded.events.values() for placed in events]
            answer.records = self.teach(observed, scored)
            self._recommend(answer, observed, scored, decoded.names)
        return answer

    async def _score(self, observed: Observed) -> Scored:
        if len(observed.profiles) <= _FEW:
            # Taking turns at the interpreter's lock with the loop would cost more than these few users do.
            return self.scorer.score(observed)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.scorer.score, observed)

    def teach(self, observed: Observed, scored: Scored) -> list[bytes]:
        """Make the record of each partition's lesson."""
        lessons = self.lessons(observed, scored)
        return [encode(with_lesson(record, lesson)) for record, lesson in lessons]

    def lessons(self, observed: Observed, scored: Scored) -> Iterator[tuple[Record, Lesson]]:
        """Give each partition's lesson, with the record that carries it, still empty; from here on it is under way."""
        for partition, teaching in observed.teachings.items():
            lesson = lesson_of(partition, teaching, scored, self.items)
            self.teacher.send(partition, teaching.start, teaching.end)
            yield Record(Kind.LESSON, self.teacher.writer, partition, teaching.start, teaching.end, b""), lesson

    def _recommend(self, answer: Answer, observed: Observed, scored: Scored, names: Mapping[str, str]) -> None:
        now = self._clock()
        answer.writes = {partition: [] for partition in answer.ends}
        self._forget(answer, observed, names)
        for row, profile in enumerate(observed.profiles.values()):
            partition, trigger = observed.triggers[profile.user_id]
            # Empty for a person of whom only the pseudonym is known: what a device did is answered to the device.
            user_id = trigger.user_id or names.get(profile.user_id, "")
            if user_id:
                segment = -1 if profile.user_id in observed.blank else scored.segments[row]
                change = self._messages.segment(user_id, profile, segment, trigger.event.time, self.segment_names)
                if change:
                    answer.segments.append(change)
            told = profile, partition, trigger, scored, row, now
            message = self._messages.recommendation(user_id or profile.user_id, *told)
            if user_id:
                answer.recommendations.append((user_id.encode(), message))
            for device in observed.devices.get(profile.user_id, ()):
                answer.recommendations.append((device.encode(), self._messages.recommendation(device, *told)))
            if user_id not in {"", profile.user_id}:  # what is stored is under the pseudonym
                message = addressed(message, user_id, profile.user_id)
            # Taken now: the next batch changes the profile before this one is written.
            mode = observed.mode(profile)
            if profile.user_id in observed.blank:
                answer.writes[partition].append(profile.write_standing(partition, mode))
                continue
            profile.updated_at = now
            texts = scored.histories[row], scored.neighbors[row], message
            answer.writes[partition].append(profile.write(partition, *texts, mode))

    def _forget(self, answer: Answer, observed: Observed, names: Mapping[str, str]) -> None:
        """Say that users were forgotten, before anything is said of them again, and write those who are given no list."""
        left = [name or names.get(user_id, "") for user_id, name in (*observed.forgotten.items(), *observed.merged.items())]
        answer.segments += [SegmentChange(name.encode(), None) for name in left if name]
        for user_id, (partition, profile) in observed.wishes.items():
            if user_id not in observed.triggers:
                answer.writes[partition].append(profile.write_standing(partition, observed.mode(profile)))
