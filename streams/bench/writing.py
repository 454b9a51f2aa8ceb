"""Redis' own limit: what a worker wrote, written once more in pipelines as large as its batches, by a client that only sends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import hiredis
from redis import Redis

from state.connection import script
from state.keys import USER_TTL, Keys
from state.store import CHUNK
from streams.bench.place import BenchFailed
from streams.security import redis_url

if TYPE_CHECKING:
    from streams.bench.figures import Page
    from streams.settings import Settings

SAMPLE = 2_000  # users of the drain whose hashes are written again
USERS = 20_000  # writes that are timed: half a second
NEVER = -1  # do not look at what is applied
FIELDS = ("events", "updated_at", "segment", "history", "interests", "interests_at", "neighbors", "recommendations")


def limit(settings: Settings, metrics: Page) -> float:
    """Events/s that Redis could take if nothing else had to be done for them, by what a drain's worker says it did."""
    lists, events = (metrics.value(f"upwell_{name}_total") for name in ("recommendations", "events"))
    batch = max(1, round(lists / max(1.0, metrics.value("upwell_batch_events_count"))))
    keys = Keys(settings.prefix)
    with closing(Redis.from_url(redis_url(settings))) as redis:
        hashes = _hashes(redis, keys)
        if not hashes:
            raise BenchFailed("the worker wrote no user")
        seconds = sum(_sent(redis, commands) for commands in _pipelines(keys, hashes, batch))
    return USERS / seconds * events / lists


def _hashes(redis: Redis, keys: Keys) -> list[dict[bytes, bytes]]:
    found = islice(redis.scan_iter(match=keys.user("*"), count=1_000), SAMPLE)
    pipeline = redis.pipeline(transaction=False)
    for key in found:
        pipeline.hgetall(key)
    return pipeline.execute()


def _pipelines(keys: Keys, hashes: Sequence[dict[bytes, bytes]], batch: int) -> Iterator[list[bytes]]:
    """Calls as a worker makes them, `batch` users at a time: to keys of their own, each time with a newer offset."""
    names = [keys.user(f"again-{n}") for n in range(len(hashes))]
    for first in range(0, USERS, batch):
        users = range(first, min(first + batch, USERS))
        yield [_call(users[part : part + CHUNK], names, hashes) for part in range(0, len(users), CHUNK)]


def _call(users: Sequence[int], names: Sequence[bytes], hashes: Sequence[dict[bytes, bytes]]) -> bytes:
    values: list[Any] = []
    for user in users:
        found = hashes[user % len(hashes)]
        values += [str(user), *(found.get(name.encode(), b"") for name in FIELDS), *([b""] * 9)]
    places = [names[user % len(names)] for user in users]
    head = ("EVAL", script("write_users"), str(len(places)), *places, "0", str(USER_TTL), str(NEVER), str(NEVER))
    packed: bytes = hiredis.pack_command((*head, *values))
    return packed


def _sent(redis: Redis, commands: Sequence[bytes]) -> float:
    """Seconds for a pipeline, of calls that are ready."""
    pool = redis.connection_pool
    connection: Any = pool.get_connection()
    try:
        begun = time.perf_counter()
        connection.send_packed_command(commands)
        written = sum(connection.read_response() for _ in commands)
        took = time.perf_counter() - begun
    finally:
        pool.release(connection)
    if not written:
        raise BenchFailed("Redis wrote nothing of what was to be written again")
    return took
