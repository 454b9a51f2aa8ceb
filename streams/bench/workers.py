"""Workers: how much faster two drain a backlog than one, on the same cores.

All have joined and have their partitions before there is a backlog: they are stopped (SIGSTOP) while it is put into the
topic, then go on at one moment. The first batch begins the time and does not count, the last event applied ends it; one
worker is measured in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.bench.figures import Figure, Told, Wanted, bars
from streams.bench.filling import fill
from streams.bench.place import SESSION_MS, BenchFailed, Drained, Place, page, reading, wait_applied
from streams.bench.world import World
from streams.demo_worker import Worker

if TYPE_CHECKING:
    from streams.settings import Settings

PROMISED = 1.15
SHARED = 60.0  # s until the workers have shared the partitions
LOOK = 0.2  # s between two looks whether they have
SLOWEST = 10.0  # events/ms that a backlog is put in: as long a stopped worker must stay a member


def run(place: Place, wanted: Wanted) -> Told:
    """Measure both, some times over; who comes first changes."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(wanted.runs):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            place.say(f"workers: run {turn + 1} of {wanted.runs}: {workers} drain{'s' * (workers == 1)} {wanted.count:,} events")
            rates[workers].append(_rate(place, wanted.count, workers))
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    peers = {f"events/s of {workers}": runs for workers, runs in rates.items()}
    figure = Figure("2 workers : 1 worker, on the same cores", ratios, "times", at_least=PROMISED, peers=peers)
    drains = Figure("drain by 2 workers and by 1", rates[2], "events/s", peers={"1 worker": rates[1]})
    return Told([figure], panels=[bars(drains, "2 workers")])


def _rate(place: Place, count: int, workers: int) -> float:
    session = max(SESSION_MS, int(count / SLOWEST))
    with place.figure("workers", intake={"session_timeout_ms": session}) as settings, reading(settings) as reader:
        fill(settings, World(), 0)  # makes the topics, so that partitions are there to be shared
        with crew(settings, workers) as both:
            wait_shared(both, settings.partitions)
            for worker in both:
                worker.pause()
            fill(settings, World(), count)
            begun = time.perf_counter()
            for worker in both:
                worker.resume()
            watch = Drained(count, begun)
            return watch.rate(wait_applied(both[0], reader, count, watch.look))


@contextmanager
def crew(settings: Settings, count: int) -> Iterator[list[Worker]]:
    """Workers that start together and end together: the group shares anew fewer times."""
    workers = [Worker(settings) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        try:
            yield list(pool.map(Worker.start, workers))
        finally:
            list(pool.map(Worker.end, workers))


def held(worker: Worker) -> set[str]:
    """The partitions that a worker says it reads."""
    return set(page(worker).by("upwell_applied_offset", "partition"))


def wait_shared(crew: Sequence[Worker], partitions: int) -> None:
    """Wait until each worker has partitions, and each partition one worker."""
    deadline = time.monotonic() + SHARED
    while True:
        shares = [held(worker) for worker in crew]
        if all(shares) and sum(map(len, shares)) == len(set().union(*shares)) == partitions:
            return
        if time.monotonic() > deadline:
            raise BenchFailed(f"{len(crew)} workers did not share {partitions} partitions within {SHARED:.0f} s")
        time.sleep(LOOK)
