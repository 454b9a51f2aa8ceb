"""Filling a topic with a backlog, as fast as the broker takes it; nothing of it is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from streams import topics
from streams.bench.world import STEP, Message, World
from streams.partition import partitions_for
from streams.servers import kafka_or_failed, producing

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

    from streams.settings import Settings


def fill(settings: Settings, world: World, count: int) -> dict[int, int]:
    """Make the topics, and let `count` events wait in `events`, the last one from now; give how many each partition got."""
    return asyncio.run(_fill(settings, world, count))


async def _fill(settings: Settings, world: World, count: int) -> dict[int, int]:
    filled: dict[int, int] = {}
    with kafka_or_failed(settings):
        await topics.ensure(settings)
    async with producing(settings) as producer:
        partitions = len(await producer.partitions_for(settings.topics.events))
        for chunk in world.backlog(count, time.time() - STEP * count):
            places = partitions_for([key for key, _ in chunk], partitions).tolist()
            waiting: list[Any] = []
            for partition in range(partitions):
                rows = [row for row, place in zip(chunk, places, strict=True) if place == partition]
                filled[partition] = filled.get(partition, 0) + len(rows)
                # The embedded broker tells a partition's end by the first record of its last batch: so that has only one.
                for part in (rows[:-1], rows[-1:]):
                    waiting += await _batches(producer, settings.topics.events, partition, part)
            await asyncio.gather(*waiting)
    return filled


async def _batches(producer: AIOKafkaProducer, topic: str, partition: int, rows: Iterable[Message]) -> list[asyncio.Future[Any]]:
    """Ready-made batches cost a tenth of sending one by one."""
    sent = []
    builder = producer.create_batch()
    for key, value in rows:
        if builder.append(key=key, value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            builder.append(key=key, value=value, timestamp=None)
    if builder.record_count():
        sent.append(await producer.send_batch(builder, topic, partition=partition))
    return sent
