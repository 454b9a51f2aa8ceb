"""Which column of a file is which field, and how its values become ids, seconds and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Earlier names win; case, spaces, dots, dashes and underscores do not count, so `userId` is `user_id`.
EVENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "user_id": ("user_id", "visitor_id", "customer_id", "household_id", "client_id", "user", "session_id"),
    "item_id": ("item_id", "product_id", "movie_id", "article_id", "track_id", "sku", "item", "product"),
    "timestamp": (
        "timestamp", "event_time", "time", "ts", "transaction_timestamp", "event_timestamp", "created_at", "datetime",
        "date",
    ),
    "type": ("type", "event_type", "event", "action", "behavior_type"),
    "value": ("value", "rating", "price", "sales_value", "amount"),
    "session_id": ("session_id", "user_session", "basket_id"),
    "event_id": ("event_id",),
    "recommendation_id": ("recommendation_id",),
    "anonymous_id": ("anonymous_id",),
    "properties": ("properties",),
}  # fmt: skip
ITEM_COLUMNS: dict[str, tuple[str, ...]] = {
    "item_id": EVENT_COLUMNS["item_id"] + ("id",),
    "name": ("name", "title", "product_name", "item_name", "description"),
    "brand": ("brand", "manufacturer", "vendor"),
    "category": ("category", "category_code", "category_path", "department"),
    "price": ("price", "unit_price"),
    "tags": ("tags", "genres", "keywords"),
    "available": ("available", "in_stock"),
    "url": ("url", "link"),
    "image": ("image", "image_url"),
}
NEEDED = {"user_id", "item_id"}


class FileError(Exception):
    """A file cannot be read as events or items: one sentence with the fix."""


def plain(name: str) -> str:
    """The name without what spellings differ in."""
    return re.sub(r"[\W_]+", "", name).lower()


def choose(
    found: Sequence[str],
    given: Mapping[str, str],
    fields: Mapping[str, tuple[str, ...]],
    where: str,
    needed: Collection[str] = NEEDED,
) -> dict[str, str]:
    """Field -> column: the ones given by hand first, then by the usual names in their order."""
    chosen = {field: _given(field, column, found, fields, where) for field, column in given.items()}
    by_plain = {plain(name): name for name in reversed(found)}
    for field, names in fields.items():
        known = (by_plain[plain(name)] for name in names if plain(name) in by_plain)
        column = chosen.get(field) or next(known, None)
        if column is not None:
            chosen[field] = column
        elif field in needed:
            raise missing(field, found, names, where)
    return chosen


def _given(field: str, column: str, found: Sequence[str], fields: Mapping[str, tuple[str, ...]], where: str) -> str:
    if field not in fields:
        raise FileError(f"--column {field}={column}: {field} is no field; the fields are {', '.join(fields)}")
    if column in found:
        return column
    same = [name for name in found if plain(name) == plain(column)]
    if not same:
        raise FileError(f"{where} has no column {column!r} for {field}; it has: {listed(found)}")
    return same[0]


def missing(field: str, found: Sequence[str], names: tuple[str, ...], where: str) -> FileError:
    """Say that a file has no column for a field, and what it has."""
    example = found[0] if found else "NAME"
    return FileError(
        f"{where} has no column for {field} (looked for {', '.join(names)}); it has: {listed(found)}. "
        f"Name it: --column {field}={example!r}"
    )


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, shown safely, the first few of many."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(_short(name) for name in names[:most]) + rest if names else "no columns"


def text(value: object) -> str:
    """An id: text as it is, a whole number as its decimal text."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ValueError("is empty" if value in (None, "") else f"{_short(value)} is no id")
    return str(value)


def number(value: object) -> float | None:
    """A finite number; nothing for an empty cell."""
    if isinstance(value, bytes):
        value = value.decode()
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        result = math.inf
    if isinstance(value, bool) or not math.isfinite(result):
        raise ValueError(f"{_short(value)} is no number")
    return result


