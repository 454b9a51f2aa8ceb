"""Events and items from files, in chunks of canonical columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from streams import columns
from streams.columns import EVENT_COLUMNS, ITEM_COLUMNS, Column, FileError
from streams.schemas import ABOUT_USERS, CONSENT
from streams.tables import BadLine, Source, Table, opened, tables

__all__ = ["EVENTS", "BadLine", "Chunk", "FileError", "Source", "events", "items", "opened"]

EVENTS = pa.schema(
    [
        ("line", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("type", pa.string()),
        ("timestamp", pa.float64()),
        ("value", pa.float64()),
        ("session_id", pa.string()),
        ("event_id", pa.string()),
        ("recommendation_id", pa.string()),
        ("anonymous_id", pa.string()),
        ("properties", pa.binary()),
        ("raw", pa.binary()),
    ]
)
"""A chunk's columns: `line` counts from 1, `timestamp` is in seconds, `properties` are a JSON object, `raw` is a JSON line that
is an event already."""

MESSAGE = ("type", "user_id", "anonymous_id", "item_id", "event_id", "timestamp", "value", "session_id", "recommendation_id")
_NO_ITEM = "item_id is missing"
_NO_CONSENT = 'is a consent without properties, such as {"consent": true}'
_SELDOM = ("anonymous_id", "properties")
AS_IT_IS = ("user_id", "item_id", "type")  # a JSON line with these names needs no translation

Message = tuple[int, bytes, bytes]
"""Line, key and value."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The events of one stretch of a file, and the lines of it that are none."""

    rows: pa.RecordBatch
    bad: list[BadLine]


class Choice:
    """Which column is which field, settled when the file's columns are known; those ``needed`` must be there."""

    needed: Collection[str] = columns.NEEDED

    def __init__(self, where: str, given: Mapping[str, str], names: Mapping[str, tuple[str, ...]]) -> None:
        """Columns `given` by hand go before the usual `names`."""
        self.where, self.given, self.names = where, given, names
        self.chosen: dict[str, str] = {}
        self.found: Sequence[str] = ()

    def __call__(self, found: Sequence[str]) -> list[str]:
        """The columns to read."""
        self.found = found
        self.chosen = columns.choose(found, self.given, self.names, self.where, self.needed)
        return list(dict.fromkeys(self.chosen.values()))


class EventChoice(Choice):
    """The columns of events, of which those about users need no item."""

    needed = columns.NEEDED - {"item_id"}

    def __init__(self, source: Source, given: Mapping[str, str]) -> None:
        """Of JSON lines any may name an item, though the first ones do not."""
        super().__init__(source.name, given, EVENT_COLUMNS)
        self._lines = source.format == "jsonl"

    def __call__(self, found: Sequence[str]) -> list[str]:
        """The columns to read."""
        wanted = super().__call__(found)
        if self._lines:
            # Any line may say it, though the first ones do not.
            self.chosen.update((name, name) for name in _SELDOM if name not in self.chosen)
            wanted = list(dict.fromkeys(self.chosen.values()))
        if "item_id" in self.chosen:
            return wanted
        if "type" not in self.chosen:
            raise self.without_items()
        self.chosen["item_id"] = "item_id"
        return [*wanted, "item_id"] if self._lines else wanted

    def without_items(self) -> FileError:
        """What to say of a file that names no items."""
        return columns.missing("item_id", self.found, self.names["item_id"], self.where)


def events(source: Source, given: Mapping[str, str] | None = None, kind: str | None = None) -> Iterator[Chunk]:
    """The events of a source in its order; `given` is field -> column, `kind` the type of events that name none."""
    choice = EventChoice(source, given or {})
    for number, table in enumerate(tables(source, choice)):
        chunk = _chunk(table, choice.chosen, kind or _kind(choice.chosen))
        if not number and choice.chosen["item_id"] not in choice.found and any(map(_lacks_item, chunk.bad)):
            raise choice.without_items()
        yield chunk


def _kind(chosen: Mapping[str, str]) -> str:
    return "rating" if columns.plain(chosen.get("value", "")) == "rating" else "view"


def _chunk(table: Table, chosen: Mapping[str, str], kind: str) -> Chunk:
    faults: columns.Faults = {}
    count = len(table.lines)
    done: dict[str, pa.Array] = {"line": pa.array(table.lines, pa.int64()), "raw": _raw(table, chosen)}
    lacking: columns.Faults = {}
    for name in EVENTS.names[1:-1]:
        column = table.columns.get(chosen.get(name, ""))
        done[name] = _column(column, name, count, lacking if name == "item_id" else faults)
    done["type"] = done["type"].fill_null(kind)
    if chosen["item_id"] not in table.columns:
        lacking = dict.fromkeys(range(count), _NO_ITEM)
    _about_users(done, lacking, faults)
    rows = pa.RecordBatch.from_arrays([done[name] for name in EVENTS.names], schema=EVENTS)
    if faults:
        rows = rows.filter(pa.array([row not in faults for row in range(count)], pa.bool_()))
    told = [BadLine(table.lines[row], reason) for row, reason in faults.items() if not _blank(table, row)]
    return Chunk(rows, sorted(table.bad + told, key=lambda one: one.line))


