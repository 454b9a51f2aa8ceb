"""What Redis and Kafka cost: bytes of a stored user, CPU of Redis and of a worker's clients; on servers of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from statistics import mean
from typing import TYPE_CHECKING, Any

from redis import Redis

from state import items
from state.connection import Client, connect
from state.items import CatalogueEntry
from state.keys import Keys
from state.profiles import Write
from state.store import Applied, Store
from streams import topics
from streams.embedded import Broker, RedisServer
from streams.pipeline import Answer
from streams.publisher import Publisher
from streams.servers import reading
from streams.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["broker", "histories", "redis"]

SAMPLE = 500  # users whose stored bytes are asked for
ENTRY = b'{"item_id":"item-%d","type":"purchase","at":1700000000.25}'
HISTORY_AT = 4  # place of the history among the values of a write


def redis(answers: Sequence[Answer]) -> dict[str, float]:
    """Write and read back what these batches made of their users."""
    with RedisServer(binary=shutil.which("redis-server")) as server:
        return asyncio.run(_stored(server.url, answers))


async def _items(client: Client, keys: Keys, look: Redis) -> float:
    """Give the bytes of an item with a usual catalogue entry and ten similar ones."""
    names = [f"item-{n}" for n in range(SAMPLE)]
    fields: dict[str, Any] = {
        "name": "A name of some words",
        "brand": "brand 7",
        "category": ["one", "two"],
        "price": 9.5,
        "available": True,
    }
    await items.write_catalogue(client, keys, 0, [CatalogueEntry(name, n, fields) for n, name in enumerate(names)])
    similar = [(f"item-{n}", 0.1234) for n in range(10_000, 10_010)]
    await items.write_statistics(client, keys, [(name, 12.3456, similar) for name in names])
    return mean(int(look.memory_usage(keys.item(name), samples=0) or 0) for name in names)


async def _stored(url: str, answers: Sequence[Answer]) -> dict[str, float]:
    keys = Keys()
    client = connect(url)
    with closing(Redis.from_url(url)) as look:
        before, users = _server(look), sum(map(len, (write for answer in answers for write in answer.writes.values())))
        store, begun = Store(client, keys), time.process_time()
        for answer in answers:
            await store.commit(answer.writes, {p: Applied(None, end) for p, end in answer.ends.items()})
        written, wrote = _server(look), time.process_time() - begun
        names = list({write.user_id: None for answer in answers for writes in answer.writes.values() for write in writes})
        begun = time.process_time()
        await store.load(names)
        read, loaded = _server(look), time.process_time() - begun
        sampled = names[:: max(1, len(names) // SAMPLE)]
        size = mean(int(look.memory_usage(keys.user(name), samples=0) or 0) for name in sampled)
        item = await _items(client, keys, look)
        begun_singly = _server(look)
        singly = Store(client, Keys("singly:"), chunk=1)
        for answer in answers:
            await singly.commit(answer.writes, {})
        ended_singly = _server(look)
    await client.aclose()
    return {
        "stored_user_bytes": size,
        "stored_item_bytes": item,
        "write_server_cluster": (ended_singly["cpu"] - begun_singly["cpu"]) / users,
        "write_client": wrote / users,
        "write_server": (written["cpu"] - before["cpu"]) / users,
        "read_client": loaded / len(names),
        "read_server": (read["cpu"] - written["cpu"]) / len(names),
    }


def histories(answers: Sequence[Answer], entries: Sequence[int]) -> dict[int, float]:
    """Bytes of a stored user, as Redis tells them, by the entries of the history."""
    with RedisServer(binary=shutil.which("redis-server")) as server:
        return {count: asyncio.run(_history(server.url, answers, count)) for count in entries}


async def _history(url: str, answers: Sequence[Answer], entries: int) -> float:
    keys, client = Keys(f"{entries}:"), connect(url)
    history = b"[" + b",".join(ENTRY % (10_000 + n) for n in range(entries)) + b"]"
    writes = [_with(write, history) for answer in answers for part in answer.writes.values() for write in part][:SAMPLE]
    await Store(client, keys).commit({0: writes}, {})
    await client.aclose()
    with closing(Redis.from_url(url)) as look:
        return mean(int(look.memory_usage(keys.user(write.user_id), samples=0) or 0) for write in writes)


def _with(write: Write, history: bytes) -> Write:
    values = (*write.values[:HISTORY_AT], history, *write.values[HISTORY_AT + 1 :])
    return Write(write.user_id, write.at, values)


def _server(look: Redis) -> Mapping[str, float]:
    told: Any = look.info("cpu")
    return {"cpu": float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])}


def broker(answers: Sequence[Answer]) -> dict[str, float]:
    """Publish these answers and read them back: CPU of this process alone, for its clients are what a worker runs."""
    with Broker() as server:
        return asyncio.run(_published(Settings(brokers=server.address), answers))


async def _published(settings: Settings, answers: Sequence[Answer]) -> dict[str, float]:
    await topics.ensure(settings)
    publisher = Publisher(settings)
    await publisher.start()
    events, records = sum(answer.events for answer in answers), sum(len(answer.records) for answer in answers)
    begun = time.process_time()
    for answer in answers:
        answer.segments.clear()  # who enters a segment is told one by one; all of this world do, at first
        await publisher.publish(answer)
    sent = time.process_time() - begun
    await publisher.stop()
    return {
        "publish": sent / events,
        "read_message": await _read(settings, settings.topics.recommendations, events),
        "read_record": await _read(settings, settings.topics.learned, records),
    }


async def _read(settings: Settings, topic: str, count: int) -> float:
    """CPU seconds of a message that is read in the batches a worker reads."""
    async with reading(settings, fetch_max_bytes=1 << 20) as consumer:
        consumer.subscribe([topic])
        left = count
        begun = time.process_time()
        while left > 0:
            found = await consumer.getmany(timeout_ms=1000, max_records=4000)
            left -= sum(map(len, found.values()))
        return (time.process_time() - begun) / count
