"""A flood of what is no event keeps nobody waiting, and no size of it stops the stream."""

from __future__ import annotations

import os

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.partition import partitions_for
from streams.settings import Settings
from streams.topics import ensure
from tests.live.conftest import assert_taught, shopping
from tests.outside import assert_exact
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PARTITIONS = 3
BAD = 0  # the partition of the flood
WIDE = 3_000_000


def written(outside, role: str) -> list[int]:
    """When the broker's messages of a topic were written, in ms."""
    options = {"bootstrap.servers": outside.brokers, "group.id": "times", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(options)
    try:
        known = consumer.list_topics(outside.topics[role], timeout=10).topics[outside.topics[role]].partitions
        ends = {number: consumer.get_watermark_offsets(TopicPartition(outside.topics[role], number), 10)[1] for number in known}
        consumer.assign([TopicPartition(outside.topics[role], number, 0) for number in known])
        messages = [consumer.poll(30) for _ in range(sum(ends.values()))]
        return sorted(message.timestamp()[1] for message in messages)
    finally:
        consumer.close()


@pytest.mark.parametrize(("count", "size"), [(20_000, 1_000), (300, 900_000)], ids=["small", "large"])
async def test_good_events_are_answered_before_a_flood_on_another_partition_is_worked_off(tree, crew, outside, count, size):
    await ensure(Settings(**tree, partitions=PARTITIONS))
    good = [one for one in shopping(71, 400) if partitions_for([str(one["user_id"]).encode()], PARTITIONS)[0] != BAD]
    flood = Producer({"bootstrap.servers": outside.brokers, "compression.type": "zstd", "linger.ms": 5})
    for _ in range(count):
        flood.produce(outside.topics["events"], b"x" * size, partition=BAD)
        flood.poll(0)
    assert flood.flush(120) == 0
    outside.push(*good)
    # Only now, or a slow sender would find the flood worked off.
    (worker,) = crew(1)
    outside.settle(within=180)
    assert_exact(outside, good)
    assert_taught(outside, len(good))
    buried, answered = written(outside, "dead"), written(outside, "recommendations")
    assert len(buried) == count
    # Not the last of them: partitions take turns, and a machine with much to do may be through with both at once.
    assert answered[len(answered) // 2] < buried[-1]
    assert worker.words().count("\n") < 100, "no line for each letter"


@pytest.mark.parametrize("compressible", [True, False])
async def test_a_message_of_any_size_is_buried_and_the_stream_goes_on(tree, outside, crew, compressible):
    await ensure(Settings(**tree, partitions=PARTITIONS))
    entry = ConfigEntry("max.message.bytes", "4000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, outside.topics["events"], incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": outside.brokers})
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(30)
    crew(1)
    value = b"x" * WIDE if compressible else os.urandom(WIDE)
    producer = Producer({"bootstrap.servers": outside.brokers, "message.max.bytes": 4_000_000, "compression.type": "lz4"})
    producer.produce(outside.topics["events"], value, b"ada", partition=BAD)
    assert producer.flush(60) == 0
    good = shopping(72, 50)
    outside.push(*good)
    outside.settle()
    assert_exact(outside, good)
    (letter,) = wait_until_sync(lambda: outside.read("dead"), what="the dead letter")
    assert letter.key == b"ada"
    assert (letter.value, letter.headers.get("upwell.omitted")) == ((value, None) if compressible else (b"", b"%d" % WIDE))
