"""The oracle finds what is right right, and each kind of loss and repetition by its name."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from streams.decode import Batch
from streams.memory import Loop
from streams.partition import partitions_for
from streams.records import Kind, Record, decode, encode
from streams.settings import Settings
from tests.chaos.oracle import Oracle
from tests.chaos.taps import Seen
from tests.rules_worker import NOW, Message

TIME = int(NOW * 1000)
VALUES = [json.dumps({"type": "view", "user_id": f"u{n % 3}", "item_id": f"i{n % 5}"}).encode() for n in range(12)]


class Topics:
    """What the taps would give."""

    def __init__(self):
        self.came = defaultdict(list)

    def put(self, role, offset, value, key=None, **headers):
        self.came[role].append(
            Seen(0, offset, TIME, key, value, {name.replace("_", "."): word for name, word in headers.items()})
        )

    def drawn(self, role):
        return self.came.pop(role, [])


@pytest.fixture
async def topics():
    """Twelve events on one partition in batches of four, the sixth damaged, and what a worker makes of them."""
    loop, topics = Loop(Settings()), Topics()
    values = [*VALUES[:5], b"{", *VALUES[6:]]
    for offset, value in enumerate(values):
        topics.put("events", offset, value)
    for first in range(0, 12, 4):
        messages = [Message(first + place, value, timestamp=TIME) for place, value in enumerate(values[first : first + 4])]
        answer = await loop.pipeline.prepare(Batch({0: messages}, {0: first}), 1)
        for record in answer.records:
            topics.put("learned", len(topics.came["learned"]), record)
        for key, value in answer.recommendations:
            topics.put("recommendations", len(topics.came["recommendations"]), value, key)
        for letter in answer.dead:
            topics.put("dead", 0, letter.value, upwell_partition=b"0", upwell_offset=b"%d" % letter.offset)
        loop.finish(answer)
    return topics


@pytest.fixture
def oracle():
    return Oracle(Settings(), 1)


def found(oracle, topics):
    oracle.absorb(topics)
    return dict(oracle.faults())


def test_what_a_worker_makes_of_events_is_right(oracle, topics):
    assert found(oracle, topics) == {}
    assert oracle.events == 11
    assert oracle.stale() == 0


def test_a_lost_lesson_is_found(oracle, topics):
    topics.came["learned"].pop()
    assert found(oracle, topics) == {"taught lost": 4, "events not taught": 4}


def test_a_lesson_that_comes_twice_is_refused_and_does_no_harm(oracle, topics):
    last = topics.came["learned"][-1]
    topics.came["learned"].append(last._replace(offset=last.offset + 1))
    assert found(oracle, topics) == {}


def test_what_is_taught_twice_is_found(oracle, topics):
    last = topics.came["learned"][-1]
    record = decode(last.value, last.offset)
    again = encode(Record(Kind.LESSON, 2, 0, record.end, record.end + 4, record.body))
    topics.came["learned"].append(last._replace(offset=last.offset + 1, value=again))
    assert found(oracle, topics) == {"taught twice": 4, "events taught twice": 4}


def test_events_taught_out_of_order_are_found(oracle, topics):
    events = topics.came["events"]
    events[8], events[9] = events[8]._replace(value=events[9].value), events[9]._replace(value=events[8].value)
    assert found(oracle, topics)["taught out of order"] == 1


def test_a_lost_answer_is_found_and_an_old_one_that_came_last(oracle, topics):
    kept = topics.came["recommendations"]
    first, last = kept[0], next(one for one in reversed(kept) if one.key == kept[0].key)
    kept.append(first)
    oracle.absorb(topics)
    assert oracle.stale() == 1
    assert dict(oracle.faults()) == {}
    fresh, again = Oracle(Settings(), 1), Topics()
    again.came |= {"events": [Seen(0, n, TIME, None, v, {}) for n, v in enumerate(VALUES)]}
    again.came["recommendations"] = [one for one in kept if one is not last]
    assert found(fresh, again)["answers lost"] >= 1


def test_a_lost_dead_letter_is_found(oracle, topics):
    topics.came["dead"].clear()
    assert found(oracle, topics) == {"dead letters lost": 1}


def test_an_event_on_a_wrong_partition_counts_where_it_was_sent_again_and_once():
    oracle, astray = Oracle(Settings(), 2), Topics()
    astray.put("events", 0, VALUES[0])
    wrong = 1 - int(partitions_for([b"u0"], 2)[0])
    astray.came["events"][0] = astray.came["events"][0]._replace(partition=wrong)
    oracle.absorb(astray)
    assert oracle.events == 0
    assert oracle.faults()["re-keyed lost"] == 1
    for offset in (5, 6):
        astray.put("events", offset, VALUES[0], upwell_rekeyed=b"%d:0" % wrong)
    oracle.absorb(astray)
    assert oracle.events == 1
    assert oracle.faults()["re-keyed lost"] == 0


def test_of_a_topic_that_was_recreated_no_answer_is_due_but_for_its_own_events(oracle, topics):
    oracle.absorb(topics)
    right = {name: profile(user) for name, user in oracle.users.items()}
    oracle.begin_topic()
    assert (dict(oracle.faults()), dict(oracle.of_profiles(right))) == ({}, {})


@pytest.mark.parametrize(("events", "wrong"), [(-1, "events lost"), (1, "events twice")])
def test_a_profile_with_other_events_is_found(oracle, topics, events, wrong):
    oracle.absorb(topics)
    right = {name: profile(user) for name, user in oracle.users.items()}
    assert oracle.of_profiles(right) == {}
    right["u1"]["events"] += events
    assert oracle.of_profiles(right) == {wrong: 1}


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("history", [], "histories wrong"),
        ("at:0", 3, "fences wrong"),
        ("recommendations", {"trigger": {"partition": 0, "offset": 0}}, "stored answers old"),
    ],
)
def test_a_profile_that_is_behind_is_found(oracle, topics, field, value, wrong):
    oracle.absorb(topics)
    stored = {name: profile(user) for name, user in oracle.users.items()}
    stored["u1"][field] = value
    assert oracle.of_profiles(stored) == {wrong: 1}


def profile(user):
    trigger = {"partition": user.last.partition, "offset": user.last.offset}
    history = [{"item_id": item, "type": kind} for item, kind in user.history]
    return {"events": user.events, "history": history, "at:0": user.last.offset, "recommendations": {"trigger": trigger}}