def seconds(value: object) -> float | None:
    """Seconds since 1970 from s, ms, µs or ns (told apart by magnitude) or ISO 8601; without a zone it is UTC."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, datetime):
        return _utc(value)
    try:
        raw = number(value)
    except ValueError:
        return _iso(value)
    return None if raw is None else float(scaled(np.float64(raw)))


def scaled(raw: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Times as seconds, to the microsecond: present-day seconds have 10 digits, milliseconds 13, and so on."""
    size = np.abs(raw)
    unit = np.select([size < 1e11, size < 1e14, size < 1e17], [1.0, 1e3, 1e6], 1e9)
    return np.round(raw / unit, 6)


def _iso(value: object) -> float:
    written = value.strip() if isinstance(value, str) else ""
    try:
        return _utc(datetime.fromisoformat(written.removesuffix("UTC").strip()))
    except (ValueError, OverflowError):
        message = f"{_short(value)} is no time (seconds, milliseconds, microseconds or ISO 8601)"
        raise ValueError(message) from None


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _short(value: object) -> str:
    shown = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…'"


Column: TypeAlias = "pa.Array | list[Any]"
"""A column of a file: one kind of value, or, from JSON, any."""

Faults = dict[int, str]
"""Row of a chunk -> what is wrong with it."""


def texts(column: Column, faults: Faults | None, field: str) -> pa.Array:
    """A column as text; what is empty or no text is null, and a fault when faults are asked for."""
    values = _decoded(column)
    if isinstance(values, pa.Array) and pa.types.is_integer(values.type):
        values = values.cast(pa.string())
    if isinstance(values, pa.Array) and pa.types.is_string(values.type) and not _any_blank(values):
        return values
    return pa.array(_each(values, text, faults, field), pa.string())


def times(column: Column, faults: Faults, field: str) -> pa.Array:
    """A column as seconds since 1970."""
    values = _decoded(column)
    if isinstance(values, pa.Array) and pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if isinstance(values, pa.Array) and pa.types.is_timestamp(values.type):
        ticks = values.cast(pa.int64()).cast(pa.float64(), safe=False)
        return pc.divide(ticks, {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[values.type.unit])
    raw = _floats(values)
    if raw is None:
        return pa.array(_each(values, seconds, faults, field), pa.float64())
    given = raw.to_numpy(zero_copy_only=False)
    return pa.array(scaled(given), pa.float64(), from_pandas=True)


def numbers(column: Column, faults: Faults, field: str) -> pa.Array:
    """A column as finite numbers."""
    values = _decoded(column)
    raw = _floats(values)
    return pa.array(_each(values, number, faults, field), pa.float64()) if raw is None else raw


def objects(column: Column) -> pa.Array:
    """A column as JSON objects, written out; what is none, as text that only looks like one, is null."""
    return pa.array([_object(value) for value in cells(column)], pa.binary())


def _object(value: object) -> bytes | None:
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return None
    return msgspec.json.encode(value, enc_hook=str) if isinstance(value, dict) else None


def cells(column: Column) -> list[Any]:
    """A column as Python values."""
    values = _decoded(column)
    return values if isinstance(values, list) else values.to_pylist()


def _floats(values: Column) -> pa.Array | None:
    """The column as floats when all of it are finite numbers: what the slow way would give."""
    if isinstance(values, list):
        return None
    if pa.types.is_string(values.type):
        values = pc.if_else(pc.equal(values, ""), None, values)
    try:
        raw = values.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return raw if pc.all(pc.is_finite(raw)).as_py() in (True, None) else None


def _decoded(column: Column) -> Column:
    """Text as text where all of it is UTF-8."""
    if isinstance(column, list):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_binary(column.type) and not pa.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return column


def _any_blank(values: pa.Array) -> bool:
    return bool(values.null_count) or bool(pc.any(pc.equal(values, "")).as_py())


def _each(values: Column, read: Callable[[object], Any], faults: Faults | None, field: str) -> list[Any]:
    """Each value read on its own; one that cannot be read is null, and named among the faults."""
    done: list[Any] = []
    for row, value in enumerate(cells(values)):
        try:
            done.append(read(value))
        except ValueError as error:
            done.append(None)
            if faults is not None:
                faults.setdefault(row, f"{field} {_reason(error)}")
    return done


def _reason(error: ValueError) -> str:
    return "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
