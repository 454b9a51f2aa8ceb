"""Which dead letters are meant, where their fault is, and what the catalogue says of each reason."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.commands.letter_view import DUMPED, dumped, pointed
from streams.dead_letters import Choice, Letter, moment_of, place_of
from streams.decode import Batch, decode_batch
from streams.fault import fault_of
from streams.knobs.models import Identity
from streams.links import MERGE, REKEYED
from streams.reasons import CATALOGUE, catalogue_table
from streams.schemas import REASONS, BadItem, decode_item
from streams.settings import Settings

DOCUMENT = Path(__file__).parents[1] / "docs" / "dead-letters.md"
NOW = 1_800_000_000.0


def letter(**over) -> Letter:
    fields = {
        "partition": 0, "offset": 7, "at": NOW, "topic": "events", "origin": "events-2-9", "stage": "decode",
        "error": "not_json", "message": "", "key": None, "value": b"", "headers": (),
    }  # fmt: skip
    return Letter(**fields | over)


class TestChoice:
    def test_without_anything_takes_all(self):
        assert Choice().takes(letter())

    @pytest.mark.parametrize(
        ("choice", "taken"),
        [
            (Choice(reasons=frozenset({"not_json", "no_value"})), True),
            (Choice(reasons=frozenset({"no_value"})), False),
            (Choice(since=NOW), True),
            (Choice(since=NOW + 1), False),
            (Choice(until=NOW), False),
            (Choice(until=NOW + 1), True),
            (Choice(places=frozenset({"0:7"})), True),
            (Choice(places=frozenset({"events-2-9"})), True),
            (Choice(places=frozenset({"0:8", "events-2-8"})), False),
            (Choice(frozenset({"not_json"}), NOW, NOW + 1, frozenset({"0:8"})), False),
        ],
    )
    def test_takes_what_meets_all_of_it(self, choice, taken):
        assert choice.takes(letter()) is taken

    @pytest.mark.parametrize(("said", "ago"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)])
    def test_reads_how_long_ago(self, said, ago):
        assert moment_of(said, NOW) == NOW - ago

    def test_reads_iso_in_utc_unless_it_names_a_zone(self):
        noon = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
        assert moment_of("2026-01-31T12:00", NOW) == moment_of("2026-01-31T13:00+01:00", NOW) == noon

    @pytest.mark.parametrize("said", ["", "yesterday", "2 fortnights", "-2h", "1h30m"])
    def test_refuses_what_is_no_time(self, said):
        with pytest.raises(ValueError, match="is no time"):
            moment_of(said, NOW)

    def test_refuses_what_is_no_place(self):
        assert [place_of(said) for said in ("0:17", "my-events-3-1024")] == ["0:17", "my-events-3-1024"]
        for said in ("17", "events", "a:1", "0:1:2", ""):
            with pytest.raises(ValueError, match="is no place"):
                place_of(said)


class TestTheCatalogue:
    def test_has_every_reason_and_no_other(self):
        assert CATALOGUE.keys() == REASONS.keys()

    # What depends on who is whose alias is refused later, and in tests/test_identity.py.
    @pytest.mark.parametrize("error", CATALOGUE.keys() - {"identify_person", "already_identified"})
    def test_shows_bytes_that_are_refused_so(self, error):
        known, headers = CATALOGUE[error], HEADERS.get(error, [])
        assert refused(known.topic, known.example, headers) == error

    def test_is_the_documents(self):
        assert catalogue_table() in DOCUMENT.read_text()

    def test_tells_a_fix_for_each(self):
        assert all(known.fix.endswith(".") for known in CATALOGUE.values())


HEADERS = {"misplaced": [(REKEYED, b"3:4")], "bad_merge": [(MERGE, b"3:4")]}


def refused(role: str, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> str:
    """Why a message of a topic goes to the dead letters."""
    if role == "items":
        with pytest.raises(BadItem) as bad:
            decode_item(b"tea" if value != CATALOGUE["wrong_key"].example else b"coffee", value)
        return bad.value.error
    return buried(value, headers)


def buried(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> str:
    class Nobody:
        @staticmethod
        def home(_user):
            return 1

    message = Message(value, headers)
    settings = Settings(identity=Identity(anonymous="c-.*")) if b"c-7f3" in (value or b"") else Settings()
    (dead,) = decode_batch(Batch({0: [message]}, {0: 0}), settings, 2, Nobody()).dead
    return dead.reason.error


class Message:
    """A record of partition 0; its user's home is partition 1."""

    def __init__(self, value, headers):
        self.value, self.headers = value, headers
        self.key, self.offset, self.timestamp = None, 0, int(time.time() * 1000)


