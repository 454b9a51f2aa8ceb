import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams import schemas
from streams.knobs.models import Weights
from streams.schemas import (
    BadEvent,
    BadItem,
    Deleted,
    Event,
    Item,
    Recommendation,
    SegmentChange,
    decode_event,
    decode_item,
    reasons_table,
)

RECEIVED = 1_700_000_000.0
SKEW = 300.0
EVENT = {"type": "view", "user_id": "ada", "item_id": "tea"}
IDS = ("user_id", "item_id", "event_id", "session_id", "recommendation_id")
NO_IDS = [b'""', b"12.0", b"1.5", b"1e3", b"-0.0", b"true", b"[]", b"{}", b'"%s"' % (b"x" * 513), b"9" * 513, b"1e400"]
NO_VALUES = [b'"5"', b"true", b"[5]", b"1e13", b"-1e13", b"1e400", b"9" * 400]
DOCUMENT = Path(__file__).parents[1] / "docs" / "events.md"


def decode(value, received=RECEIVED):
    return decode_event(value, received=received, skew=SKEW)


def sent(**fields):
    return json.dumps(EVENT | fields, ensure_ascii=False).encode()


def sent_without(name):
    return json.dumps({field: found for field, found in EVENT.items() if field != name}).encode()


def raw(field, text):
    return b'{"type": "view", "user_id": "ada", "item_id": "tea", "%s": %s}' % (field.encode(), text)


def reason(value, received=RECEIVED):
    with pytest.raises(BadEvent) as refused:
        decode(value, received)
    assert f"{refused.value.stage}: " == re.match(r"\w+: ", schemas.REASONS[refused.value.error])[0]
    assert refused.value.message.endswith(".")
    assert len(refused.value.message) < 500
    return refused.value.error


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ids,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3),
    max_leaves=8,
)
legal = st.fixed_dictionaries(
    {"type": st.sampled_from(["view", "purchase", "impression"]) | ids.filter(lambda t: len(t.encode()) <= 64)}
    | dict.fromkeys(["user_id", "item_id"], ids | st.integers(-(10**30), 10**30)),
    optional={
        "event_id": ids | st.none() | st.integers(),
        "session_id": ids | st.none(),
        "recommendation_id": ids,
        "timestamp": st.none() | st.floats(1, 1e10) | st.integers(1, 10**16),
        "value": st.none() | st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12),
        "properties": values,
        "surprise": values,
    },
).filter(lambda event: event["type"] != "rating")


class TestALegalEvent:
    def test_needs_a_type_a_user_and_an_item_and_takes_the_records_time(self):
        assert decode(sent()) == Event("view", "ada", "tea", RECEIVED, RECEIVED)

    def test_may_carry_all_fields_of_the_contract(self):
        whole = sent(timestamp=1.6e9, value=2.5, event_id="e", session_id="s", recommendation_id="r", properties={"a": [1]})
        assert decode(whole) == Event("view", "ada", "tea", 1.6e9, 1.6e9, 2.5, "e", "s", "r")

    @given(legal)
    def test_keeps_what_was_sent(self, event):
        decoded = decode(json.dumps(event).encode())
        for name in ("type", "user_id", "item_id", "event_id", "session_id", "recommendation_id"):
            assert getattr(decoded, name) == (None if event.get(name) is None else str(event[name]))
        assert decoded.value == event.get("value")
        assert 0 < decoded.time <= RECEIVED + SKEW

    @given(legal)
    def test_is_the_same_whichever_way_it_is_decoded(self, event):
        # The typed way reads one of the properties and refuses what is no object, which then goes the other way.
        value = json.dumps({name: found for name, found in event.items() if name != "properties"}).encode()
        fields = schemas.fields(value, schemas._Sent.__struct_fields__, BadEvent)
        assert msgspec.to_builtins(schemas._TYPED(value)) == pytest.approx(fields)
        assert decode(json.dumps(event).encode()) == decode(value)

    @pytest.mark.parametrize("user_id", ['"', "\n", " ", ":", "🦉", "a\x00b", "\\", "ü" * 256, "x" * 512, "user:{1}"])
    def test_may_have_any_text_of_1_to_512_bytes_as_id(self, user_id):
        assert decode(sent(user_id=user_id)).user_id == user_id

    @pytest.mark.parametrize(
        ("number", "text"), [(b"12", "12"), (b"-7", "-7"), (b"-0", "0"), (b"9" * 30, "9" * 30), (b"9" * 512, "9" * 512)]
    )
    def test_may_have_an_integer_as_id(self, number, text):
        assert decode(raw("user_id", number)).user_id == text

    def test_takes_the_last_of_duplicated_keys(self):
        assert decode(raw("user_id", b'"bob"')).user_id == "bob"
        assert decode(raw("user_id", b'1.5, "user_id": "bob"')).user_id == "bob"

    def test_may_be_of_a_type_of_its_own(self):
        assert decode(sent(type="wish")).type == "wish"

    def test_may_be_nested_64_deep_and_hold_many_brackets(self):
        assert decode(raw("properties", b"[" * 63 + b"]" * 63))
        assert decode(raw("properties", json.dumps([{"a": "[[[[{{"}] * 500).encode()))

    def test_may_hold_800_kb_that_are_nobodys_business(self):
        assert decode(raw("properties", b'"' + b"[" * 800_000 + b'"'))


