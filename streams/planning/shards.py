"""The rule that keeps shards of the learned log exact, run through random histories with the code that serves.

docs/scale.md states it. Two simulations: in what order records of several log partitions must be folded, and how an event
that arrived in another shard's topic is taught once. Each is also run with the rule broken, which must show.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from streams.follower import Fold
from streams.learned import Taught, Teacher
from streams.models.ids import pack
from streams.models.lesson import Lesson
from streams.models.models import Models
from streams.records import Kind, Record, encode_lesson

__all__ = ["Crossed", "crossing", "same_models"]

SMALL = {"visits": {"visitors": 4, "length": 8}}
PARTITIONS = 1_024  # of a shard at most, so that shard and partition make one number that rule 8's header can carry
Visit = tuple[int, int]
"""A user and an item."""


def record(partition: int, start: int, end: int, visits: Sequence[Visit], origins: Iterable[tuple[int, int]] = ()) -> Record:
    """Make the record of a lesson that has visits only."""
    users, items = ([b"%d" % visit[side] for visit in visits] for side in (0, 1))
    count = len(visits)
    lesson = Lesson(
        events=count,
        user_ids=pack(users),
        user_segments=np.full(count, -1, np.int16),
        item_ids=pack(items),
        users=np.arange(count, dtype=np.uint32),
        items=np.arange(count, dtype=np.uint32),
        weights=np.ones(count, np.float32),
        times=np.array([1e9 + 3_600.0 * (start + n) for n in range(count)]),
        types=pack([b"view"]),
        kinds=np.zeros(count, np.uint8),
        origins=np.array(list(origins), np.int64).reshape(-1, 2),
    )
    return Record(Kind.LESSON, 1, partition, start, end, encode_lesson(lesson))


def fold_of(records: Iterable[Record]) -> Fold:
    """Fold records as a worker does."""
    fold = Fold(Models(**SMALL), Taught())
    for offset, one in enumerate(records):
        fold.fold(one, offset)
    return fold


def state(fold: Fold) -> bytes:
    """All that was learned, as bytes."""
    return b"".join(np.ascontiguousarray(array).tobytes() for _, array in sorted(fold.models.arrays().items()))


def same_models(seed: int, *, logs: int = 3, marks: bool = True, followers: int = 3) -> bool:
    """Tell whether followers of several log partitions end with the same bytes, however their reading interleaves.

    With `marks` one log carries, now and then, how far each log goes: what lies between two marks is folded log by log.
    Without, records are folded as they come.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation is to be repeatable, not secret
    written = [_written(rng, partition) for partition in range(logs)]
    cuts = _marks(rng, [len(log) for log in written])
    orders = (_by_marks(written, cuts) if marks else _as_they_come(rng, written) for _ in range(followers))
    return len({state(fold_of(order)) for order in orders}) == 1


def _written(rng: random.Random, partition: int) -> list[Record]:
    """A log partition that carries one partition of events, with a record now and then that rule 1 refuses."""
    log: list[Record] = []
    at = 0
    for _ in range(rng.randint(3, 10)):
        end = at + rng.randint(1, 4)
        visits = [(10 * partition + rng.randrange(4), rng.randrange(3)) for _ in range(at, end)]
        log += [record(partition, at, end, visits)] * rng.choice([1, 1, 1, 2])
        at = end
    return log


def _marks(rng: random.Random, ends: Sequence[int]) -> list[list[int]]:
    """How far each log is folded at each mark; every mark is at or after the one before, the last is the end."""
    cuts = [[0] * len(ends)]
    while cuts[-1] != list(ends):
        cuts.append([rng.randint(before, end) for before, end in zip(cuts[-1], ends, strict=True)])
    return cuts


def _by_marks(written: Sequence[list[Record]], cuts: Sequence[Sequence[int]]) -> list[Record]:
    spans = ((log, before[n], after[n]) for before, after in pairwise(cuts) for n, log in enumerate(written))
    return [one for log, begin, end in spans for one in log[begin:end]]


def _as_they_come(rng: random.Random, written: Sequence[list[Record]]) -> list[Record]:
    left = [list(log) for log in written]
    order: list[Record] = []
    while waiting := [log for log in left if log]:
        order.append(rng.choice(waiting).pop(0))
    return order


