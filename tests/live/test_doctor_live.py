"""The checks of `upwell doctor` that only Apache Kafka can provoke."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.checks.look import checks
from streams.settings import Settings
from streams.topics import ensure

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.fixture
def made(tree) -> Settings:
    settings = Settings(**tree, partitions=1, http="127.0.0.1:1")
    asyncio.run(ensure(settings))
    return settings


@pytest.fixture
def configure(kafka):
    admin = AdminClient({"bootstrap.servers": kafka.address})

    def configure(topic: str, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result(30)

    return configure


def diagnosed(settings) -> dict:
    return {check.name: check for check in asyncio.run(checks(settings))}


def test_events_that_are_deleted_too_soon_are_told(made, configure):
    check = diagnosed(made)["events retention"]
    assert (check.ok, check.fix, "7 days" in check.found) == (True, None, True)
    configure(made.topics.events, "retention.ms", "7200000")
    check = diagnosed(made)["events retention"]
    assert (check.ok, "retention.ms=" in check.fix) == (True, True)
    configure(made.topics.events, "retention.ms", "600000")
    assert not diagnosed(made)["events retention"].ok


def test_dead_letters_without_room_for_large_events_are_told(made, configure):
    assert diagnosed(made)["dead letters"].ok
    configure(made.topics.events, "max.message.bytes", "5000000")
    check = diagnosed(made)["dead letters"]
    assert (check.ok, check.fix.endswith("max.message.bytes=10000000")) == (False, True)


def test_events_from_the_future_are_told(made, kafka):
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(made.topics.events, b"{}", timestamp=int(time.time() * 1000))
    producer.flush(30)
    assert diagnosed(made)["events clock"].ok
    producer.produce(made.topics.events, b"{}", timestamp=int((time.time() + 1_800) * 1000))
    producer.flush(30)
    check = diagnosed(made)["events clock"]
    assert (check.ok, "30 minutes behind the events" in check.found) == (False, True)


def test_the_ends_of_transactions_wait_for_nobody(made, kafka, tree):
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": made.group})
    producer.init_transactions(30)
    with redis.Redis.from_url(tree["redis"]) as client:
        client.hset(f"{made.prefix}applied", "0", 0)
        for kept, waiting in ((False, "all is applied"), (True, "2 events wait to be applied")):
            producer.begin_transaction()
            for _ in range(2):
                producer.produce(made.topics.events, b"{}")
            producer.flush(30)
            (producer.commit_transaction if kept else producer.abort_transaction)(30)
            assert diagnosed(made)["offsets"].found == waiting