class TestTime:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            (b"1600000000", 1.6e9),
            (b"1600000000.25", 1.6e9 + 0.25),
            (b"1600000000250", 1.6e9 + 0.25),
            (b"1600000000250000", 1.6e9 + 0.25),
            (b'"1600000000"', 1.6e9),
            (b'"1600000000250"', 1.6e9 + 0.25),
            (b'"1.6e9"', 1.6e9),
            (b'"2020-09-13T12:26:40Z"', 1.6e9),
            (b'"2020-09-13T12:26:40"', 1.6e9),
            (b'"2020-09-13 14:26:40.25+02:00"', 1.6e9 + 0.25),
            (b'"2020-09-13"', datetime(2020, 9, 13, tzinfo=UTC).timestamp()),
            (b"1", 1.0),
            (b"null", RECEIVED),
        ],
    )
    def test_is_read_in_s_ms_us_or_iso_8601_without_zone_as_utc(self, text, seconds):
        assert decode(raw("timestamp", text)).timestamp == seconds

    @given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.none() | st.just(UTC)))  # noqa: DTZ001
    def test_in_iso_8601_may_be_any_of_the_years_1970_to_9999(self, moment):
        expected = moment.replace(tzinfo=UTC).timestamp()
        assert decode(sent(timestamp=moment.isoformat())).timestamp == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize(
        "text",
        [
            *(
                b"0",
                b"-1",
                b"-0.0",
                b"1e17",
                b"1e300",
                b"-" + b"9" * 400,
                b"1e400",
                b"1" + b"0" * 500,
                b"true",
                b"[]",
                b"{}",
                b'""',
                b'"soon"',
            ),
            *(b'"0"', b'"-5"', b'"nan"', b'"inf"', b'"1e400"', b'"1_000"', b'" 5"', b'"2024-02-30"', b'"1969-12-31"'),
            *(
                b'"9999-12-31T23:59:59-23:59"',
                b'"0001-01-01T00:00:00+23:59"',
                b'"' + b"9" * 800_000 + b'"',
                '"١٢"'.encode(),
            ),
        ],
    )
    def test_that_is_none_is_refused(self, text):
        assert reason(raw("timestamp", text)) == "bad_timestamp"

    def test_far_in_the_future_is_kept_as_sent_and_bounded_for_decay(self):
        event = decode(sent(timestamp="9999-01-01"))
        assert event.timestamp > 2.5e11
        assert event.time == RECEIVED + SKEW

    def test_of_a_record_without_time_bounds_nothing_and_is_no_default(self):
        assert decode(sent(timestamp=1.6e9), received=-0.001).time == 1.6e9
        assert reason(sent(), received=-0.001) == "bad_timestamp"


