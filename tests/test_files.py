"""Reading events and items from files: formats, column names, values, bad lines."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import columns, files

EVENTS = [
    {"user_id": "u1", "item_id": "i1", "type": "view", "timestamp": 1_700_000_000.5, "value": 2.0},
    {"user_id": "u2", "item_id": "é,\"'", "type": "cart", "timestamp": 1_700_000_001.0, "value": 3.5},
]


def read(path: Path | str, **options):
    with files.opened(str(path)) as source:
        chunks = list(files.events(source, **options))
    rows = [row for chunk in chunks for row in chunk.rows.to_pylist()]
    return rows, [(one.line, one.reason) for chunk in chunks for one in chunk.bad]


def core(rows):
    return [{name: row[name] for name in EVENTS[0]} for row in rows]


def written(tmp_path: Path, text: str | bytes, name: str = "events.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_csv(delimiter: str = ",") -> bytes:
    quoted = [['"{}"'.format(str(cell).replace('"', '""')) for cell in row.values()] for row in EVENTS]
    lines = [delimiter.join(cells) for cells in ([*EVENTS[0]], *quoted)]
    return ("\n".join(lines) + "\n").encode()


def as_jsonl() -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in EVENTS)


def as_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(EVENTS), sink)
    return sink.getvalue().to_pybytes()


FORMATS = {"csv": as_csv(), "tsv": as_csv("\t"), "semicolons": as_csv(";"), "jsonl": as_jsonl(), "parquet": as_parquet()}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_events_whatever_the_file_is_called(tmp_path, kind, packed):
    data = FORMATS[kind]
    rows, bad = read(written(tmp_path, gzip.compress(data) if packed else data, "a file"))
    assert core(rows) == EVENTS
    assert bad == []


@pytest.mark.parametrize("kind", FORMATS)
def test_standard_input_is_read_as_a_file_is(monkeypatch, kind):
    begin, end = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(end, FORMATS[kind]), os.close(end)))
    writer.start()
    with os.fdopen(begin, "rb") as pipe:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": pipe}))
        rows, _ = read("-")
    writer.join()
    assert core(rows) == EVENTS


def test_json_lines_of_a_slow_pipe_go_on_as_they_come(monkeypatch):
    begin, end = os.pipe()
    with os.fdopen(begin, "rb") as pipe, os.fdopen(end, "wb", buffering=0) as slow:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": pipe}))
        slow.write(as_jsonl().splitlines()[0] + b"\n")
        with files.opened("-") as source:
            chunks = files.events(source)
            assert core(next(chunks).rows.to_pylist()) == EVENTS[:1]
            slow.write(as_jsonl().splitlines()[1] + b"\n")
            assert core(next(chunks).rows.to_pylist()) == EVENTS[1:]


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("timestamp,visitorid,event,itemid,transactionid", {"user_id": "visitorid", "item_id": "itemid", "type": "event"}),
        ("event_time,event_type,product_id,price,user_id,user_session", {"type": "event_type", "session_id": "user_session"}),
        ("userId,movieId,rating,timestamp", {"user_id": "userId", "item_id": "movieId", "value": "rating"}),
        ("session_id,item_id,time", {"user_id": "session_id", "session_id": "session_id", "timestamp": "time"}),
        ("session_id,household_id,item_id", {"user_id": "household_id", "session_id": "session_id"}),
        ("User ID,Item-Id,TS", {"user_id": "User ID", "item_id": "Item-Id", "timestamp": "TS"}),
        ("price,rating,value,user_id,item_id", {"value": "value"}),
        ("event,type,user_id,item_id", {"type": "type"}),
    ],
)
def test_columns_are_found_by_their_usual_names_in_order_of_precedence(header, chosen):
    found = columns.choose(header.split(","), {}, columns.EVENT_COLUMNS, "a file")
    assert chosen.items() <= found.items()


def test_a_column_given_by_hand_wins(tmp_path):
    path = written(tmp_path, "user_id,shopper,item_id\na,b,c\n")
    rows, _ = read(path, given={"user_id": "Shopper"})
    assert rows[0]["user_id"] == "b"


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({}, ["no column for user_id", "visitor_id", "'who', 'item_id'", "--column user_id='who'"]),
        ({"user_id": "nobody"}, ["no column 'nobody'", "'who', 'item_id'"]),
        ({"usr": "who"}, ["usr is no field", "user_id, item_id"]),
    ],
)
def test_a_missing_column_is_told_with_those_there_are_and_the_fix(tmp_path, given, parts):
    with pytest.raises(columns.FileError) as error:
        read(written(tmp_path, "who,item_id\na,b\n"), given=given)
    assert all(part in str(error.value) for part in parts)


def test_bad_lines_are_told_by_number_and_the_others_are_read(tmp_path):
    head = b"user_id,item_id,timestamp,value\na,b,1,1\n\n"
    text = head + b",b,1,1\na,,1,1\na,b\na,b,never,1\na,b,1,much\n\xff,b,1,1\na,b,,\nz,z,2,inf\n"
    rows, bad = read(written(tmp_path, text))
    assert [(row["line"], row["timestamp"], row["value"]) for row in rows] == [(2, 1.0, 1.0), (10, None, None)]
    assert bad == [
        (4, "user_id is empty"),
        (5, "item_id is empty"),
        (6, "has 2 columns instead of 4"),
        (7, "timestamp 'never' is no time (seconds, milliseconds, microseconds or ISO 8601)"),
        (8, "value 'much' is no number"),
        (9, "user_id is not UTF-8"),
        (11, "value 'inf' is no number"),
    ]


def test_bad_json_lines_are_told_by_number(tmp_path):
    lines = [
        b'{"user_id":1,"item_id":2}',
        b"[1]",
        b'{"user_id":',
        b'{"user_id":true,"item_id":2}',
        b'{"user_id":"\\ud800","item_id":2}',
        b"[" * 5000,
        b'{"item_id":2}',
        b"",
        b'{"user_id":"x","item_id":"y","type":"view"}',
    ]
    rows, bad = read(written(tmp_path, b"\n".join(lines)))
    assert [(row["line"], row["user_id"], row["type"]) for row in rows] == [(1, "1", "view"), (9, "x", "view")]
    assert [line for line, _ in bad] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("written_", "expected"),
    [
        (1_700_000_000, 1_700_000_000.0),
        ("1700000000.25", 1_700_000_000.25),
        (1_700_000_000_250, 1_700_000_000.25),
        (1_700_000_000_250_000, 1_700_000_000.25),
        (1_700_000_000_250_000_000, 1_700_000_000.25),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        ("2023-11-14 22:13:20 UTC", 1_700_000_000.0),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000.0),
        ("", None),
        (None, None),
    ],
)
def test_times_are_told_apart_by_their_size_or_form(written_, expected):
    assert columns.seconds(written_) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_timestamps_of_every_unit_are_seconds(tmp_path, unit):
    table = pa.table(
        {
            "user_id": pa.array([7], pa.int64()),
            "item_id": pa.array(["x"]).dictionary_encode(),
            "time": pa.array([1_700_000_000 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]], pa.timestamp(unit)),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows, _ = read(tmp_path / "x.parquet")
    assert (rows[0]["user_id"], rows[0]["item_id"], rows[0]["timestamp"]) == ("7", "x", 1_700_000_000.0)


def test_ids_that_pandas_made_floats_are_whole_again_and_their_gaps_are_bad(tmp_path):
    pq.write_table(pa.table({"user_id": [7.0, None], "item_id": [1.0, 2.0]}), tmp_path / "x.parquet")
    rows, bad = read(tmp_path / "x.parquet")
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("7", "1")]
    assert bad == [(2, "user_id is empty")]


values = st.one_of(st.none(), st.text(max_size=8), st.integers(-(2**70), 2**70), st.floats(), st.booleans())


@given(st.lists(values, max_size=20))
def test_a_column_read_as_a_whole_equals_one_read_value_by_value(found):
    strings = ["" if value is None else str(value) for value in found]
    for read_all, read_one in ((columns.times, columns.seconds), (columns.numbers, columns.number)):
        faults: columns.Faults = {}
        whole = read_all(pa.array([text.encode("utf-8", "replace") for text in strings], pa.binary()), faults, "x").to_pylist()
        for row, text in enumerate(strings):
            try:
                expected = read_one(text.encode("utf-8", "replace"))
            except ValueError:
                assert row in faults
                assert whole[row] is None
            else:
                assert row not in faults
                assert whole[row] == expected


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_any_id_in_json_comes_out_as_it_went_in(tmp_path_factory, user, item):
    path = tmp_path_factory.mktemp("ids") / "x"
    path.write_bytes(msgspec.json.encode({"user_id": user, "item_id": item, "type": "view"}))
    rows, bad = read(path)
    assert [(row["user_id"], row["item_id"]) for row in rows] == [(user, item)]
    assert bad == []


def test_the_type_is_that_of_the_column_else_the_given_one_else_rating_or_view(tmp_path):
    typed = written(tmp_path, "user_id,item_id,type\na,b,cart\na,b,\n")
    rated = written(tmp_path, "user_id,item_id,rating\na,b,4\n", "rated.csv")
    assert [row["type"] for row in read(typed)[0]] == ["cart", "view"]
    assert [row["type"] for row in read(typed, kind="purchase")[0]] == ["cart", "purchase"]
    assert [row["type"] for row in read(rated)[0]] == ["rating"]


def test_a_json_line_that_is_an_event_goes_as_it_is_and_any_other_is_made_one(tmp_path):
    whole = b'{"type":"view","user_id":1,"item_id":"b","properties":{"page":[1]},  "timestamp":"2023-11-14T22:13:20Z"}'
    untyped = b'{"user_id":"1","item_id":"b"}'
    with files.opened(str(written(tmp_path, whole + b"\n" + untyped))) as source:
        messages = [message for chunk in files.events(source) for message in files.messages(chunk)]
    assert messages == [
        (1, b"1", whole),
        (2, b"1", b'{"type":"view","user_id":"1","item_id":"b"}'),
    ]


def test_messages_hold_what_the_file_says_and_nothing_else(tmp_path):
    path = written(tmp_path, "visitorid,itemid,ts,rating,session_id,x\nu,i,1700000000123,4.5,s,y\nu,i,1700000000,4,,\n")
    with files.opened(str(path)) as source:
        (chunk,) = files.events(source)
    assert [msgspec.json.decode(value) for _, _, value in files.messages(chunk)] == [
        {"type": "rating", "user_id": "u", "item_id": "i", "timestamp": 1_700_000_000.123, "value": 4.5, "session_id": "s"},
        {"type": "rating", "user_id": "u", "item_id": "i", "timestamp": 1_700_000_000, "value": 4},
    ]


def test_a_large_file_is_read_in_stretches_that_keep_order_and_line_numbers(tmp_path):
    count = 200_000
    text = "user_id,item_id,timestamp\n" + "".join(f"u{n % 999},i{n},{1_600_000_000 + n}\n" for n in range(count))
    with files.opened(str(written(tmp_path, text))) as source:
        chunks = list(files.events(source))
        assert source.taken == source.size
    assert len(chunks) > 2
    lines = [line for chunk in chunks for line in chunk.rows["line"].to_pylist()]
    assert lines == list(range(2, count + 2))
    assert chunks[-1].rows["item_id"][-1].as_py() == f"i{count - 1}"


def test_a_quoted_field_may_hold_line_ends(tmp_path):
    rows, bad = read(written(tmp_path, 'user_id,item_id\n"a\nb",c\nd,e\n'))
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("a\nb", "c"), ("d", "e")]
    assert bad == []


def test_a_file_may_name_two_columns_alike_and_begin_with_a_byte_order_mark(tmp_path):
    rows, _ = read(written(tmp_path, b"\xef\xbb\xbfuser_id,item_id,x,x\r\na,b,c,d\r\n"))
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("a", "b")]


@pytest.mark.parametrize("text", ["", "user_id,item_id\n"])
def test_a_file_without_rows_has_no_events_or_says_that_it_has_no_columns(tmp_path, text):
    path = written(tmp_path, text)
    if text:
        assert read(path) == ([], [])
    else:
        with pytest.raises(columns.FileError, match="it has: no columns"):
            read(path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'[{"user_id":1}]', "is one JSON array"),
        (gzip.compress(as_csv() * 9, mtime=0)[:-20], "cannot be read"),
        (b"PAR1" + b"x" * 100, "cannot be read"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
        (b"us\xffer,item\n", "no UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_sentence(tmp_path, data, sentence):
    with pytest.raises(columns.FileError, match=sentence) as error:
        read(written(tmp_path, data))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(columns.FileError, match="no such file"):
        read(tmp_path / "nothing")


def catalogue(path: Path, **options):
    with files.opened(str(path)) as source:
        return [entry for stretch in files.items(source, **options) for entry in stretch]


def test_items_are_read_with_price_tags_and_category_paths(tmp_path):
    text = (
        "product_id,title,manufacturer,category_code,price,genres,available\n"
        "1,Milk,Acme,grocery.dairy.milk,1.20,fresh|cold,true\n"
        "2,Tea,,food > hot drinks,,,0\n"
        "3,Film,,Crime|Drama,x,,\n"
        ",Nothing,,,,,\n"
        "4,Toy Story (1995),,Dr. No,,,\n"
    )
    found = catalogue(written(tmp_path, text))
    assert found == [
        (2, {"item_id": "1", "name": "Milk", "brand": "Acme", "category": ["grocery", "dairy", "milk"], "price": 1.2,
             "tags": ["fresh", "cold"], "available": True}),
        (3, {"item_id": "2", "name": "Tea", "category": ["food", "hot drinks"], "available": False}),
        files.BadLine(4, "'x' is no number"),
        files.BadLine(5, "is empty"),
        (6, {"item_id": "4", "name": "Toy Story (1995)", "category": "Dr. No"}),
    ]  # fmt: skip


def test_a_category_of_several_words_with_bars_is_tags(tmp_path):
    text = '{"item_id":9,"category":"Crime|Drama","tags":["old"],"price":3}\n{"item_id":"x","category":["a","b"]}\n'
    assert catalogue(written(tmp_path, text)) == [
        (1, {"item_id": "9", "tags": ["Crime", "Drama", "old"], "price": 3.0}),
        (2, {"item_id": "x", "category": ["a", "b"]}),
    ]


def test_half_a_million_events_are_read_within_seconds(tmp_path):
    row = "user_{0},item_{0},purchase,2.5,1259653500\n"
    text = "user_id,item_id,event_type,value,timestamp\n" + "".join(row.format(n % 5000) for n in range(500_000))
    path = written(tmp_path, text)
    begin = time.perf_counter()
    with files.opened(str(path)) as source:
        assert sum(chunk.rows.num_rows for chunk in files.events(source)) == 500_000
    assert time.perf_counter() - begin < 10.0


ABOUT_USERS = [
    b'{"type":"forget","user_id":"ada"}',
    b'{"type":"consent","user_id":"bob","properties":{"consent":false}}',
    b'{"type":"view","user_id":"bob","item_id":"tea"}',
]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0]], ids=["first", "last", "alone"])
def test_json_lines_about_users_go_as_they_are_and_name_no_item(tmp_path, order):
    lines = [ABOUT_USERS[place] for place in order]
    with files.opened(str(written(tmp_path, b"\n".join(lines)))) as source:
        chunks = list(files.events(source))
    assert [value for chunk in chunks for _, _, value in files.messages(chunk)] == lines
    assert not [one for chunk in chunks for one in chunk.bad]


def test_what_is_said_of_a_user_goes_along_whatever_the_columns_are_called(tmp_path):
    rows = b"\n".join([
        b'{"event":"view","visitorId":"ada","sku":"tea","properties":{"consent":false,"page":"/"}}',
        b'{"event":"consent","visitorId":"bob","properties":{"consent":true}}',
        b'{"event":"identify","visitorId":"bob","anonymous_id":"c-1"}',
    ])  # fmt: skip
    with files.opened(str(written(tmp_path, rows))) as source:
        chunks = list(files.events(source))
    assert [json.loads(value) for chunk in chunks for _, _, value in files.messages(chunk)] == [
        {"type": "view", "user_id": "ada", "item_id": "tea", "properties": {"consent": False, "page": "/"}},
        {"type": "consent", "user_id": "bob", "properties": {"consent": True}},
        {"type": "identify", "user_id": "bob", "anonymous_id": "c-1"},
    ]
    assert not [one for chunk in chunks for one in chunk.bad]


def test_properties_in_a_cell_are_taken_where_they_are_an_object(tmp_path):
    rows = b'type,user_id,item_id,properties\nconsent,ada,,"{""consent"": false}"\nview,bob,tea,{page\nview,eve,tea,red\n'
    with files.opened(str(written(tmp_path, rows))) as source:
        (chunk,) = files.events(source)
    assert [json.loads(value).get("properties") for _, _, value in files.messages(chunk)] == [{"consent": False}, None, None]


def test_a_forget_in_columns_needs_no_item_and_a_consent_is_told_to_be_no_row(tmp_path):
    rows = b"type,user_id,item_id\nforget,ada,\nconsent,bob,\nview,bob,\n"
    with files.opened(str(written(tmp_path, rows))) as source:
        (chunk,) = files.events(source)
    assert [value for _, _, value in files.messages(chunk)] == [b'{"type":"forget","user_id":"ada"}']
    assert [(one.line, one.reason.split(",")[0]) for one in chunk.bad] == [
        (3, "is a consent without properties"),
        (4, "item_id is empty"),
    ]


def test_a_file_of_wishes_needs_no_column_of_items_and_any_other_does(tmp_path):
    rows, bad = read(written(tmp_path, b"type,user_id\nforget,ada\n"))
    assert ([(row["user_id"], row["type"]) for row in rows], bad) == ([("ada", "forget")], [])
    for text in (b"type,user_id\nforget,ada\nview,bob\n", b'{"type":"view","user_id":"bob"}', b"user_id\nbob\n"):
        with pytest.raises(columns.FileError, match="no column for item_id"):
            read(written(tmp_path, text))