class TestTheFault:
    @pytest.mark.parametrize(
        ("error", "marked"),
        [
            ("not_utf8", b"\xe9"),
            ("not_json", b""),
            ("too_deep", b"["),
            ("not_an_object", CATALOGUE["not_an_object"].example),
            ("bad_type", b"7"),
            ("bad_user_id", b"12.0"),
            ("bad_item_id", b'["tea"]'),
            ("bad_event_id", b'""'),
            ("bad_anonymous_id", b'"ada"'),
            ("anonymous_user_id", b'"c-7f3"'),
            ("identify_person", b'"ada"'),
            ("already_identified", b'"c-7f3"'),
            ("bad_session_id", b"{}"),
            ("bad_recommendation_id", b"true"),
            ("bad_timestamp", b'"31/01/2026"'),
            ("bad_value", b'"3,99"'),
            ("too_large_to_rekey", b'"ada"'),
            ("misplaced", b'"ada"'),
            ("wrong_key", b'"tea"'),
            ("bad_name", b'["Tea"]'),
            ("bad_brand", b'{"id":7}'),
            ("bad_url", b'["https://shop.example"]'),
            ("bad_image", b"true"),
            ("bad_category", b'{"id":7}'),
            ("bad_tags", b'"organic"'),
            ("bad_price", b'"3.99"'),
            ("bad_available", b"1"),
        ],
    )
    def test_of_each_example_is_the_very_bytes(self, error, marked):
        value = CATALOGUE[error].example
        fault = fault_of(error, value)
        assert value[fault.byte : fault.byte + fault.length] == marked

    @pytest.mark.parametrize("error", [error for error in REASONS if error.startswith("missing_") or error == "no_value"])
    def test_of_what_is_missing_is_nowhere(self, error):
        assert fault_of(error, CATALOGUE[error].example or b"") is None

    def test_of_text_that_is_no_json_is_the_byte_with_line_and_column(self):
        fault = fault_of("not_json", '{"type": "view",\n "user_id": "Renée", item_id: 1}'.encode())
        assert (fault.line, fault.column) == (2, 22)

    def test_of_a_number_that_is_no_json_is_where_it_stands(self):
        fault = fault_of("not_json", b'{"value":NaN}')
        assert fault.byte == 9

    def test_of_a_field_sent_twice_is_the_last(self):
        value = b'{"type":"view","user_id":1.5,"x":"\\"user_id\\":2","user_id" : 2.5}'
        fault = fault_of("bad_user_id", value)
        assert value[fault.byte :].startswith(b"2.5")
        assert fault.field == "user_id"

    @given(st.sampled_from([*REASONS, "somebody's own"]), st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
    def test_of_any_bytes_lies_within_them_and_can_be_shown(self, error, value):
        fault = fault_of(error, value)
        if fault:
            assert 0 <= fault.byte <= len(value)
            assert fault.byte + fault.length <= len(value) + 1
            assert all(line.isprintable() for line in pointed(value, fault))

    @given(st.dictionaries(st.text(max_size=5), st.integers() | st.text() | st.none() | st.lists(st.booleans()), min_size=1))
    def test_of_a_field_is_its_value_whatever_else_is_there(self, entry):
        sent = json.dumps(entry | {"price": [1]}, ensure_ascii=False).encode()
        fault = fault_of("bad_price", sent)
        assert sent[fault.byte : fault.byte + fault.length] == b"[1]"
        assert fault.column == len(sent[: fault.byte].decode()) + 1


class TestTheDump:
    @given(st.binary(max_size=100))
    def test_holds_every_byte_and_nothing_that_moves_the_cursor(self, value):
        lines = [*dumped(value, 0)]
        assert b"".join(bytes.fromhex(line[10:58]) for line in lines) == value
        assert all(line.isprintable() for line in lines)

    def test_of_many_bytes_shows_those_around_the_fault(self):
        lines = [*dumped(bytes(10_000), 5_000)]
        assert len(lines) == DUMPED // 16 + 2
        assert "bytes before" in lines[0]
        assert "--raw" in lines[-1]
        assert any(line.startswith(f"{5_000 // 16 * 16:08x}") for line in lines)
