"""A fetch is bounded by bytes as they are without compression, and no partition keeps the others from theirs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.fetching import _MOST_BYTES, _STEP, Fetching

LARGE = 300_000
MANY = 600


@pytest.fixture
async def fetching(broker, name):
    """A topic of two partitions, and a way to start fetching both of them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(name("events"), 2, 1)])
    await admin.close()

    @contextlib.asynccontextmanager
    async def start() -> AsyncIterator[Fetching]:
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        consumer.assign([TopicPartition(name("events"), partition) for partition in (0, 1)])
        fetching = Fetching(consumer)
        try:
            yield fetching
        finally:
            await fetching.stop()
            await consumer.stop()

    return start


@pytest.fixture
async def send(broker, name):
    """Send messages to a partition, compressed."""
    async with AIOKafkaProducer(bootstrap_servers=broker.address, compression_type="zstd", max_request_size=1 << 24) as producer:

        async def send(partition: int, values: list[bytes]) -> None:
            for done in [await producer.send(name("events"), value, partition=partition) for value in values]:
                await done

        yield send


async def test_compressed_messages_are_taken_a_few_megabytes_at_a_time(fetching, send):
    await send(0, [b"a" * LARGE] * MANY)
    taken = []
    async with fetching() as fetch:
        while sum(map(len, taken)) < MANY:
            _, found = await fetch.take(8_000, 0)
            taken.append(found.get(0, []))
    assert [message.offset for messages in taken for message in messages] == [*range(MANY)]
    weights = [sum(len(message.value) for message in messages) for messages in taken]
    assert max(weights[1:]) <= _MOST_BYTES + LARGE
    assert weights[0] <= _STEP * LARGE, "nothing was known of their size"


async def test_a_partition_full_of_large_messages_does_not_keep_another_waiting(fetching, send):
    await send(0, [b"a" * LARGE] * MANY)
    async with fetching() as fetch:
        (_, first), before = await fetch.take(8_000, 0), 0
        while 1 not in first:
            if before == 0:
                await send(1, [b"good"] * 10)
            before += len(first.get(0, []))
            await asyncio.sleep(0.1)  # as a batch of these would take: the broker may be slow to say that there is more
            _, first = await fetch.take(8_000, 0)
        assert [message.value for message in first[1]] == [b"good"] * 10
        assert before < MANY, "before all the large ones were taken"


async def test_small_messages_are_taken_all_at_once(fetching, send):
    await send(0, [b"x"] * 5 * _STEP)
    await send(1, [b"y"] * 5 * _STEP)
    async with fetching() as fetch:
        seen = {0: 0, 1: 0}
        takes = 0
        while sum(seen.values()) < 10 * _STEP:
            _, found = await fetch.take(10 * _STEP, 0)
            takes += 1
            for partition, messages in found.items():
                assert [message.offset for message in messages] == [*range(seen[partition], seen[partition] + len(messages))]
                seen[partition] += len(messages)
        assert takes <= 4, "as the broker hands them over"
