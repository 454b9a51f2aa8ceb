"""What a worker cannot serve exactly it refuses with status 3 and the command that mends it; and that command does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from streams.records import VERSION, Kind, Record, encode
from tests.live.conftest import assert_taught, shopping
from tests.outside import Outside, assert_exact, event
from tests.waiting import wait_until_sync
from tests.worker import environment

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

REFUSED = 3
EVENTS = shopping(31, 400, users=40)


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})


@pytest.fixture
def served(crew, outside):
    """A worker that has served events, was killed, and can be started again."""
    (worker,) = crew(1, partitions=3)
    outside.push(*EVENTS)
    outside.settle()
    assert_taught(outside, len(EVENTS))
    worker.kill()
    worker.log.write_text("")
    return worker


@pytest.fixture
def mend(tree):
    """Run `upwell reset --yes` with further words."""

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli", "reset", "--yes", *words],
            env={name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")} | environment(tree),
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def refusal(worker) -> str:
    """Start a worker that must refuse; gives the one line that says why."""
    code, words = worker.run(within=60)
    assert code == REFUSED, words
    assert "Traceback" not in words
    (line,) = [line for line in words.splitlines() if line.startswith("upwell: ")]
    worker.log.write_text("")
    return line


def start(worker) -> None:
    worker.launch()
    worker.wait_until_ready()


def test_a_changed_count_of_partitions(served, outside, admin, mend):
    admin.create_partitions([NewPartitions(outside.topics["events"], 5)])[outside.topics["events"]].result(30)
    wait_until_sync(lambda: len(_partitions(admin, outside)) == 5, what="five partitions")
    # Events that wait on partitions which are not their users' any more.
    waiting = [event(str(one["user_id"]), "after") for one in EVENTS[:40]]
    for number, one in enumerate(waiting):
        outside.send("events", [(None, b'{"type":"view","user_id":"%s","item_id":"after"}' % str(one["user_id"]).encode())],
                     partition=number % 3)  # fmt: skip
    line = refusal(served)
    assert "has 5 partitions, users were placed by 3" in line
    assert "upwell reset" in line
    assert "5" in mend()
    start(served)
    later = shopping(32, 300, users=40)
    outside.push(*later)
    outside.settle()
    everything = EVENTS + waiting + later
    stored = outside.users(sorted({str(one["user_id"]) for one in everything}))
    assert {user: one["events"] for user, one in stored.items()} == _counts(everything)
    assert_taught(outside, len(everything))


def _partitions(admin, outside):
    return admin.list_topics(outside.topics["events"], timeout=10).topics[outside.topics["events"]].partitions


def _counts(events):
    users = [str(one["user_id"]) for one in events]
    return {user: users.count(user) for user in users}


def test_a_recreated_events_topic(served, outside, admin, mend):
    topic = outside.topics["events"]
    admin.delete_topics([topic])[topic].result(30)
    wait_until_sync(lambda: topic not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    wait_until_sync(lambda: _created(admin, topic), what="the topic is back")
    later = shopping(33, 100, users=40)
    outside.push(*later)
    line = refusal(served)
    assert "was recreated" in line
    assert "upwell reset" in line
    assert "offsets" in mend()
    start(served)
    outside.settle()
    assert_exact(outside, EVENTS + later)
    assert_taught(outside, len(EVENTS + later))


def test_an_events_topic_that_is_recreated_beneath_a_running_worker(crew, outside, tree, admin, mend):
    (worker,) = crew(1, partitions=3)
    outside.push(*EVENTS)
    outside.settle()
    topic = outside.topics["events"]
    admin.delete_topics([topic])[topic].result(30)
    wait_until_sync(lambda: topic not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    wait_until_sync(lambda: _created(admin, topic), what="the topic is back")
    later = shopping(35, 100, users=40)
    with Outside(tree) as anew:  # the other client knows the topic that is gone
        anew.push(*later)
        wait_until_sync(lambda: not worker.alive, within=60, what="the worker ends")
        worker.kill()
        assert worker.exit_code == REFUSED, worker.words()
        assert "was recreated" in worker.words()
        assert "offsets" in mend()
        start(worker)
        anew.settle()
        assert_exact(anew, EVENTS + later)
        assert_taught(anew, len(EVENTS + later))


def _created(admin, topic) -> bool:
    future = admin.create_topics([NewTopic(topic, 3, 1)])[topic]
    return future.exception(30) is None


def test_a_recreated_items_topic_is_taken_up_and_its_entries_are_the_newest(crew, outside, admin):
    (worker,) = crew(1, partitions=3)
    outside.send("items", [(b"tea", b'{"item_id":"tea","name":"Tea %d"}' % n) for n in range(5)])
    outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea 4", "the newest entry")
    worker.stop()
    topic = outside.topics["items"]
    admin.delete_topics([topic])[topic].result(30)
    wait_until_sync(lambda: topic not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    start(worker)
    outside.send("items", [(b"tea", b'{"item_id":"tea","name":"Tea anew"}')])
    outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea anew", "the entry of the new topic")
    outside.wait(lambda: outside.hash("catalogue").get("incarnation") == "1", "the mark")
    outside.send("items", [(b"tea", b'{"item_id":"tea","name":"Tea again"}')])
    outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea again", "the entry after it")


def test_a_log_that_begins_after_the_snapshot(served, outside, admin, mend):
    for key in outside.redis.scan_iter(f"{outside.prefix}snapshot*"):
        outside.redis.delete(key)
    log = outside.topics["learned"]
    admin.delete_records([TopicPartition(log, 0, outside.ends("learned")[0] - 1)])[TopicPartition(log, 0)].result(30)
    line = refusal(served)
    assert "what lies between is gone" in line
    assert "upwell reset --models" in line
    assert "models" in mend("--models")
    _learns_again(served, outside)


def test_a_damaged_record(served, outside, mend):
    begin = encode(Record(Kind.LESSON, 1, 0, 0, 1, b""))[:3]
    outside.send("learned", [(None, begin + b"\x01 not a record of ours, though it begins like one")], partition=0)
    line = refusal(served)
    assert "is damaged at offset" in line
    assert "upwell reset --models" in line
    assert "models" in mend("--models")
    _learns_again(served, outside)


def test_a_group_with_other_members(served, tree, outside):
    other = Consumer({"bootstrap.servers": outside.brokers, "group.id": tree["group"], "log_level": 0})
    other.subscribe([outside.topics["events"]])
    wait_until_sync(lambda: (other.poll(0.1), other.assignment())[1], within=30, what="the other is a member")
    line = refusal(served)
    other.close()
    assert "has members that are not workers of this version" in line
    start(served)


def test_a_record_of_a_newer_version(served, outside):
    record = bytearray(encode(Record(Kind.LESSON, 1, 0, 0, 1, b"of tomorrow")))
    record[2] = VERSION + 1
    outside.send("learned", [(None, bytes(record))], partition=0)
    line = refusal(served)
    assert f"a record of version {VERSION + 1}" in line
    assert "upgrade this worker" in line


def test_a_damaged_record_ends_a_running_worker_too(crew, outside):
    (worker,) = crew(1, partitions=3)
    outside.send("learned", [(None, b"UL")], partition=0)
    wait_until_sync(lambda: not worker.alive, within=30, what="the worker ends")
    worker.kill()
    assert worker.exit_code == REFUSED, worker.words()


def test_a_log_that_was_deleted_beneath_a_worker_that_stood_still(crew, outside, admin):
    (worker,) = crew(1, partitions=3)
    outside.push(*EVENTS)
    outside.settle()
    assert_taught(outside, len(EVENTS))
    worker.pause()
    for _ in range(20):  # the first few may go out with what the worker had asked for before
        outside.send("learned", [(None, encode(Record(Kind.LAYOUT, 0, 3, 0, 0, b"")))], partition=0)
    log = outside.topics["learned"]
    admin.delete_records([TopicPartition(log, 0, outside.ends("learned")[0] - 1)])[TopicPartition(log, 0)].result(30)
    worker.resume()
    wait_until_sync(lambda: not worker.alive, within=30, what="the worker ends")
    worker.kill()
    assert worker.exit_code == REFUSED, worker.words()
    assert "start it again, it goes on from the newest snapshot" in worker.words()


def _learns_again(worker, outside) -> None:
    """The models begin anew from the events that Kafka has; the profiles take none of them twice."""
    start(worker)
    later = shopping(34, 200, users=40)
    outside.push(*later)
    outside.settle()
    assert_exact(outside, EVENTS + later)
    version = int(outside.hash("model")["version"])
    wait_until_sync(lambda: int(outside.hash("model")["version"]) > version or worker.get("/metrics"), what="new figures")
    assert_taught(outside, len(EVENTS + later))
