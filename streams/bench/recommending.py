"""One recommendation: µs for one user at a time, by all sources and the blend, as a worker asks when little is to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from state.profiles import Profile
from streams.bench.figures import Figure
from streams.bench.known import RUNS
from streams.bench.world import TASTES, Message, World
from streams.catalogue import change_of
from streams.decode import Batch
from streams.memory import Loop
from streams.records import Kind, Record, decode, decode_lesson, encode, encode_catalog
from streams.schemas import Item
from streams.settings import Settings

ITEMS_SHARE, USERS_SHARE, ASKED_SHARE = 0.5, 0.2, 0.05  # of the events: 50,000 items, 20,000 users, 5,000 answers
AT_ONCE = 100  # users asked for together beside it, as in a busy batch
OLDER = 10  # times that all is folded once more, until rings of users and items are full as in an old shop
BATCH, ENTRIES = 2_000, 500
BEGIN = 1.7e9
MEDIAN_US, SLOW_US = 150.0, 1_000.0  # promised


@dataclass(slots=True)
class _Record:
    """What the pipeline reads of a Kafka record."""

    offset: int
    value: bytes | None
    timestamp: int = int(1000 * BEGIN)
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def figures(count: int = 100_000, *, runs: int = RUNS, say: Callable[[str], object] = lambda _: None) -> list[Figure]:
    """Teach `count` events on half as many items, then rank for the users of the next events, one by one and together."""
    world = World(users=max(10, int(USERS_SHARE * count)), items=max(TASTES, int(ITEMS_SHARE * count)))
    asked = max(10, int(ASKED_SHARE * count))
    say(f"recommending: {count:,} events on {world.items:,} items, then {asked:,} users one by one")
    return asyncio.run(_measured(world, count, asked, runs))


async def _measured(world: World, count: int, asked: int, runs: int) -> list[Figure]:
    settings = Settings()
    intake = settings.intake.model_copy(update={"cached_users": world.users})
    loop = Loop(settings.model_copy(update={"intake": intake}))
    stock(loop, world.items)
    sent = [message for chunk in world.backlog(count + asked, BEGIN) for message in chunk]
    records = await teach(loop, sent[:count])
    found = await loop.pipeline.profiles.get({key.decode(): 0 for key, _ in sent[count:]})
    profiles = [profile for profile in found.values() if profile.events]
    _each(loop, profiles[:AT_ONCE])  # the first one finds cold caches
    together: list[float] = []
    singly: list[list[float]] = []
    for _ in range(runs):
        times = np.array([_ask(loop, [profile]) for profile in profiles])
        singly.append(np.percentile(1e6 * times, [50, 99]).tolist())
        together.append(_each(loop, profiles[:AT_ONCE]))
    p50, p99 = zip(*singly, strict=True)
    name = f"one recommendation, all sources, {world.items:,} items"
    each = f"each of {AT_ONCE} users together"
    _grow_old(loop, records)
    _each(loop, profiles[:AT_ONCE])
    later = [_each(loop, profiles[:AT_ONCE]) for _ in range(runs)]
    peers = {each: together, f"{each}, {OLDER * count:,} visits later": later}
    return [
        Figure(f"{name}, p50", p50, "µs", at_most=MEDIAN_US, peers=peers),
        Figure(f"{name}, p99", p99, "µs", at_most=SLOW_US),
    ]


def _grow_old(loop: Loop, records: Sequence[bytes]) -> None:
    """Let the rings of users and items fill: all visits once more, some times over."""
    for _ in range(OLDER):
        for record in records:
            loop.fold.models.apply(decode_lesson(decode(record, 0).body))


def _each(loop: Loop, profiles: Sequence[Profile]) -> float:
    """Ask for some together; µs for each."""
    return 1e6 * _ask(loop, profiles) / max(1, len(profiles))


async def teach(loop: Loop, sent: Sequence[Message]) -> list[bytes]:
    """Carry events through the loop in micro-batches; give the records that they made."""
    records: list[bytes] = []
    for first in range(0, len(sent), BATCH):
        rows = [_Record(n, sent[n][1]) for n in range(first, min(first + BATCH, len(sent)))]
        answer = await loop.pipeline.prepare(Batch({0: rows}, {0: first}), 1)
        loop.finish(answer)
        records += answer.records
    return records


def stock(loop: Loop, items: int) -> None:
    """Give every item of the world a catalogue entry: its taste is its category."""
    for first in range(0, items, ENTRIES):
        entries = [(0, n, _item(n)) for n in range(first, min(first + ENTRIES, items))]
        loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change_of(entries))))])


def _item(number: int) -> Item:
    return Item(
        item_id=f"item-{number}",
        brand=f"brand {number % 97}",
        category=(f"category {number % TASTES}",),
        price=1.0 + number % 50,
    )


def _ask(loop: Loop, profiles: Sequence[Profile]) -> float:
    """Rank for these users as the pipeline does; the seconds it took."""
    scorer, models = loop.pipeline.scorer, loop.fold.models
    begun = time.perf_counter()
    query = scorer.ask(profiles, np.full(len(profiles), models.time))
    vectors = models.catalog.interest(query)
    scorer.rank(profiles, query, vectors, models.segment_of(vectors), [(0, 0)] * len(profiles))
    return time.perf_counter() - begun
