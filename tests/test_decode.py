"""The first look at a batch: what is an event, and what sits on the wrong partition (rule 8)."""

import json

import pytest

from streams.decode import REKEYED, Batch, decode_batch
from streams.partition import partition_for
from streams.settings import Settings
from tests.rules_worker import Message

USER = "u0"
HOME = partition_for(USER.encode(), 2)
AWAY = 1 - HOME


class Known:
    """Profiles that hold these users."""

    def __init__(self, **homes):
        self.homes = homes

    def home(self, user_id):
        return self.homes.get(user_id)


def event(offset=5, **fields):
    body = {"type": "view", "user_id": USER, "item_id": "i", "timestamp": 1.7e9, **fields}
    return Message(offset, json.dumps(body).encode(), b"any key")


def decoded(message, partition, known=None):
    return decode_batch(Batch({partition: [message]}, {partition: message.offset}), Settings(), 2, known or Known())


def test_an_event_at_home_is_kept():
    found = decoded(event(), HOME)
    assert [placed.offset for placed in found.events[HOME]] == [5]
    assert found.homes() == {USER: HOME}


@pytest.mark.parametrize("known", [Known(), Known(**{USER: HOME})], ids=["unknown", "in memory"])
def test_rule_8_a_misplaced_event_is_sent_home_whether_its_user_is_in_memory_or_not(known):
    found = decoded(event(), AWAY, known)
    assert found.events == {AWAY: []}
    (sent,) = found.rekeyed
    assert (sent.key, sent.value, sent.partition, sent.origin) == (USER.encode(), event().value, HOME, (AWAY, 5))


def test_rule_8_an_event_that_was_sent_home_carries_where_it_came_from():
    message = event()
    message.headers = [("traceparent", b"0"), (REKEYED, b"%d:3" % AWAY)]
    (placed,) = decoded(message, HOME).events[HOME]
    assert placed.origin == (AWAY, 3)


@pytest.mark.parametrize("header", [b"", b"1", b"1:", b":3", b"-1:3", b"1:3:4", b"a:b", b"1" * 10 + b":3", b"1:" + b"3" * 19])
def test_a_header_that_we_did_not_write_is_not_believed(header):
    message = event()
    message.headers = [(REKEYED, header)]
    (placed,) = decoded(message, HOME).events[HOME]
    assert placed.origin is None


def test_rule_8_an_event_is_sent_home_once_and_then_buried():
    message = event()
    message.headers = [(REKEYED, b"%d:3" % HOME)]
    found = decoded(message, AWAY)
    assert (found.events, found.rekeyed) == ({AWAY: []}, [])
    (letter,) = found.dead
    assert (letter.value, letter.partition, letter.offset) == (message.value, AWAY, 5)
    assert letter.reason.stage == "place"


@pytest.mark.parametrize("value", [None, b"", b"no event", b"{}"])
def test_what_is_no_event_is_buried_with_its_bytes_untouched(value):
    found = decoded(Message(5, value, b"key"), HOME)
    assert (found.events, found.rekeyed) == ({HOME: []}, [])
    (letter,) = found.dead
    assert (letter.key, letter.value, letter.partition, letter.offset) == (b"key", value, HOME, 5)
