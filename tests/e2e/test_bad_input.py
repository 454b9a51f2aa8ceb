"""What is no event goes to the dead letters with its bytes untouched, and the stream goes on."""

from __future__ import annotations

import json

from streams.schemas import REASONS
from tests.outside import event

HEADERS = {f"upwell.{name}" for name in ("topic", "partition", "offset", "stage", "error", "message")}


def sent(**fields: object) -> bytes:
    return json.dumps(event("ada", "tea") | fields).encode()


BAD = {
    "not JSON": (b"user ada viewed tea", "not_json"),
    "half of a JSON": (b'{"type": "view", "user_id": "ada"', "not_json"),
    "nothing": (b"", "not_json"),
    "no value": (None, "no_value"),
    "not an object": (b'["view", "ada", "tea"]', "not_an_object"),
    "not UTF-8": (b'{"type":"view","user_id":"ada\xff","item_id":"tea"}', "not_utf8"),
    "a lone surrogate": (b'{"type":"view","user_id":"\\ud800","item_id":"tea"}', "not_json"),
    "no type": (b'{"user_id":"ada","item_id":"tea"}', "missing_type"),
    "no user": (b'{"type":"view","item_id":"tea"}', "missing_user_id"),
    "no item": (b'{"type":"view","user_id":"ada"}', "missing_item_id"),
    "an empty user": (sent(user_id=""), "bad_user_id"),
    "an over-long user": (sent(user_id="x" * 513), "bad_user_id"),
    "an over-long item": (sent(item_id="é" * 257), "bad_item_id"),
    "a list for a user": (sent(user_id=["ada"]), "bad_user_id"),
    "a fraction for a user": (sent(user_id=1.5), "bad_user_id"),
    "a number for a type": (sent(type=7), "bad_type"),
    "NaN for a value": (b'{"type":"view","user_id":"ada","item_id":"tea","value":NaN}', "not_json"),
    "a value out of range": (sent(value=1e13), "bad_value"),
    "a text for a value": (sent(value="much"), "bad_value"),
    "a rating without value": (sent(type="rating"), "missing_value"),
    "NaN for a time": (b'{"type":"view","user_id":"ada","item_id":"tea","timestamp":NaN}', "not_json"),
    "a time before 1970": (sent(timestamp=-5), "bad_timestamp"),
    "a time beyond all years": (sent(timestamp=1e30), "bad_timestamp"),
    "a word for a time": (sent(timestamp="yesterday"), "bad_timestamp"),
    "5,000 nested brackets": (sent(properties=0)[:-2] + b"[" * 5_000 + b"]" * 5_000 + b"}", "too_deep"),
    "5,000 open brackets": (b"[" * 5_000, None),
    "800 kB of one letter": (b"a" * 800_000, "not_json"),
    "800 kB of one letter as an id": (sent(user_id="a" * 800_000), "bad_user_id"),
}  # fmt: skip


def test_every_kind_of_bad_input_is_buried_untouched_and_the_stream_goes_on(service, own):
    key = own("key").encode()
    headers = [("trace", b"\x00\xff"), ("trace-id", b"7")]
    messages = [(key, value) for value, _ in BAD.values()]
    first = service.push(event(own("before"), own("tea")))
    places = service.send("events", messages, headers=headers)
    service.push(event(own("after"), own("tea")))
    service.settle()
    assert service.user(own("after"))["events"] == service.user(own("before"))["events"] == 1
    assert first
    letters = {
        (int(letter.headers["upwell.partition"]), int(letter.headers["upwell.offset"])): letter
        for letter in service.read("dead")
        if letter.key == key
    }
    assert len(letters) == len(BAD)
    for (name, (value, error)), place in zip(BAD.items(), places, strict=True):
        letter = letters[place]
        assert letter.value == value, name
        assert letter.headers.keys() == HEADERS | {"trace", "trace-id"}, name
        assert (letter.headers["trace"], letter.headers["trace-id"]) == (b"\x00\xff", b"7"), name
        told = {header: letter.headers[f"upwell.{header}"].decode() for header in ("topic", "stage", "error", "message")}
        assert told["topic"] == service.topics["events"]
        assert error in (None, told["error"]), name
        assert REASONS[told["error"]].startswith(told["stage"] + ":"), name
        assert len(told["message"]) > 20, name
        assert len(told["message"]) < 1_000, name