def _about_users(done: Mapping[str, pa.Array], lacking: columns.Faults, faults: columns.Faults) -> None:
    """Take rows without an item for faults, but of events about users; a consent says what it is by its properties."""
    types, raw, properties = done["type"], done["raw"], done["properties"]
    for row, reason in lacking.items():
        kind = types[row].as_py()
        if kind == CONSENT and not (raw[row].is_valid or properties[row].is_valid):
            faults.setdefault(row, _NO_CONSENT)
        elif kind not in ABOUT_USERS:
            faults.setdefault(row, reason)


def _lacks_item(one: BadLine) -> bool:
    return one.reason.startswith("item_id ")


def _blank(table: Table, row: int) -> bool:
    """A line without any cell is no news."""
    return table.raw is None and not any(columns.cells(column[row : row + 1])[0] for column in table.columns.values())


def _column(values: Column | None, name: str, count: int, faults: columns.Faults) -> pa.Array:
    if values is None:
        return pa.nulls(count, EVENTS.field(name).type)
    if name == "timestamp":
        return columns.times(values, faults, name)
    if name == "value":
        return columns.numbers(values, faults, name)
    if name == "properties":
        return columns.objects(values)
    return columns.texts(values, faults if name in columns.NEEDED else None, name)


def _raw(table: Table, chosen: Mapping[str, str]) -> pa.Array:
    if table.raw is None or any(chosen.get(name) != name for name in AS_IT_IS):
        return pa.nulls(len(table.lines), pa.binary())
    whole = (None if kind is None else raw for raw, kind in zip(table.raw, table.columns["type"], strict=True))
    return pa.array(list(whole), pa.binary())


def items(source: Source, given: Mapping[str, str] | None = None) -> Iterator[list[tuple[int, dict[str, Any]] | BadLine]]:
    """The catalogue of a source by stretches: line and entry as a message of the topic `items`, or the bad line."""
    choice = Choice(source.name, given or {}, ITEM_COLUMNS)
    for table in tables(source, choice):
        cells = {name: columns.cells(table.columns[column]) for name, column in choice.chosen.items()}
        rows = ({name: values[row] for name, values in cells.items()} for row in range(len(table.lines)))
        yield [*table.bad, *(_entry(line, row) for line, row in zip(table.lines, rows, strict=True))]


def _entry(line: int, cells: dict[str, Any]) -> tuple[int, dict[str, Any]] | BadLine:
    try:
        entry: dict[str, Any] = {"item_id": columns.text(cells.pop("item_id"))}
        entry |= {name: _cell(name, value) for name, value in cells.items() if value is not None and value != ""}
    except ValueError as error:
        return BadLine(line, str(error))
    if "|" in str(entry.get("category")):
        entry["tags"] = [*_split(str(entry.pop("category"))), *entry.get("tags", [])]
    return line, entry


def _cell(name: str, value: object) -> object:
    if isinstance(value, (list, bool)):
        return value
    if name == "price":
        return columns.number(value)
    written = columns.text(value)
    if name == "available":
        return written.strip().lower() not in {"0", "false", "no", "n", "f"}
    return _split(written) if name == "tags" else _path(written) if name == "category" else written


def _split(value: str) -> list[str]:
    mark = next((mark for mark in "|;," if mark in value), "|")
    return [part.strip() for part in value.split(mark) if part.strip()]


def _path(value: str) -> str | list[str]:
    """Paths are written a/b, a > b or a.b; a dot beside a space is only punctuation."""
    if ">" in value:
        return [part.strip() for part in value.split(">") if part.strip()]
    dotted = "." in value and "/" not in value and " " not in value
    return [part for part in value.split(".") if part] if dotted else value


def messages(chunk: Chunk) -> Iterator[Message]:
    """Line, key and value of each event, for the topic `events`."""
    for row in chunk.rows.to_pylist():
        line, raw = row.pop("line"), row.pop("raw")
        yield line, row["user_id"].encode(), raw if raw is not None else _message(row)


def _message(row: dict[str, Any]) -> bytes:
    event = {name: row[name] for name in MESSAGE if row[name] is not None}
    event |= {name: int(event[name]) for name in ("timestamp", "value") if _whole(event.get(name))}
    if row["properties"] is not None:
        event["properties"] = msgspec.Raw(row["properties"])
    return msgspec.json.encode(event)


def _whole(value: float | None) -> bool:
    return value is not None and value.is_integer() and abs(value) < 2**53
