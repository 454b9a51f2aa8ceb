"""The checks of single fields: each gives the value, or refuses it in a sentence: what was found, how to mend it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from streams.failures import Poison

__all__ = ["END_OF_TIME", "ID_BYTES", "LARGEST_NUMBER", "LIST_LENGTH", "TEXT_BYTES", "TYPE_BYTES"]
__all__ += ["identifier", "kind", "moment", "number", "plain", "quoted", "shown", "text", "texts"]

ID_BYTES: Final = 512  # what a key of Kafka and Redis carries without pain; a URL still fits
TYPE_BYTES: Final = 64  # a type is a word, and is kept in every history entry
TEXT_BYTES: Final = 4096  # a name, a URL; an item is kept whole in Redis
LIST_LENGTH: Final = 64  # tags, or steps of a category path; more than this is no description but a dump
LARGEST_NUMBER: Final = 1e12  # a price in any currency; sums of such stay exact enough in 64 bits
SHOWN: Final = 40  # characters of what was found; the sentence travels in a header of every dead letter

# A time as one number, told apart by magnitude: seconds until the year 5138, then milliseconds, then microseconds.
_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6))
END_OF_TIME: Final = 253_402_300_800.0  # seconds; the year 10000, which ISO 8601 cannot write
_NUMERAL: Final = re.compile(r"\d{1,20}(\.\d{0,20})?([eE][+-]?\d{1,2})?", re.ASCII)
_INTEGER: Final = re.compile(rb"-?\d{1,512}")
_SCALAR: Final = msgspec.json.Decoder(str | int | float | bool | None).decode
_LIST: Final = msgspec.json.Decoder(list[Raw]).decode


def plain(raw: Raw) -> object:
    """Give a field's string, number, truth value or None; a list, an object or too large a number stays raw."""
    sent = bytes(raw)
    if sent[:1] in b"[{":
        return raw
    try:
        return _SCALAR(sent)
    except msgspec.DecodeError:
        return int(sent) if _INTEGER.fullmatch(sent) else raw


def identifier(field: str, found: object, bad: type[Poison]) -> str:
    """Take an id: a string of 1 to 512 bytes as it is, an integer as its decimal text."""
    sent = str(found) if type(found) is int else found
    if type(sent) is str and (0 < len(sent) <= ID_BYTES // 4 or 0 < len(sent.encode()) <= ID_BYTES):
        return sent
    raise bad(
        "validate",
        f"bad_{field}",
        f"`{field}` must be a string of 1 to {ID_BYTES} bytes or an integer, found {shown(found)}; "
        f"{'send a number as an integer, or as a string' if type(found) is float else 'send the id as it is'}.",
    )


def kind(found: object, bad: type[Poison]) -> str:
    """Take an event's type."""
    if type(found) is str and (0 < len(found) <= TYPE_BYTES // 4 or 0 < len(found.encode()) <= TYPE_BYTES):
        return found
    needs = f"`type` must be a string of 1 to {TYPE_BYTES} bytes"
    raise bad("validate", "bad_type", f'{needs}, found {shown(found)}; send a word such as "view".')


def number(field: str, found: object, least: float, bad: type[Poison]) -> float:
    """Take a finite number between ``least`` and the largest number."""
    if type(found) in {int, float} and least <= found <= LARGEST_NUMBER:  # type: ignore[operator]
        return float(found)  # type: ignore[arg-type]
    mend = "send it without quotes" if type(found) is str else "leave the field out if there is none"
    needs = f"`{field}` must be a number from {least:g} to {LARGEST_NUMBER:g}"
    raise bad("validate", f"bad_{field}", f"{needs}, found {shown(found)}; {mend}.")


def moment(found: object, received: float, bad: type[Poison]) -> float:
    """Take a time in s, ms or µs, as a number or a numeral, or in ISO 8601, as seconds; by default the record's own."""
    absent = found is None
    seconds = received if absent else _iso(found) if type(found) is str else _scaled(found)
    if 0 < seconds < END_OF_TIME:
        return seconds
    raise bad(
        "validate",
        "bad_timestamp",
        f"`timestamp` must be a time after 1970 and before the year 10000 in s, ms, µs or ISO 8601, found "
        f"{f'none, and the record has {received:g}' if absent else shown(found)}; "
        f'send it as 1735689600 or as "2025-01-01T00:00:00Z", or leave it out to take the record\'s.',
    )


def _scaled(found: object) -> float:
    if type(found) in {int, float}:
        for bound, unit in _UNITS:
            if abs(found) < bound:  # type: ignore[arg-type]
                return found / unit  # type: ignore[operator]
    return math.nan


def _iso(found: str) -> float:
    if found[4:5] != "-" and _NUMERAL.fullmatch(found):
        return _scaled(float(found))
    try:
        written = datetime.fromisoformat(found)
        return (written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return math.nan


def text(field: str, found: object, bad: type[Poison]) -> str | None:
    """Take a text of a catalogue entry, none if it is empty; an integer as its decimal text."""
    if found is None or found == "":
        return None
    if type(found) is int:
        return str(found)
    if type(found) is str and len(found.encode()) <= TEXT_BYTES:
        return found
    needs = f"`{field}` must be a string of at most {TEXT_BYTES} bytes"
    raise bad("validate", f"bad_{field}", f"{needs}, found {shown(found)}; shorten it or leave it out.")


def texts(field: str, found: object, bad: type[Poison]) -> tuple[str, ...]:
    """Take a list of texts, without the empty ones."""
    if found is None:
        return ()
    parts = _LIST(found) if type(found) is Raw and bytes(found)[:1] == b"[" else None
    if parts is None or len(parts) > LIST_LENGTH:
        size = shown(found) if parts is None else f"{len(parts)} of them"
        needs = f"`{field}` must be a list of at most {LIST_LENGTH} strings"
        raise bad("validate", f"bad_{field}", f'{needs}, found {size}; send it as ["a", "b"].')
    return tuple(part for raw in parts if (part := text(field, plain(raw), bad)))


def shown(found: object) -> str:
    """Say what was found, in a few words whatever its size."""
    if found is None:
        return "null"
    if type(found) is bool:
        return "true" if found else "false"
    if type(found) is str:
        return f"the string {quoted(found)}" if found else "an empty string"
    if type(found) is Raw:
        sent = bytes(found)
        return {b"{": "an object", b"[": "a list"}.get(sent[:1], f"a number too large, of {len(sent):,} characters")
    digits = str(found)
    return f"the number {digits}" if len(digits) <= SHOWN else f"a number of {len(digits):,} digits"


def quoted(found: str) -> str:
    """Quote a text, cut to a few words."""
    if len(found) <= SHOWN:
        return msgspec.json.encode(found).decode()
    return f"{msgspec.json.encode(found[:SHOWN] + '…').decode()} of {len(found.encode()):,} bytes"
