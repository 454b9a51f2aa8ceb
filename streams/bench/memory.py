"""Memory: a worker's resident bytes while it learns a steady world, early and late."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

from streams.bench.figures import Figure, Told, Wanted
from streams.bench.filling import fill
from streams.bench.panels import Lines
from streams.bench.place import Place, page, reading, wait_applied, working
from streams.bench.world import World

if TYPE_CHECKING:
    from streams.settings import Settings

EARLY = 0.2  # share of the events after which the world is known and memory is to stay as it is
PROMISED = 1.05
WINDOW = 0.05  # share of the events over which the median is taken: one garbage more or less is no news
LOOK = 0.2  # s between two looks at the worker's memory
NEVER = 86_400.0  # s: no snapshot, so that a restart can be measured that folds the whole log


def run(place: Place, wanted: Wanted) -> Told:
    """Measure alone, once."""
    with taught(place, wanted.count) as (_, told):
        return told


@contextmanager
def taught(place: Place, count: int) -> Iterator[tuple[Settings, Told]]:
    """Settings of a stopped worker that has learned `count` events and left no snapshot; and what memory it took."""
    snapshot = place.settings.snapshot.model_copy(update={"seconds": NEVER})
    with place.figure("memory", snapshot=snapshot) as settings:
        place.say(f"memory: {count:,} events are put into the topic")
        fill(settings, World(), count)
        place.say("memory: one worker learns them")
        seen = _watched(settings, count)
        along = [float(done) for done, _ in seen], [size / 2**20 for _, size in seen]
        panel = Lines("worker's memory in a steady world", "events", "MiB", {"resident": along})
        yield settings, Told(_figures(seen, count), panels=[panel])


def _watched(settings: Settings, count: int) -> list[tuple[int, float]]:
    """Applied events and resident bytes, over a whole drain."""
    seen: list[tuple[int, float]] = []
    looked = 0.0
    with reading(settings) as reader, working(settings) as worker:

        def look(done: int) -> None:
            nonlocal looked
            if time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                seen.append((done, page(worker).value("process_resident_memory_bytes")))

        wait_applied(worker, reader, count, look)
        seen.append((count, page(worker).value("process_resident_memory_bytes")))
    return seen


def _figures(seen: list[tuple[int, float]], count: int) -> list[Figure]:
    early, late = (around(seen, share * count, WINDOW * count) for share in (EARLY, 1.0))
    return [
        Figure(f"worker's memory at {EARLY * count:,.0f} events", early / 2**20, "MiB"),
        Figure(f"worker's memory at {count:,} events", late / 2**20, "MiB"),
        Figure("growth of memory in a steady world", late / early if early else float("nan"), "times", at_most=PROMISED),
    ]


def around(seen: Sequence[tuple[float, float]], place: float, window: float) -> float:
    """The median near a place; of a short run, what was seen nearest to it."""
    near = [size for done, size in seen if abs(done - place) <= window]
    return median(near) if near else min(seen, key=lambda one: abs(one[0] - place))[1]