class TestNoEvent:
    @pytest.mark.parametrize(
        ("value", "error"),
        [
            *(
                (value, "not_json")
                for value in (b"", b" ", b"view", b"a" * 800_000, b"{", b"[1", b'{"type": NaN}', b"{'a': 1}", b"{}{}")
            ),
            *((raw("value", token), "not_json") for token in (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"1.")),
            *((raw("user_id", text), "not_json") for text in (b'"\\ud800"', b'"\\udc00\\ud800"', b'"\x00"', b'"\\x"')),
            (raw("properties", b'{"a": "\\ud800"}'), "not_json"),
            *((value, "not_an_object") for value in (b"null", b"[]", b'"view"', b"12", b"true", b'[{"type": "view"}]')),
            *(
                (value, "too_deep")
                for value in (b"[" * 5_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000)
            ),
            *((raw("properties", b"[" * depth + b"]" * depth), "too_deep") for depth in (64, 500, 5_000)),
            *(
                (value, "not_utf8")
                for value in (b"\xff\xfe", raw("user_id", b'"\xff"'), raw("properties", b'"\xff"'), b'{"\xff": 1}')
            ),
            (raw("user_id", b'"\xed\xa0\x80"'), "not_utf8"),
            (None, "no_value"),
        ],
    )
    def test_is_refused_at_decoding(self, value, error):
        assert reason(value) == error

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            *((raw(name, text), f"bad_{name}") for name in IDS for text in NO_IDS),
            *((raw("type", text), "bad_type") for text in (b'""', b"5", b"true", b"[]", b'"%s"' % (b"x" * 65))),
            *((raw("value", text), "bad_value") for text in NO_VALUES),
            *((json.dumps({k: v for k, v in EVENT.items() if k != name}).encode(), f"missing_{name}") for name in EVENT),
            *((raw(name, b"null"), f"missing_{name}") for name in EVENT),
            (b"{}", "missing_type"),
            (sent(type="rating"), "missing_value"),
            (sent(type="rating", value=None), "missing_value"),
            (sent(user_id="x" * 800_000), "bad_user_id"),
        ],
    )
    def test_is_refused_at_validation(self, value, error):
        assert reason(value) == error

    def test_is_told_which_field_what_was_found_and_how_to_mend_it(self):
        with pytest.raises(BadEvent, match=r'needs `user_id`, found only "type", "visitor", "item_id"; add `user_id`'):
            decode(b'{"type": "view", "visitor": "ada", "item_id": "tea"}')
        with pytest.raises(BadEvent, match=r'rename "userId" to `user_id`'):
            decode(b'{"type": "view", "userId": "ada", "item_id": "tea"}')
        with pytest.raises(BadEvent, match=r"`item_id` must be .*, found the number 12.0; send a number as an integer"):
            decode(sent(item_id=12.0))

    @given(st.binary(max_size=200))
    @example(b'"\\')
    @example(b"\xef\xbb\xbf{}")
    def test_of_random_bytes_raises_nothing_but_its_reason(self, value):
        reason(value)

    @given(legal, st.data())
    def test_of_a_damaged_event_raises_nothing_but_its_reason(self, event, data):
        value = bytearray(json.dumps(event, ensure_ascii=False).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(value)))
            value[at : at + data.draw(st.integers(0, 3))] = data.draw(
                st.binary(max_size=3) | st.sampled_from([b'"', b"{", b"[", b"\\", b","])
            )
        self.decodes_or_is_refused(bytes(value))

    @given(legal, st.sampled_from([*EVENT, "timestamp", "value", "event_id", "session_id"]), values)
    def test_of_any_other_json_in_a_field_raises_nothing_but_its_reason(self, event, field, found):
        self.decodes_or_is_refused(json.dumps(event | {field: found}).encode())

    def decodes_or_is_refused(self, value):
        try:
            event = decode(value)
        except BadEvent as refused:
            assert refused.error in schemas.REASONS  # noqa: PT017 - both outcomes are right
        else:
            assert 1 <= len(event.user_id.encode()) <= 512
            assert 1 <= len(event.item_id.encode()) <= 512
            assert event.value is None or math.isfinite(event.value)
            assert 0 < event.time <= max(RECEIVED + SKEW, event.timestamp)
            json.loads(value)