def test_a_bad_item_is_buried_and_the_catalogue_goes_on(service, own):
    tea = own("tea").encode()
    (place,) = service.send("items", [(tea, b'{"item_id":"another"}')], headers=[("trace", b"7")])
    service.send("items", [(tea, json.dumps({"item_id": tea.decode(), "name": "Tea"}).encode())])
    found = service.wait(lambda: [letter for letter in service.read("dead") if letter.key == tea], "the dead letter")
    assert found[0].headers["upwell.error"] == b"wrong_key"
    assert found[0].headers["trace"] == b"7"
    assert found[0].headers["upwell.topic"].decode() == service.topics["items"]
    assert (int(found[0].headers["upwell.partition"]), int(found[0].headers["upwell.offset"])) == place
    service.wait(lambda: service.hash(f"item:{tea.decode()}").get("name") == "Tea", "the good entry")


HOSTILE = {
    "quotes": "a\"b'c`d",
    "backslashes": "a\\b\\\\n\\u0041",
    "newlines": "a\nb\r\nc\td",
    "spaces": "  a b  ",
    "colons": "user:item::at:3",
    "braces": '{"item_id":"x"},{hash}',
    "emoji": "👩\u200d🚀 u\u0301 \U0001d518",
    "NUL": "\x00a\x00",
    "control": "\x1b[31m\x7f\u2028\u202e",
    "a field's name": "at:1",
    "glob": "*?[a-z]",
    "512 bytes": "é" * 256,
    "one byte": "x",
}


def test_hostile_ids_come_out_as_they_went_in(service, own):
    for name, hostile in HOSTILE.items():
        tail = own("") if name != "512 bytes" else ""
        user, item, other = hostile + tail, hostile + tail, own("plain")
        service.push(event(user, item, event_id=hostile), event(own("peer"), item), event(own("peer"), other))
        service.settle()
        service.push(event(user, item, event_id=hostile))
        service.settle()
        assert service.redis.exists(service.prefix.encode() + b"user:" + user.encode()), name
        stored = service.user(user)
        assert [entry["item_id"] for entry in stored["history"]] == [item, item], name
        newest = service.recommendations(user)[-1]
        assert newest["user_id"] == user, name
        assert newest["trigger"]["event_id"] == hostile, name
        assert newest["items"], name
        service.push(event(own("reader"), other))
        service.settle()
        for answer in service.recommendations(own("reader"))[-1:]:
            recommended = {one["item_id"] for one in answer["items"]}
            assert item in recommended, name
    hot = {name.decode() for name in service.redis.zrange(f"{service.prefix}trending", 0, -1)}
    assert hot


def test_numbers_as_ids_are_their_decimal_text(service, own):
    number = int.from_bytes(own("").encode()[-4:], "big")
    service.send("events", [(str(number).encode(), json.dumps(event("", "") | {"user_id": number, "item_id": 7}).encode())])
    service.settle()
    assert [entry["item_id"] for entry in service.user(str(number))["history"]] == ["7"]


def test_times_in_all_units_are_the_same_moment(service, own):
    times = (1735689600.25, 1735689600250, 1735689600250000, "2025-01-01T00:00:00.25Z", "2025-01-01T01:00:00.25+01:00")
    service.push(*(event(own("ada"), own("tea"), timestamp=time) for time in times))
    service.settle()
    assert [entry["at"] for entry in service.user(own("ada"))["history"]] == [1735689600.25] * len(times)
