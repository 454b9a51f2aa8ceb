"""Folding: visits/s of the learned log, by whole lessons as a drain makes them, all models included."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from streams.bench.figures import Figure
from streams.bench.known import RUNS
from streams.bench.recommending import BEGIN, stock, teach
from streams.bench.world import World
from streams.memory import Loop
from streams.models.compile import Float32, Float64, Int32
from streams.models.lesson import Lesson
from streams.models.models import Models
from streams.models.visits import Visits
from streams.records import decode, decode_lesson
from streams.settings import Settings

EVENTS_SHARE, LEAST = 0.4, 4_000  # of the events: 20 lessons of 2,000 visits
PASSES = 5
PROMISED = 5e6  # visits/s

Columns = tuple[Int32, Int32, Float32, Float64]


def figures(count: int = 100_000, *, runs: int = RUNS, say: Callable[[str], object] = lambda _: None) -> list[Figure]:
    """Let a pipeline make lessons, then fold them over and over into models that know their users and items."""
    events = max(LEAST, int(EVENTS_SHARE * count))
    say(f"folding: {events:,} events as whole lessons, as records of the log, and their visits alone")
    loop = Loop(Settings())
    world = World()
    stock(loop, world.items)
    sent = [message for chunk in world.backlog(events, BEGIN) for message in chunk]
    bodies = [decode(record, 0).body for record in asyncio.run(teach(loop, sent))]
    lessons = [decode_lesson(body) for body in bodies]
    models = loop.fold.models
    columns, bare = [_columns(models, lesson) for lesson in lessons], Visits(**models.parameters.get("visits", {}))
    visits = sum(len(lesson.users) for lesson in lessons)
    whole, read, alone = [], [], []
    _visit(bare, columns)  # makes room for all users and items, as the models have it
    for _ in range(runs):
        whole.append(visits / _seconds(lambda: _fold(models, lessons)))
        read.append(visits / _seconds(lambda: _fold(models, [decode_lesson(body) for body in bodies])))
        alone.append(visits / _seconds(lambda: _visit(bare, columns)))
    peers = {"read from the log's bytes": read, "visits alone": alone}
    return [Figure("fold of the learned log", whole, "visits/s", at_least=PROMISED, peers=peers)]


def _columns(models: Models, lesson: Lesson) -> Columns:
    """The visits of a lesson by the models' numbers, all of which they know."""
    users, items = models.users.add(lesson.user_ids), models.items.add(lesson.item_ids)
    return users[lesson.users], items[lesson.items], lesson.weights, lesson.times


def _fold(models: Models, lessons: Sequence[Lesson]) -> None:
    for lesson in lessons:
        models.apply(lesson)


def _visit(visits: Visits, columns: Sequence[Columns]) -> None:
    for column in columns:
        visits.apply(*column)


def _seconds(work: Callable[[], None]) -> float:
    """Of one pass, among some: the first finds caches that are full of something else."""
    begun = time.perf_counter()
    for _ in range(PASSES):
        work()
    return (time.perf_counter() - begun) / PASSES
