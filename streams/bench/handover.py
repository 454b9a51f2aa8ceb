"""Handover: how long answers wait when a worker joins, is killed and stops, while a load goes on.

Two workers share the partitions; a third joins, one of the three is killed, and one of the two left stops. Of the events due from
each of these moments to the next, those in hand at the first included, the one that waited longest for its
recommendation counts, and beside it the longest wait of users whose partition stayed with its worker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.bench.figures import Figure, Told, Wanted, bars
from streams.bench.filling import fill
from streams.bench.load import listening, sending
from streams.bench.place import SESSION_MS, Place, reading, wait_applied
from streams.bench.schedule import Answers, Schedule
from streams.bench.workers import crew, held, wait_shared
from streams.bench.world import World
from streams.demo_worker import Worker
from streams.partition import partition_for

if TYPE_CHECKING:
    from streams.bench.listener import Arrival
    from streams.settings import Settings

LONGEST = 300.0  # s that the load would go on
LEAD = 1.0  # s before a moment that belong to it: what is in hand then waits with the rest
QUIET = 5.0  # s before the first moment and after each: what began has ended
STOP_S, KILL_S = 2.0, SESSION_MS / 1000 + 2.0  # promised
BEFORE = "before"
PROMISED: Mapping[str, float | None] = {BEFORE: None, "joins": None, "is killed": KILL_S, "stops": STOP_S}

Owners = Mapping[str, int]


@dataclass(slots=True)
class Span:
    """From one moment to the next: who read which partition at its begin and at its end, and how long users waited."""

    name: str
    begin: float
    owners: tuple[Owners, Owners] = ({}, {})
    stayed: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)

    def note(self, partition: int, seconds: float) -> None:
        """Add how long an answer took."""
        before, after = (owners.get(str(partition)) for owners in self.owners)
        (self.stayed if before == after else self.moved).append(seconds)


def run(place: Place, wanted: Wanted) -> Told:
    """Measure some times over, at `rate`, on workers that have learned `count` events before."""
    runs, unanswered = [], 0
    for turn in range(wanted.runs):
        place.say(f"handover: run {turn + 1} of {wanted.runs}: a third worker joins, one is killed, one stops")
        spans, left = _turn(place, wanted)
        runs.append(spans)
        unanswered += left
    figures = list(_figures(runs))
    lost = Figure("handover, events without an answer", unanswered, "", at_most=0)
    return Told([*figures, lost], panels=[bars(figure, "moved") for figure in figures])


def _turn(place: Place, wanted: Wanted) -> tuple[list[Span], int]:
    count, rate = wanted.count, wanted.rate
    with place.figure("handover") as settings, reading(settings) as reader:
        fill(settings, World(), count)
        with crew(settings, 2) as workers:
            wait_shared(workers, settings.partitions)
            wait_applied(workers[0], reader, count)
            schedule = Schedule(rate, int(rate * LONGEST), count, World(seed=1))
            with listening(settings, settings.topics.recommendations) as listener, sending(settings, schedule) as sender:
                spans = list(_spans(settings, workers))
                sent = sender.end()
                wait_applied(workers[0], reader, count + sent.count)
                time.sleep(QUIET)
                listener.end()
                answers = Answers(schedule.due(sender.begin))
                hear(spans, listener.taken(), answers, settings.partitions)
    return spans, answers.left(count + sent.count - 1)


def _spans(settings: Settings, workers: list[Worker]) -> Iterator[Span]:
    """Let it all happen, and say from when to when."""
    owners = _owners(workers)
    for name in PROMISED:
        span = Span(name, time.time() - LEAD)
        _happens(name, settings, workers)
        before, owners = owners, _owners(workers)
        span.owners = before, owners
        yield span


def _happens(name: str, settings: Settings, workers: list[Worker]) -> None:
    if name == "joins":
        workers.append(Worker(settings).start())
    elif name == "stops":
        workers.pop().end()
    elif name == "is killed":
        workers[-1].kill()
        time.sleep(SESSION_MS / 1000)
        workers.pop().close()
    time.sleep(QUIET)
    wait_shared(workers, settings.partitions)


def _owners(workers: Sequence[Worker]) -> Owners:
    return {partition: number for number, worker in enumerate(workers) for partition in held(worker)}


def hear(spans: Sequence[Span], arrived: Iterable[Arrival], answers: Answers, partitions: int) -> None:
    """Give each wait to the span in which the event was due."""
    for at, user, trigger, _ in arrived:
        for milliseconds in answers.take(at, user, trigger):
            due = at - milliseconds / 1000
            span = next((one for one in reversed(spans) if one.begin <= due), spans[0])
            span.note(partition_for(user.encode(), partitions), milliseconds / 1000)


def _figures(runs: Sequence[Sequence[Span]]) -> Iterator[Figure]:
    for spans in zip(*runs, strict=True):
        name, stayed = spans[0].name, [max(span.stayed, default=0.0) for span in spans]
        if name == BEFORE:
            yield Figure("handover, longest wait before", stayed, "s")
            continue
        moved = [max(span.moved, default=0.0) for span in spans]
        peers = {"users whose partition stayed": stayed}
        yield Figure(f"a worker {name}, longest wait of users whose partition moved", moved, "s", None, PROMISED[name], peers)