class TestAnItem:
    def test_is_read_with_all_its_fields(self):
        entry = {
            "item_id": "tea",
            "name": "Tea",
            "brand": "Acme",
            "category": ["grocery", "drinks"],
            "price": 3,
            "tags": ["hot", 7],
        }
        item = decode_item(b"tea", json.dumps(entry | {"available": False, "url": "u", "image": "i", "more": 1}).encode())
        assert item == Item("tea", "Tea", "Acme", ("grocery", "drinks"), 3.0, ("hot", "7"), False, "u", "i")

    def test_takes_its_id_from_the_key_and_is_available_by_default(self):
        assert decode_item(b"tea", b"{}") == Item("tea", available=True)

    def test_may_have_a_number_as_id(self):
        assert decode_item(b"12", b'{"item_id": 12}') == Item("12")

    @pytest.mark.parametrize("category", ["grocery/drinks", "grocery > drinks", ["grocery", "drinks"], "/grocery/drinks/"])
    def test_has_a_category_path_however_it_is_written(self, category):
        assert decode_item(b"tea", json.dumps({"category": category}).encode()).category == ("grocery", "drinks")

    def test_has_a_category_of_as_many_steps_however_it_is_written(self):
        steps = [f"step {n}" for n in range(64)]
        written = "/".join(steps), steps
        found = {decode_item(b"tea", json.dumps({"category": category}).encode()) for category in written}
        assert found == {Item("tea", category=tuple(steps))}

    def test_without_content_in_a_field_has_none(self):
        entry = {"name": "", "brand": None, "category": "", "tags": [], "price": None, "available": None}
        assert decode_item(b"tea", json.dumps(entry).encode()) == Item("tea")

    def test_is_deleted_by_null(self):
        assert decode_item("tée".encode(), None) == Deleted("tée")

    @pytest.mark.parametrize(
        ("key", "value", "error"),
        [
            (b"tea", b'{"item_id": "coffee"}', "wrong_key"),
            (None, b"{}", "missing_item_id"),
            (None, None, "missing_item_id"),
            (b"", None, "bad_item_id"),
            (b"\xff", None, "not_utf8"),
            (b"tea", b"", "not_json"),
            (b"tea", b"[]", "not_an_object"),
            (b"tea", b'{"a":' * 5_000, "too_deep"),
            (b"tea", b'{"item_id": 1.5}', "bad_item_id"),
            (b"tea", b'{"price": -1}', "bad_price"),
            (b"tea", b'{"price": "3"}', "bad_price"),
            (b"tea", b'{"tags": "a,b"}', "bad_tags"),
            (b"tea", b'{"tags": [["a"]]}', "bad_tags"),
            (b"tea", json.dumps({"tags": ["a"] * 65}).encode(), "bad_tags"),
            (b"tea", b'{"category": {"a": 1}}', "bad_category"),
            (b"tea", b'{"category": 1.5}', "bad_category"),
            (b"tea", json.dumps({"category": "a/" * 65}).encode(), "bad_category"),
            (b"tea", b'{"available": 1}', "bad_available"),
            (b"tea", b'{"name": [1]}', "bad_name"),
            (b"tea", json.dumps({"url": "x" * 5_000}).encode(), "bad_url"),
        ],
    )
    def test_that_is_none_is_refused(self, key, value, error):
        with pytest.raises(BadItem) as refused:
            decode_item(key, value)
        assert refused.value.error == error

    @given(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=100))
    def test_of_random_bytes_raises_nothing_but_its_reason(self, key, value):
        try:
            assert isinstance(decode_item(key, value), Item | Deleted)
        except BadItem as refused:
            assert refused.error in schemas.REASONS  # noqa: PT017 - both outcomes are right

    @given(st.fixed_dictionaries({}, optional=dict.fromkeys(Item.__struct_fields__, values)))
    def test_of_any_json_in_its_fields_raises_nothing_but_its_reason(self, entry):
        try:
            assert decode_item(None, json.dumps(entry).encode()).item_id
        except BadItem as refused:
            assert refused.error in schemas.REASONS  # noqa: PT017 - both outcomes are right


class TestTheDocument:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)]  # noqa: RUF012

    def test_shows_a_legal_event_of_every_type(self):
        events = [decode(json.dumps(example).encode()) for example in self.examples if "type" in example]
        assert {event.type for event in events} >= {*Weights.model_fields} - {"return_", "other", "custom", "low_rating"} | {
            "return"
        }

    def test_shows_legal_items(self):
        items = [example for example in self.examples if {*example} <= {*Item.__struct_fields__}]
        assert len(items) == 2
        for item in items:
            assert decode_item(item["item_id"].encode(), json.dumps(item).encode()).category == (
                "grocery",
                "drinks",
                "tea",
            )

    def test_shows_messages_out_that_readers_decode(self):
        (recommendation,) = [example for example in self.examples if "items" in example]
        entered, left = [example for example in self.examples if "previous" in example]
        for sent_out, kind in ((recommendation, Recommendation), (entered, SegmentChange), (left, SegmentChange)):
            value = json.dumps(sent_out).encode()
            assert json.loads(msgspec.json.encode(msgspec.json.decode(value, type=kind))) == sent_out

    def test_lists_every_reason_of_a_dead_letter(self):
        assert reasons_table() in DOCUMENT.read_text()