@dataclass(slots=True)
class Message:
    """An event in a partition; `origin` says which place of another shard it came from."""

    user: int
    number: int
    origin: tuple[int, int] | None = None


@dataclass(slots=True)
class Crossed:
    """What a history of crossings came to."""

    once: bool
    at_home: bool
    equal: bool

    @property
    def held(self) -> bool:
        """Whether all of it is as it must be."""
        return self.once and self.at_home and self.equal


@dataclass(slots=True)
class _Shard:
    """One shard: its events, its learned log, its Redis."""

    number: int
    partitions: list[list[Message]]
    log: list[Record] = field(default_factory=list)
    taught: list[list[Message]] = field(default_factory=list)
    applied: dict[int, int] = field(default_factory=dict)


def crossing(seed: int, *, shards: int = 3, fenced: bool = True) -> Crossed:
    """Let events arrive in any shard, and workers carry them home and teach them, through crashes between any two steps."""
    rng = random.Random(seed)  # noqa: S311 - as above
    world = [_Shard(number, [[], []]) for number in range(shards)]
    count = rng.randint(20, 60)
    for number in range(count):
        user = rng.randrange(12)
        rng.choice(world).partitions[user % 2].append(Message(user, number))
    workers = {shard.number: _restarted(shard) for shard in world}
    while any(shard.applied.get(p, 0) < len(part) for shard in world for p, part in enumerate(shard.partitions)):
        shard = rng.choice(world)
        if not _turn(rng, world, shard, workers[shard.number], fenced=fenced):
            workers[shard.number] = _restarted(shard)
    taught = [(shard, message) for shard in world for message in _accepted(shard)]
    return Crossed(
        once=sorted(message.number for _, message in taught) == list(range(count)),
        at_home=all(message.user % shards == shard.number for shard, message in taught),
        equal=all(state(fold_of(shard.log)) == state(workers[shard.number][0]) for shard in world if shard.log),
    )


def _accepted(shard: _Shard) -> list[Message]:
    """The messages of the records that every follower accepts."""
    taught = Taught()
    return [message for one, told in zip(shard.log, shard.taught, strict=True) if taught.accept(one) for message in told]


def _restarted(shard: _Shard) -> tuple[Fold, Teacher]:
    """Rule 2: fold the log to its end, then read on from the smaller of applied and taught."""
    fold = fold_of(shard.log)
    teacher = Teacher(1, fold.taught)
    for partition in range(len(shard.partitions)):
        teacher.resume(partition, shard.applied.get(partition))
    return fold, teacher


def _turn(rng: random.Random, world: list[_Shard], shard: _Shard, worker: tuple[Fold, Teacher], *, fenced: bool) -> bool:
    """One micro-batch by rules 1 to 5 and 8; false when the worker died on the way."""
    fold, teacher = worker
    partition = rng.randrange(len(shard.partitions))
    begin = min(shard.applied.get(partition, 0), fold.taught.ends.get(partition, 0))
    end = min(len(shard.partitions[partition]), begin + rng.randint(1, 5))
    if end <= begin:
        return True
    told: list[Message] = []
    origins: dict[int, int] = {}
    start = teacher.start(partition, begin)
    for offset, message in enumerate(shard.partitions[partition][begin:end], begin):
        if message.user % len(world) != shard.number:
            place = (shard.number * PARTITIONS + partition, offset)
            world[message.user % len(world)].partitions[partition].append(Message(message.user, message.number, place))
            if rng.random() < 0.1:
                return False
        elif offset >= start and (not fenced or message.origin is None or teacher.fresh(partition, *message.origin)):
            told.append(message)
            if message.origin:
                origins[message.origin[0]] = message.origin[1]
    if start < end:
        shard.log.append(record(partition, start, end, [(one.user, one.number % 5) for one in told], origins.items()))
        shard.taught.append(told)
        if rng.random() < 0.2:
            return False
        fold.fold(shard.log[-1], len(shard.log) - 1)
    shard.applied[partition] = max(end, shard.applied.get(partition, 0))
    return True
