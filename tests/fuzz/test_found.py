"""What fuzzing and thought found: requests that met a fault, and records and snapshots that pointed outside the models."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from state.profiles import DamagedProfile, Stored
from streams.failures import Refusal
from streams.models.ids import pack
from streams.pseudonyms import other_key
from streams.records import Centers, Kind, Record, decode, decode_lesson, encode, encode_centers, encode_lesson
from streams.schemas import BadEvent, decode_event
from streams.settings import SettingsError, load
from streams.snapshots import thaw
from tests.fuzz.folds import World, state
from tests.fuzz.http import PATIENCE, Requests
from tests.rules_worker import NOW, SETTINGS


@pytest.fixture(scope="module")
def world():
    return World(SETTINGS)


@pytest.fixture(scope="module")
def server():
    requests = Requests()
    yield requests
    requests.close()


def get(path):
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path


def post(body, *headers):
    lines = b"".join(b"%b\r\n" % header for header in headers)
    return b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)


GZIP, DEFLATE = b"Content-Encoding: gzip", b"Content-Encoding: deflate"
EVENT = b'{"type":"view","user_id":"ada","item_id":"tea"}'


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(b"/v1/trending?n=" + b"1" * 5000), 400),
        (get(b"/v1/trending?n=%C2%B2"), 400),
        (get(b"/v1/users/%ED%A0%80/recommendations"), 404),
        (get(b"/v1/users/%00%0A%1B%5B2J/recommendations"), 404),
        (get(b"/v1/items/%7Bu%7D%2A/similar"), 404),
        (post(b"no gzip", GZIP), 400),
        (post(gzip.compress(EVENT), GZIP), 503),
        (post(zlib.compress(b" " * (1 << 28)), DEFLATE), 413),
        (post(b"[" * 4000), 400),
        (post(b"[" + b"[" * 1900 + b"]" * 1900 + b"]"), 400),
        (post(b'{"type":"view","user_id":"\\ud800","item_id":"tea"}'), 422),
    ],
)
def test_a_request_gets_its_answer_and_no_fault(server, request_, status):
    assert server.ask(request_, PATIENCE) == status


def lesson_record(world):
    return next(record for value in reversed(world.log) if (record := decode(value, 0)).kind is Kind.LESSON)


def number(name, place, value):
    def change(lesson):
        column = getattr(lesson, name).copy()
        column.flat[place] = value
        return replace(lesson, **{name: column})

    return change


def columns(**changes):
    return lambda lesson: replace(lesson, **{name: make(getattr(lesson, name)) for name, make in changes.items()})


def shorter(column):
    return column[:-1]


UNSOUND = {
    "a user beyond those named": number("users", 0, 77),
    "an item beyond those named": number("items", -1, 1 << 31),
    "a weight that is no number": number("weights", 0, np.nan),
    "a weight below 0": number("weights", 0, -1.0),
    "a time without end": number("times", 0, np.inf),
    "a time before 1970": number("times", 0, -1.0),
    "fewer weights than visits": columns(weights=shorter),
    "fewer types than visits": columns(kinds=shorter),
    "fewer segments than users": columns(user_segments=shorter),
    "a user's segment that is none": number("user_segments", 0, -2),
    "a user's segment beyond all": number("user_segments", 0, 999),
    "hits of other sources": columns(hits=shorter),
    "hits below 0": number("hits", 0, -1),
    "a sample of other dimensions": columns(sample=lambda sample: np.ones((3, sample.shape[1] + 1), np.float32)),
    "a sample that is infinite": columns(sample=lambda _: np.full((1, 8), np.inf, np.float32)),
    "sums of a segment beyond all": lambda lesson: replace(
        lesson, segments=np.array([2], np.int16), counts=np.ones(1), sums=np.zeros((1, 8)), sse=np.zeros(1)
    ),
    "sums of other dimensions": lambda lesson: replace(
        lesson, segments=np.array([1], np.int16), counts=np.ones(1), sums=np.zeros((1, 9)), sse=np.zeros(1)
    ),
    "a gradient of other features": columns(
        blend_segments=lambda _: np.zeros(1, np.int16),
        blend_events=lambda _: np.ones(1, np.int64),
        gradient=lambda _: np.ones((1, 3)),
    ),
    "ids that are not UTF-8": columns(user_ids=lambda ids: pack([b"\xff" * (n + 1) for n in range(len(ids.ends))])),
    "an id that is empty": columns(item_ids=lambda ids: pack([b"x" * n for n in range(len(ids.ends))])),
    "ids that begin within a letter": columns(types=lambda _: pack([b"a\xc3", b"\xa9"])),
    "ids that end before they begin": columns(user_ids=lambda ids: ids._replace(ends=ids.ends[::-1] + 1)),
    "origins that are none": columns(origins=lambda _: np.array([[-1, 5]])),
    "more events than there are": lambda lesson: replace(lesson, events=1 << 63),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_a_lesson_that_cannot_be_folded_is_refused_in_a_sentence_and_changes_nothing(world, what):
    record = lesson_record(world)
    body = encode_lesson(UNSOUND[what](decode_lesson(record.body)))
    refused(world, replace(record, start=world.end, end=world.end + 9, body=body))


def refused(world, record):
    world.begin()
    with pytest.raises(Refusal, match=r"The learned log is damaged at offset 12: .* A log is never skipped over"):
        world.fold.fold(decode(encode(record), 12), 12)
    assert state(world.fold) == world.state


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 20, 200])
def test_a_lesson_that_is_cut_short_is_refused(world, cut):
    record = lesson_record(world)
    refused(world, replace(record, start=world.end, end=world.end + 9, body=record.body[:cut]))
    refused(world, replace(record, start=world.end, end=world.end + 9, body=record.body + b"\0"))


@pytest.mark.parametrize("centers", [np.zeros((2, 9)), np.zeros((3, 8)), np.full((2, 8), np.nan), np.full((2, 8), np.inf)])
def test_centers_that_do_not_fit_the_models_are_refused(world, centers):
    refused(world, Record(Kind.CENTERS, 1, 0, 0, 0, encode_centers(Centers(7, 1.7e9, centers))))


def test_a_layout_of_no_partitions_is_refused(world):
    refused(world, Record(Kind.LAYOUT, 1, 0, 1, 1, world.fold.knobs))


def taken_apart(world):
    size = int.from_bytes(world.data[6:10], "little")
    return json.loads(world.data[10 : 10 + size]), bytearray(zlib.decompress(world.data[10 + size :]))


def put_together(world, header, body):
    head = msgspec.json.encode(header)
    return world.data[:6] + len(head).to_bytes(4, "little") + head + zlib.compress(bytes(body))


def test_a_snapshot_that_inflates_to_more_than_its_header_says_is_refused_before_it_does(world):
    header, body = taken_apart(world)
    with pytest.raises(Refusal, match="more or less than its header tells of"):
        thaw(put_together(world, header, body + bytes(1 << 28)), world.parameters)
    header["arrays"][0][2] = [1 << 39]
    with pytest.raises(Refusal, match="more than its bytes can hold"):
        thaw(put_together(world, header, body), world.parameters)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("visits.item_users", 1 << 20),
        ("visits.user_items", -2),
        ("visits.user_count", -1),
        ("users.ends", 1 << 40),
        ("popularity.top_short", 1 << 20),
        ("catalog.item_tokens", 99),
        ("catalog.recent", 1 << 30),
        ("members.of_user", 64),
        ("hits", -1),
    ],
)
def test_a_snapshot_that_points_outside_is_refused(world, array, value):
    with pytest.raises(Refusal, match="The newest snapshot is damaged"):
        thaw(with_first(world, array, lambda width: value.to_bytes(width, "little", signed=True)), world.parameters)


@pytest.mark.parametrize("array", ["catalog.content", "catalog.context", "visits.user_weights", "blend.weights"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_a_snapshot_of_numbers_that_are_none_or_overflow_is_refused(world, array, value):
    with pytest.raises(Refusal, match=rf"The newest snapshot is damaged \({array} holds what is "):
        thaw(with_first(world, array, lambda width: np.array(value, f"<f{width}").tobytes()), world.parameters)


def with_first(world, array, bytes_of):
    """The snapshot with another first value of an array, of which the bytes are asked for by their number."""
    header, body = taken_apart(world)
    at = 0
    for name, dtype, shape in header["arrays"]:
        if name == array:
            break
        at += int(dtype[2]) * int(np.prod(shape))
    width = int(dtype[2])
    body[at : at + width] = bytes_of(width)
    return put_together(world, header, body)


@pytest.mark.parametrize("dtype", ["|O", "<f2", "(9,9)f8", "i8,f8", "<M8[s]", ""])
def test_a_snapshot_of_other_types_is_refused(world, dtype):
    header, body = taken_apart(world)
    header["arrays"][2][1] = dtype
    with pytest.raises(Refusal, match="damaged"):
        thaw(put_together(world, header, body), world.parameters)


@pytest.mark.parametrize("header", [b"", b"{}", b"[" * 9000, b'{"version":1}', b"\xff", b'{"version":"1"}'])
def test_a_snapshot_without_a_header_is_refused(world, header):
    with pytest.raises(Refusal, match="its header is none"):
        thaw(world.data[:6] + len(header).to_bytes(4, "little") + header, world.parameters)


@pytest.mark.parametrize("depth", [10, 5_000, 100_000])
def test_settings_that_are_nested_deep_are_refused(tmp_path, depth):
    (tmp_path / "upwell.toml").write_text("models = " + "[" * depth + "]" * depth)
    with pytest.raises(SettingsError):
        load(tmp_path / "upwell.toml")
    with pytest.raises(SettingsError):
        load(None, {"rerank.pins": "[" * depth})


@pytest.mark.parametrize("name", ["brokers", "http"])
@pytest.mark.parametrize("long", ["a.e" + "[" * 10_000 + ":1", "a" * 10_000])
def test_a_long_value_is_shown_in_a_few_words(name, long):
    with pytest.raises(SettingsError) as refused:
        load(None, {name: long})
    assert len(str(refused.value)) < 500


def test_settings_of_a_snapshot_that_are_no_text_name_no_other_key():
    assert not other_key(b'{"a\xdf":{}}', b"{}")


@pytest.mark.parametrize("field", [b"history", b"interests"])
def test_a_profile_that_is_nested_deep_is_damaged(field):
    with pytest.raises(DamagedProfile, match="the hash of user 'ada' in Redis is damaged"):
        Stored.from_hash("ada", {field: b"[" * 100_000})


def test_a_misspelling_is_looked_for_among_few_names_however_many_there_are():
    said = []
    for place in (3, 90_000):
        names = [f"name{n}" for n in range(100_000)]
        names[place] = "userid"
        with pytest.raises(BadEvent) as refused_:
            decode_event(
                json.dumps({"type": "view", "item_id": "b"} | dict.fromkeys(names, 1)).encode(), received=NOW, skew=300.0
            )
        said.append(refused_.value.message)
    assert [sentence.endswith('rename "userid" to `user_id`.') for sentence in said] == [True, False]
