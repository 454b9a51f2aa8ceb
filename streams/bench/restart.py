"""Restart: from starting the process to ready, by the newest snapshot and by folding the whole learned log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from state.connection import connect
from streams.bench import memory
from streams.bench.figures import Figure, Told, Wanted
from streams.bench.panels import Bars
from streams.bench.place import BenchFailed, Place, page, working
from streams.security import redis_url

if TYPE_CHECKING:
    from streams.settings import Settings

PROMISED = 10.0  # s
SOON = 1.0  # s between snapshots of the worker that is to write one
PATIENCE = 60.0  # s until it must have done so
LOOK = 0.1  # s between two looks


def run(place: Place, wanted: Wanted) -> Told:
    """Measure alone, after `count` events are learned."""
    with memory.taught(place, wanted.count) as (settings, _):
        return after(place, settings, wanted.count)


def after(place: Place, settings: Settings, count: int) -> Told:
    """Measure where a worker learned `count` events and left no snapshot."""
    place.say("restart: folding the whole log")
    asyncio.run(_forget_snapshots(settings))
    whole = _seconds(settings)
    place.say("restart: a worker writes a snapshot")
    size = _snapshot(settings.model_copy(update={"snapshot": settings.snapshot.model_copy(update={"seconds": SOON})}))
    place.say("restart: from the snapshot")
    newest = _seconds(settings)
    figures = [
        Figure(f"restart on {count:,} events, by snapshot", newest, "s", at_most=PROMISED),
        Figure(f"restart on {count:,} events, folding all", whole, "s", at_most=PROMISED),
    ]
    rows = {"by snapshot": newest, "folding all": whole}
    return Told(figures, {"snapshot_bytes": size}, [Bars(f"restart on {count:,} events", "s", rows, PROMISED)])


def _seconds(settings: Settings) -> float:
    begun = time.perf_counter()
    with working(settings):
        return time.perf_counter() - begun


async def _forget_snapshots(settings: Settings) -> None:
    """A worker that stops in order may leave one."""
    async with connect(redis_url(settings)) as redis:
        async for key in redis.scan_iter(match=f"{settings.prefix}snapshot*"):
            await redis.unlink(key)


def _snapshot(settings: Settings) -> float:
    """Let a worker write a snapshot; give its bytes."""
    with working(settings) as worker:
        begun = time.monotonic()
        while not (size := page(worker).value("upwell_snapshot_bytes")):
            if time.monotonic() - begun > PATIENCE:
                raise BenchFailed(f"no snapshot within {PATIENCE:.0f} s; the worker's last words: {worker.last_words()}")
            time.sleep(LOOK)
    return size
