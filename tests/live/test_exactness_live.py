"""The promise: profiles and models take every event exactly once, whatever is killed meanwhile."""

from __future__ import annotations

import random
import threading

import pytest
from confluent_kafka import Consumer

from tests.live.conftest import assert_everything, shopping

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

SEED = 20_260_417


@pytest.fixture
def slow_listener(outside, stack):
    """A client that takes the recommendations one at a time, with pauses: it must slow down nobody."""
    consumer = Consumer({"bootstrap.servers": outside.brokers, "group.id": outside.topics["recommendations"],
                         "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 64, "log_level": 0})  # fmt: skip
    ended = threading.Event()

    def listen() -> None:
        consumer.subscribe([outside.topics["recommendations"]])
        while not ended.wait(0.05):
            consumer.poll(0.1)
        consumer.close()

    thread = threading.Thread(target=listen, name="slow listener")
    stack.callback(thread.join)
    stack.callback(ended.set)
    thread.start()


@pytest.mark.usefixtures("slow_listener")
def test_every_event_counts_once_through_three_kills(crew, outside, load):
    chance = random.Random(SEED)
    events = shopping(SEED, 20_000, users=1_000)
    workers = crew(2, snapshot={"seconds": 3})
    with load(events, speed=1_500) as sending:
        for moment in sorted(chance.sample(range(1_000, 19_000), 3)):
            sending.reaches(moment)
            victim = chance.choice(workers)
            victim.kill()
            victim.launch()
    for one in workers:
        one.wait_until_ready()
    assert_everything(outside, events, sending.places)


def test_every_event_counts_once_when_redis_is_killed_under_load(crew, outside, load, redis_server):
    events = shopping(SEED + 1, 6_000, users=300)
    workers = crew(2, snapshot={"seconds": 3})
    with load(events, speed=800) as sending:
        for moment in (1_500, 3_500):
            sending.reaches(moment)
            redis_server.kill()
            redis_server.start()
    assert_everything(outside, events, sending.places)
    assert all(one.alive for one in workers)
