"""What one worker does for all: the owner of events partition 0 keeps the shared keys in Redis, snapshots and re-solves."""

from __future__ import annotations

import asyncio
import copy
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from state import catalogue, items, model, segments, snapshots, trending
from state.connection import Client
from state.keys import Keys
from streams.agents.stock import AT_ONCE, Stock
from streams.follower import Fold
from streams.metrics import Metrics
from streams.models.admitting import bare
from streams.models.kmeans import KMeans
from streams.models.models import Models
from streams.publisher import Publisher
from streams.records import Centers, Kind, Record, encode, encode_centers
from streams.segments import Describer, Row
from streams.settings import Settings
from streams.similar import Similar
from streams.snapshots import freeze

__all__ = ["Keeper"]

log = logging.getLogger(__name__)

# Items written per tick: few enough to stay out of the stream's way.
_ITEMS = 20
# Similar items asked for while scoring waits: a few milliseconds' worth.
_AT_ONCE = 5
_TRENDING = 100
# Segment names and best items change slowly and cost a pass over all items.
_SEGMENTS_EVERY = 5

T = TypeVar("T")


class Keeper:
    """Writes ``model``, ``trending``, ``segment:*`` and ``item:*``, and logs new segment centers when they are due."""

    def __init__(
        self,
        settings: Settings,
        fold: Fold,
        lock: asyncio.Lock,
        redis: Client,
        publisher: Publisher,
        metrics: Metrics,
        executor: Executor,
        truncate: Callable[[int], Awaitable[None]],
        stock: Stock,
    ) -> None:
        self._settings = settings
        self._fold = fold
        self._lock = lock
        self._redis = redis
        self._keys = Keys(settings.prefix)
        self._publisher = publisher
        self._metrics = metrics
        self._executor = executor
        self._background = ThreadPoolExecutor(1, "snapshot")
        self._truncate = truncate
        self._stock = stock
        self._similar = Similar(settings)
        self._describer = Describer(settings)
        self._asked = 0
        self._asked_items = 0
        self._written = -1
        self._frozen_at = -1
        self._ticks = 0
        self._kept: set[int] | None = None
        self._holder = ""
        self._saving = asyncio.Lock()
        self.names: dict[int, str] = {}

    @property
    def models(self) -> Models:
        """The models as folded so far."""
        return self._fold.models

    async def tick(self, *, owner: bool) -> None:
        """Bring names, and for the owner of partition 0 the shared keys, up to date; nothing to do while nothing is taught."""
        models = self.models
        solver = models.solver
        if owner and solver and solver.needs_solve() and self._asked < solver.generation + 1:
            await self._solve(solver)
        if owner:
            if await self._lost():
                self._forget()
                await self._stock.lost()
            await self._stock.look()
            await self._recall()
        if models.version == self._written and not self._fold.touched:
            return
        self._written = models.version
        self._ticks += 1
        rows = await self._describe(owner=owner) if self._ticks % _SEGMENTS_EVERY == 0 or not self.names else None
        if owner:
            await self._write_model()
            await self._write_trending()
            if rows is not None:
                await self._write_segments(rows)
            await self._write_items()
        else:
            self._fold.touched.clear()

    async def _recall(self) -> None:
        """Have entries taught again of items that came back: once they have left, the models know them by visits alone."""
        if self.models.active_items.left:
            found, asked = await self._aside(bare, self.models, self._asked_items, AT_ONCE)
            if found:
                await self._stock.recall([item.decode() for item in found])
            self._asked_items = asked

    async def _lost(self) -> bool:
        stored = await model.read(self._redis, self._keys)
        before, self._holder = self._holder, catalogue.holder(self._redis)
        if before not in {"", self._holder}:
            return True
        return self._written >= 0 and (stored is None or stored.version < self._written)

    def _forget(self) -> None:
        """Write everything anew: Redis lost writes (rule 6), or the owner before ended with some of them undone."""
        self._written = self._frozen_at = -1
        self._kept = None
        self._ticks = _SEGMENTS_EVERY - 1
        self._fold.touched.update(range(len(self.models.items)))

    async def _describe(self, *, owner: bool) -> list[Row]:
        """Name the segments: the owner, by the names they have in Redis, from where the others take them, so that all agree."""
        stored = {one.id: one.name for one in await segments.read(self._redis, self._keys)}
        rows = await self._aside(self._describer.rows, self.models, stored) if owner else []
        self.names.clear()
        self.names.update({row.segment: row.fields["name"] for row in rows} or stored)
        return rows

    async def _solve(self, model: KMeans) -> None:
        """Re-solve the centers from the reservoir and log the result: K-means is not exactly repeatable on every CPU."""
        asked = model.generation + 1
        frozen = await self._aside(copy.deepcopy, model)
        centers = await asyncio.get_running_loop().run_in_executor(self._background, frozen.solve)
        body = encode_centers(Centers(asked, self.models.time, centers))
        await self._publisher.append(encode(Record(Kind.CENTERS, 0, 0, 0, 0, body)))
        self._asked = asked  # not before: what Kafka does not take now is solved once more
        log.info("segments solved anew, generation %d", asked)

    async def _write_model(self) -> None:
        models = self.models
        rates = models.hit_rate()
        for name, rate in rates.items():
            self._metrics.hit_rate.labels(name).set(rate)
        await model.write(
            self._redis,
            self._keys,
            version=models.version,
            events=models.events,
            weights=models.blend.named_weights(),
            hit_rate=rates,
            hits={name: int(count) for name, count in zip(rates, models.hits, strict=True)},
            judged=models.judged,
            inertia=models.segments.inertia_ if models.segments.initialised else None,
        )

    async def _write_trending(self) -> None:
        async with self._lock:
            found, counts = self.models.popularity.trending(self.models.time, _TRENDING)
            names = self.models.items.names(found)
        await trending.replace(
            self._redis, self._keys, {name.decode(): float(count) for name, count in zip(names, counts, strict=True)}
        )

    async def _write_segments(self, rows: Sequence[Row]) -> None:
        ids = {row.segment for row in rows}
        if ids != self._kept:
            await segments.keep_only(self._redis, self._keys, ids)
            self._metrics.segment_size.clear()
            self._kept = ids
        for row in rows:
            await segments.write(self._redis, self._keys, row.segment, **row.fields)
            self._metrics.segment_size.labels(str(row.segment)).set(row.fields["size"])

    async def _write_items(self) -> None:
        touched = [self._fold.touched.pop() for _ in range(min(_ITEMS, len(self._fold.touched)))]
        for first in range(0, len(touched), _AT_ONCE):
            some = np.array(touched[first : first + _AT_ONCE], np.int32)
            await items.write_statistics(self._redis, self._keys, await self._aside(self._similar.rows, self.models, some))

    async def snapshot(self) -> None:
        """Write a snapshot of the fold and let the log go up to the older of the last two (rule 7)."""
        async with self._saving:
            if self.models.version not in (0, self._frozen_at):
                await self._save(snapshots.save)

    async def renew(self) -> None:
        """Write a snapshot in place of both that there are, and let the log go up to it: somebody was forgotten."""
        async with self._saving:
            await self._save(snapshots.renew)

    async def _save(self, save: Callable[..., Awaitable[bool]]) -> None:
        began = time.monotonic()
        frozen = await self._aside(freeze, self._fold)
        loop = asyncio.get_running_loop()
        size = self._settings.snapshot.part_bytes
        parts = await loop.run_in_executor(self._background, lambda: list(frozen.parts()))
        await save(self._redis, self._keys, frozen.offset, parts, self._settings.group, at=time.time(), size=size)
        self._frozen_at = frozen.offset
        self._metrics.snapshot_seconds.observe(time.monotonic() - began)
        self._metrics.snapshot_bytes.set(sum(map(len, parts)))
        self._metrics.snapshot_timestamp_seconds.set(time.time())
        await self._truncate(await snapshots.bound(self._redis, self._keys))

    async def _aside(self, work: Callable[..., T], *arguments: object) -> T:
        """Do something with the models in the thread that scores and folds, while neither does."""
        async with self._lock:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
