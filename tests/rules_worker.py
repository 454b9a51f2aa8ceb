"""A worker of the rules' world: the real code but for reading and sending, with its stages as single steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as Lost

from state.profiles import Stored
from state.store import Store
from streams.decode import Batch
from streams.failures import is_transient
from streams.knobs.models import ModelKnobs, Publish, Segments
from streams.knobs.servers import Intake
from streams.learned import Teacher
from streams.metrics import Metrics
from streams.pipeline import Answer, Pipeline
from streams.positions import Positions
from streams.records import decode
from streams.settings import Settings

if TYPE_CHECKING:
    from tests.rules_world import World

NOW = 1.7e9

# Three users in memory: profiles come and go all the time. Small models: a history takes a tenth of a second.
SETTINGS = Settings(
    intake=Intake.model_construct(cached_users=3, batch_events=7, future_skew_s=300.0),
    models=ModelKnobs(visitors=8, length=8, dimensions=8, keep=10, posting=8, per_source=5, neighbors=5),
    segments=Segments(k=2),
    publish=Publish(size=3),
)
PARAMETERS = SETTINGS.parameters()
PARAMETERS["segments"] |= {"buffer": 8, "reservoir": 16, "window": 8}
METRICS = Metrics(CollectorRegistry())


@dataclass(slots=True)
class Message:
    """A record of the events topic."""

    offset: int
    value: bytes
    key: bytes | None = None
    timestamp: int = int(NOW * 1000)
    headers: Sequence[tuple[str, bytes]] = ()


class Wire(Store):
    """A worker's way to Redis, which breaks when told: before a command, or after some commands of a commit."""

    broken = False
    room: int | None = None
    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        found = await super().load(user_ids)
        self.meanwhile()
        return found

    async def _send(self, commands: Iterable[Any]) -> list[Any]:
        self._notice()
        whole = list(commands)
        if self.room is not None and self.room < len(whole):
            part, self.room = whole[: self.room], None
            await super()._send(part)
            raise Lost("lost in the middle of a commit")
        return await super()._send(whole)

    async def applied(self) -> dict[int, int]:
        self._notice()
        return await super().applied()

    def _notice(self) -> None:
        if self.broken:
            self.broken = False
            raise Lost("lost while it was idle")


class Worker:
    """The real parts, put together as the service does, with its stages as single steps."""

    def __init__(self, world: World, *, oldest: bool = False) -> None:
        self.world = world
        self.fold = world.thawed(oldest=oldest)
        self.teacher = Teacher(world.writer(), self.fold.taught)
        self.wire = Wire(world.redis, world.keys, chunk=2)
        self.pipeline = Pipeline(world.settings, self.fold.models, self.teacher, self.wire, METRICS, clock=lambda: NOW)
        self.positions = Positions("events", self.teacher)
        self.due: set[int] = set()
        self.leaving: deque[Answer] = deque()
        self.failed: Exception | None = None
        self.published = True
        self.refusals = 0
        self.luck = 0

    def follow(self, most: int | None = None) -> None:
        log, models = self.world.log, self.fold.models
        end = len(log) if most is None else min(len(log), models.version + most)
        for offset in range(models.version, end):
            record = decode(log[offset], offset)
            if self.teacher.refused(record, accepted=self.fold.fold(record, offset)):
                self.refusals += 1
                if record.partition in self.positions.next:
                    self.due.add(record.partition)

    async def turn(self, size: int, luck: int) -> None:
        """Carry one batch; what passes by itself is waited for, and then rule 2 says where to go on."""
        self.luck = luck
        try:
            await self._turn(size, luck)
        except Exception as error:
            if not is_transient(error):
                raise
            await self._recover()

    async def _turn(self, size: int, luck: int) -> None:
        if self.due:
            await self.settle()
            await self._resume(sorted(self.due))
        messages = self.world.read(self.positions.next, size, luck)
        if messages and not self.due:
            # The follower does not wait while profiles are loaded.
            self.wire.meanwhile = partial(self.follow, luck % 8 * 3)
            batch = Batch(messages, self.positions.begins({p: some[0].offset for p, some in messages.items()}))
            known = dict(self.positions.applied)
            answer = await self.pipeline.prepare(batch, len(self.world.events))
            self.positions.loaded(known, self.wire.seen())
            self.positions.read(answer.ends)
            await self.make_way()
            self.leaving.append(answer)
            self.published = False
        else:
            await self.settle()

    async def make_way(self) -> None:
        """Publish the batch before, which may then wait to be written; raise what became of those before."""
        self.publish(self.luck)
        while len(self.leaving) > self.luck % 2:
            await self._write()
        if self.failed:
            raise self.failed

    async def settle(self) -> None:
        """Rule 5: finish all batches; raise what became of them."""
        await self.finish()
        if self.failed:
            raise self.failed

    async def finish(self) -> None:
        """Publish the batch in hand, then commit it and those before; what fails is told when it is settled."""
        self.publish(self.luck)
        while self.leaving:
            await self._write()

    async def _write(self) -> None:
        answer = self.leaving.popleft()
        try:
            goals = self.positions.goals(answer.ends)
            self.positions.committed(goals, await self.wire.commit(answer.writes, goals))
            self.pipeline.profiles.let_go(answer.users, answer.gone)
        except Exception as error:
            if not is_transient(error):
                raise
            self.failed = error
            self.leaving.clear()

    def publish(self, luck: int) -> None:
        if not self.published:
            self.world.deliver(self.leaving[-1], luck)
            self.published = True

    def break_off(self, luck: int) -> None:
        """Fail while publishing: some of it arrives, some arrives late, some never."""
        if not self.published:
            self.world.deliver_part(self.leaving.pop(), Random(luck))
            self.published, self.failed = True, Lost("the broker did not answer")

    async def _recover(self) -> None:
        await self.finish()
        self.failed = None
        self.pipeline.profiles.let_go_all()
        self.wire.broken = False
        self.due |= set(self.positions.next)

    async def _resume(self, partitions: Sequence[int]) -> None:
        self.follow()
        applied = await self.wire.applied()
        for partition in partitions:
            begin, end = self.world.begins[partition], len(self.world.events[partition])
            self.positions.resume(partition, applied.get(partition), begin, end)
            self.pipeline.profiles.release(partition)
        self.due -= set(partitions)

    async def assigned(self, partition: int) -> None:
        await self.revoked(partition)
        self.due.add(partition)

    async def revoked(self, partition: int) -> None:
        await self.finish()
        self.positions.release(partition)
        self.due.discard(partition)
        self.pipeline.profiles.release(partition)

    def behind(self) -> bool:
        """Tell whether there is anything left to do."""
        events = self.world.events
        return bool(
            self.due
            or self.leaving
            or self.failed
            or self.fold.models.version < len(self.world.log)
            or any(at < len(events[partition]) for partition, at in self.positions.next.items())
        )
