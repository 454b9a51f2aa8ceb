"""CPU time and bytes of one size of world, in this process and without servers: what an event, a user and an item cost."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from streams.memory import Loop
from streams.metrics import Metrics
from streams.models.models import Models
from streams.partition import partitions_for
from streams.pipeline import Answer
from streams.planning.worlds import Sized, batches, loop_of, messages
from streams.settings import Settings
from streams.snapshots import freeze

__all__ = ["STAGES", "Costs", "costs"]

Rows = Sequence[tuple[bytes, bytes]]
"""Keys and values of events."""

STAGES = ("decode", "observe", "recommend", "encode")
WARM = 4_000  # events before anything is measured: segments and the blend have begun by then
ALL = 64  # partitions of the measured topic; a batch is of some of them
# Events of a batch, partitions they come from, and how many batches are measured: three shapes tell what an event, a
# partition's record and a batch cost each.
SHAPES = ((2_048, 64, 5), (2_048, 8, 5), (64, 8, 30))
ADMITTED = 1_000  # profiles whose memory is looked at


@dataclass(slots=True)
class Costs:
    """What one world showed: seconds of CPU by stage of the first shape, and the pieces fitted over all shapes."""

    world: Sized
    stages: Mapping[str, float] = field(default_factory=dict)
    event: float = 0.0
    record: float = 0.0
    batch: float = 0.0
    fold_visit: float = 0.0
    fold_record: float = 0.0
    visit_bytes: float = 0.0
    record_bytes: float = 0.0
    message_bytes: float = 0.0
    segment_bytes: float = 0.0
    event_bytes: float = 0.0
    user_bytes: float = 0.0
    item_bytes: float = 0.0
    profile_bytes: float = 0.0
    snapshot_raw: int = 0
    snapshot_bytes: int = 0
    snapshot_seconds: float = 0.0
    answered: list[Answer] = field(default_factory=list)


class _Clocked(Metrics):
    """Stages timed by the CPU that this process used, whoever else uses the machine."""

    def __init__(self) -> None:
        super().__init__(CollectorRegistry())
        self.spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - begun

    def stage(self, name: str) -> Any:  # noqa: ANN401 - a context manager of its own kind
        """Time a stage."""
        return self._timed(name)


@dataclass(slots=True)
class _Shape:
    """What the batches of one shape took: of each, events, records, bytes of records, and seconds by stage."""

    events: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    seconds: list[dict[str, float]] = field(default_factory=list)

    def middle(self, *stages: str) -> float:
        """Give the median seconds of a batch in these stages."""
        return float(np.median([sum(one[name] for name in stages) for one in self.seconds]))


def costs(world: Sized, *, keep: bool = False) -> Costs:
    """Measure one world; with `keep` the answers stay, to be sent to servers."""
    return asyncio.run(_costs(world, keep=keep))


async def _costs(world: Sized, *, keep: bool) -> Costs:
    settings, clocked = Settings(), _Clocked()
    loop = loop_of(world, settings, clocked, ALL)
    offsets: dict[int, int] = {}
    warm = np.random.default_rng(3).integers(0, world.users, WARM)
    for batch in batches(messages(world, warm, 0), 1_000, ALL, offsets):
        loop.finish(await loop.pipeline.prepare(batch, ALL))
    found = Costs(world)
    gc.collect()
    made = [_made(world, *shape, seed) for seed, shape in enumerate(SHAPES, 1)]
    shapes = [_Shape() for _ in SHAPES]
    for turn in range(max(map(len, made))):
        # In turns, so that what else the machine does falls on all alike.
        for shape, rows in zip(shapes, made, strict=True):
            if turn < len(rows):
                found.answered.append(await _batch(loop, clocked, shape, rows[turn], offsets))
    _messages(found, made[0])
    _fit(found, shapes)
    _sizes(found, loop)
    await _profiles(found, loop, world)
    if not keep:
        found.answered = []
    return found


def _made(world: Sized, size: int, partitions: int, count: int, seed: int) -> list[list[tuple[bytes, bytes]]]:
    """Batches of this many events, each of another user, from the first of the partitions only."""
    rng = np.random.default_rng([3, seed])
    pool = np.flatnonzero(_homes([b"user-%d" % user for user in range(world.users)]) < partitions)
    chosen = [rng.choice(pool, min(size, len(pool)), replace=False) for _ in range(count)]
    return [messages(world, users, (seed << 8) + n) for n, users in enumerate(chosen)]


async def _batch(loop: Loop, clocked: _Clocked, shape: _Shape, rows: Rows, offsets: dict[int, int]) -> Answer:
    """Carry one batch through the pipeline and the fold, as a worker does, and note what it took."""
    users = {key.decode(): home for (key, _), home in zip(rows, _homes([key for key, _ in rows]).tolist(), strict=True)}
    (batch,) = batches(rows, len(rows), ALL, offsets)
    await loop.pipeline.profiles.get(users)  # at hand, as a cache has them; reading them is measured beside Redis
    clocked.spent = dict.fromkeys(STAGES, 0.0)
    begun = time.process_time()
    answer = await loop.pipeline.prepare(batch, ALL)
    between = time.process_time() - begun - sum(clocked.spent.values())
    with clocked.stage("fold"):
        loop.append(answer.records)
    for held in (answer.users, users):
        loop.pipeline.profiles.let_go(held)
    shape.events.append(answer.events)
    shape.records.append(len(answer.records))
    shape.size.append(sum(map(len, answer.records)))
    shape.seconds.append(clocked.spent | {"between": between})
    return answer


def _messages(found: Costs, rows: Sequence[Sequence[tuple[bytes, bytes]]]) -> None:
    sent = [message for answer in found.answered for _, message in answer.recommendations]
    found.message_bytes = float(np.mean([len(message) for message in sent]))
    told = [len(change.key) + len(change.value or b"") for answer in found.answered for change in answer.segments]
    found.segment_bytes = float(np.mean(told)) if told else 0.0
    found.event_bytes = float(np.mean([len(key) + len(value) for part in rows for key, value in part]))


def _fit(found: Costs, shapes: list[_Shape]) -> None:
    """Tell what an event, a record and a batch cost each, from shapes that differ in them."""
    found.stages = {name: shapes[0].middle(name) / float(np.mean(shapes[0].events)) for name in (*STAGES, "between", "fold")}
    events = np.array([np.mean(one.events) for one in shapes])
    records = np.array([np.mean(one.records) for one in shapes])
    ones = np.ones(len(shapes))
    ranked, ranking = _pieces([events, ones], [one.middle("recommend") for one in shapes])
    others = [one.middle("decode", "observe", "encode", "between") for one in shapes]
    told, found.record, rest = _pieces([events, records, ones], others)
    found.event, found.batch = ranked + told, ranking + rest
    found.fold_visit, found.fold_record = _pieces([events, records], [one.middle("fold") for one in shapes])
    found.visit_bytes, found.record_bytes = _pieces([events, records], [float(np.mean(one.size)) for one in shapes])


def _pieces(columns: list[np.ndarray], values: list[float]) -> list[float]:
    """Least squares in proportion, so that the smallest batch counts as much as the largest; none below 0."""
    weights = 1.0 / np.array(values)
    found = np.linalg.lstsq(np.column_stack(columns) * weights[:, None], np.ones(len(values)), rcond=None)[0]
    return np.maximum(found, 0.0).tolist()  # type: ignore[no-any-return]


def _homes(keys: Sequence[bytes]) -> NDArray[np.int32]:
    return partitions_for(keys, ALL)


def _sizes(found: Costs, loop: Loop) -> None:
    models = loop.fold.models
    users, items = len(models.visits.user_count), len(models.visits.item_count)
    found.user_bytes = _per_row(models, users) + sum(array.nbytes for array in _arrays(models.users)) / users
    found.item_bytes = _per_row(models, items) + sum(array.nbytes for array in _arrays(models.items)) / items
    begun = time.process_time()
    frozen = freeze(loop.fold)
    found.snapshot_raw = sum(array.nbytes for array in frozen.arrays)
    found.snapshot_bytes = sum(map(len, frozen.parts()))
    found.snapshot_seconds = time.process_time() - begun


def _arrays(owner: object, seen: set[int] | None = None) -> Iterator[np.ndarray]:
    """Every array that an object holds, each once."""
    seen = set() if seen is None else seen
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, np.ndarray):
        yield owner
    elif isinstance(owner, (list, tuple)):
        for one in owner:
            yield from _arrays(one, seen)
    elif type(owner).__module__.startswith("streams.models"):
        for one in vars(owner).values() if hasattr(owner, "__dict__") else ():
            yield from _arrays(one, seen)


def _per_row(models: Models, rows: int) -> float:
    """Bytes per user or item in the arrays that have a place for each, which are as long as the rings' counts."""
    return sum(array.nbytes for array in _arrays(models) if rows in array.shape) / rows


async def _profiles(found: Costs, loop: Loop, world: Sized) -> None:
    """What a cached profile holds: its slots in the compiled arrays, and Python's objects."""
    profiles = loop.pipeline.profiles
    slots = len(profiles.histories.count)
    arrays = sum(array.nbytes for cache in (profiles.histories, profiles.kept) for array in _arrays(cache))
    homes = {f"user-{world.users + n}": n % ALL for n in range(ADMITTED)}
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await profiles.get(homes)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found.profile_bytes = arrays / slots + (after - before) / ADMITTED
