"""What single parts cost, printed, nothing asserted of time: `python -m pytest tests/benchmarks`, not part of `make test`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from state.connection import connect
from state.keys import Keys
from state.profiles import Profile, Write
from state.store import Applied, Store
from streams.bench.world import World
from streams.decode import Batch
from streams.memory import Loop
from streams.models.dbstream import DBStream
from streams.models.som import SOM
from streams.records import decode, decode_lesson
from streams.schemas import decode_event
from streams.settings import Settings

EVENTS, BATCH = 40_000, 2_000
ROUNDS = 5


@pytest.fixture
def told(capsys) -> Callable[[str, float, str], None]:
    """Print a figure, whatever pytest captures."""

    def tell(name: str, value: float, unit: str) -> None:
        with capsys.disabled():
            print(f"\n  {name}: {value:,.3g} {unit}" if value < 1000 else f"\n  {name}: {value:,.0f} {unit}", end="")

    return tell


def best(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of the quickest round: the others were disturbed."""
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def values() -> list[bytes]:
    return [value for chunk in World().backlog(EVENTS, 1.7e9) for _, value in chunk]


def batches() -> list[Batch]:
    rows = [SimpleNamespace(offset=n, timestamp=1_800_000_000_000, key=None, value=v, headers=()) for n, v in enumerate(values())]
    return [Batch({0: rows[first : first + BATCH]}, {0: first}) for first in range(0, EVENTS, BATCH)]


@pytest.fixture(scope="module")
def learned() -> tuple[Loop, list[bytes], float]:
    """A loop that has learned the world, the records that taught it, and the seconds it took without any I/O."""
    loop, records = Loop(Settings()), []

    async def learn() -> float:
        seconds = 0.0
        for number, batch in enumerate(batches()):
            begun = time.perf_counter()
            answer = await loop.pipeline.prepare(batch, 1)
            seconds += (time.perf_counter() - begun) * (number > 0)  # the first one compiles
            records.extend(answer.records)
            loop.finish(answer)
        return seconds

    seconds = asyncio.run(learn())
    return loop, records, seconds


def test_decoding_an_event(told):
    sent = values()
    spent = best(lambda: [decode_event(value, received=1.8e9, skew=300.0) for value in sent])
    told("decode", 1e6 * spent / len(sent), "µs an event")


def test_preparing_a_batch_without_io(learned, told):
    _, _, seconds = learned
    told(f"prepare in batches of {BATCH:,}", 1e6 * seconds / (EVENTS - BATCH), "µs an event")


def test_folding_the_learned_log(learned, told):
    _, records, _ = learned
    lessons = [decode_lesson(decode(value, n).body) for n, value in enumerate(records)]
    visits = sum(len(lesson.users) for lesson in lessons)

    def fold() -> None:
        models = Loop(Settings()).fold.models
        for lesson in lessons:
            models.apply(lesson)

    told("fold of the learned log", visits / best(fold), "visits/s")


def test_recommending(learned, told):
    loop, _, _ = learned
    scorer, models = loop.pipeline.scorer, loop.fold.models
    profiles = list(loop.pipeline.profiles._cache.values())[:BATCH]
    query = scorer.ask(profiles, np.full(len(profiles), models.time))
    vectors = models.catalog.interest(query)
    segments = models.segment_of(vectors)
    net = models.blend.net(segments)
    spent = best(lambda: scorer.recommender.recommend(models, query, vectors, segments, net))
    told("one recommendation, all sources", 1e6 * spent / len(profiles), "µs")


@pytest.mark.parametrize("make", [lambda: DBStream(radius=2.0), lambda: SOM(16)], ids=["DBStream", "SOM"])
def test_clustering(make, told):
    random = np.random.default_rng(0)
    # A hundred places far apart: so many micro-clusters.
    points = 10 * random.normal(size=(100, 16))[random.integers(0, 100, EVENTS)] + 0.1 * random.normal(size=(EVENTS, 16))
    model = make().partial_fit(points[:1024])

    def learn() -> None:
        for first in range(0, EVENTS, 256):
            model.partial_fit(points[first : first + 256])

    told(f"{type(model).__name__}, 16 dimensions, 100 places", EVENTS / best(learn), "points/s")


def test_writing_users_to_redis(redis_server, told):
    async def write() -> float:
        async with connect(redis_server.url) as redis:
            keys = Keys("bench-kernels:")
            store, found = Store(redis, keys), []
            for round_ in range(ROUNDS):
                writes = [_write(n, round_) for n in range(BATCH)]
                begun = time.perf_counter()
                await store.commit({0: writes}, {0: Applied(round_ * BATCH if round_ else None, (round_ + 1) * BATCH)})
                found.append(time.perf_counter() - begun)
            await redis.unlink(*[key async for key in redis.scan_iter(match="bench-kernels:*")])
        return min(found)

    told("fenced writes of users to Redis", BATCH / asyncio.run(write()), "users/s")


def _write(number: int, round_: int) -> Write:
    profile = Profile(user_id=f"user-{number}", partition=0, at={0: round_ * BATCH + number}, events=20)
    history = b"[" + b",".join([b'{"item_id":"item-%d","type":"view","at":1700000000.0}' % n for n in range(20)]) + b"]"
    return profile.write(0, history, b"[]", b'{"items":[' + b" " * 1500 + b"]}")
