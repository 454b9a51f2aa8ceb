"""A redrive that is killed at any moment sends no letter twice and loses none, for who reads committed messages."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from streams.redrive import AT_ONCE
from streams.settings import Settings
from streams.topics import ensure
from tests.live.conftest import assert_taught, shopping
from tests.outside import assert_exact, event
from tests.waiting import wait_until_sync
from tests.worker import environment

pytestmark = [pytest.mark.live, pytest.mark.timeout(480)]

LETTERS = 6 * AT_ONCE + 7
KILLS = 8
PARTITIONS = 3


@pytest.fixture
def redrive(tree, tmp_path):
    """Start `upwell dead redrive` as a process of its own."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "streams.cli", "dead", "redrive", "--json", *options]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=variables | environment(tree), cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)

    return start


@pytest.fixture
def letters(tree, kafka):
    """So many dead letters, each with bytes of its own; the first ten were buried twice."""
    asyncio.run(ensure(Settings(**tree, partitions=PARTITIONS)))
    producer = Producer({"bootstrap.servers": kafka.address})
    for number in [*range(LETTERS), *range(10)]:
        said = {"topic": tree["topics"]["events"], "partition": "0", "offset": str(number), "stage": "decode"}
        said |= {"error": "not_json" if number % 2 else "bad_value", "message": "none"}
        headers = [(f"upwell.{name}", text.encode()) for name, text in said.items()]
        producer.produce(tree["topics"]["dead"], b"letter %d" % number, b"%d" % number, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


def sent(tree, role: str = "events", isolation: str = "read_committed") -> Counter[bytes]:
    """How often each message of a topic is there for who reads committed ones."""
    options = {"bootstrap.servers": tree["brokers"], "group.id": "counting", "enable.partition.eof": True}
    consumer = Consumer(options | {"isolation.level": isolation, "enable.auto.commit": False})
    found: Counter[bytes] = Counter()
    try:
        consumer.assign([TopicPartition(tree["topics"][role], number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        ended = set()
        while len(ended) < PARTITIONS:
            message = consumer.poll(30)
            assert message is not None
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF
                ended.add(message.partition())
            else:
                found[message.value()] += 1
    finally:
        consumer.close()
    return found


def ended(process: subprocess.Popen[str]) -> int:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return json.loads(out)["redriven"]


@pytest.mark.usefixtures("letters")
def test_no_letter_is_sent_twice_or_lost_by_a_redrive_that_is_killed_at_random_moments(tree, redrive):
    chance = random.Random()
    for _ in range(KILLS):
        process = redrive()
        # From when it sends: a moment is so many messages that are there, whether committed or not.
        before = sent(tree, isolation="read_uncommitted").total()
        goal = before + chance.randrange(1, AT_ONCE)
        wait_until_sync(
            lambda process=process, goal=goal: (
                process.poll() is not None or sent(tree, isolation="read_uncommitted").total() >= goal
            ),
            within=120,
            every=chance.uniform(0, 0.02),
            what="it sends",
        )
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        process.communicate(timeout=120)
        if process.returncode == 0:
            break
    ended(redrive())
    counts = sent(tree)
    assert set(counts.values()) == {1}
    assert counts.total() == LETTERS
    assert ended(redrive()) == 0


@pytest.mark.usefixtures("letters")
def test_of_two_redrives_at_once_none_sends_what_the_other_sends(tree, redrive):
    both = [redrive(), redrive()]
    told = [process.communicate(timeout=120) for process in both]
    assert 0 in {process.returncode for process in both}
    for process, (_, err) in zip(both, told, strict=True):
        assert process.returncode == 0 or "took over" in err
    ended(redrive())
    counts = sent(tree)
    assert (set(counts.values()), counts.total()) == ({1}, LETTERS)


@pytest.mark.usefixtures("letters")
def test_reasons_and_places_are_redriven_one_after_another_each_letter_once(tree, redrive):
    assert ended(redrive("--place", f"{tree['topics']['events']}-0-1", "--place", f"{tree['topics']['events']}-0-2")) == 2
    assert ended(redrive("--error", "not_json")) == LETTERS // 2 - 1
    assert ended(redrive("--since", "1h")) == LETTERS - LETTERS // 2 - 1
    assert ended(redrive("--until", "1h")) == 0
    assert ended(redrive("--place", f"{tree['topics']['events']}-0-1", "--again")) == 1
    assert sent(tree)[b"letter 1"] == 2


def test_a_worker_counts_each_redriven_event_once_and_none_that_was_taken_back(tree, kafka, crew, outside):
    (worker,) = crew(1, partitions=PARTITIONS)
    events = shopping(61, 300)
    places = outside.push(*events)
    shop = Producer({"bootstrap.servers": kafka.address, "transactional.id": "shop", "partitioner": "murmur2_random"})
    shop.init_transactions(30)
    more = [event(f"u{number}", "tea") for number in range(50)]
    for kept in (False, True):
        shop.begin_transaction()
        for one in more:
            shop.produce(tree["topics"]["events"], json.dumps(one), one["user_id"])
        shop.flush(30)
        (shop.commit_transaction if kept else shop.abort_transaction)(30)
    lag = lambda: [line for line in worker.get("/metrics")[1].splitlines() if line.startswith("upwell_lag_events{")]  # noqa: E731
    wait_until_sync(lambda: len(lag()) == PARTITIONS and all(line.endswith(" 0.0") for line in lag()), within=60, what="no lag")
    # An event more for each partition, above the ends of the transactions: then all is applied to the very end.
    last = [event(f"last-{number}", "tea") for number in range(40)]
    places += outside.push(*last)
    assert {place.partition for place in places[-40:]} == {*range(PARTITIONS)}
    outside.settle()
    assert_exact(outside, [*events, *more, *last])
    assert_taught(outside, len(events) + len(more) + len(last))
