"""Where in a dead letter the fault is: the byte that is no JSON, the bracket too many, the field that is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # there, but not in the types
from typing import TYPE_CHECKING, Final

import msgspec

from streams.objects import DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "fault_of"]

_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_ANY: Final = msgspec.json.Decoder(msgspec.Raw).decode


def _nothing(_: str) -> int:
    return 0


# Numbers are only skipped: Python refuses to make an int of thousands of digits.
_skip: Final = json.JSONDecoder(parse_int=_nothing, parse_float=_nothing).raw_decode


@dataclass(frozen=True, slots=True)
class Fault:
    """A place in the bytes: lines and columns count from 1, columns in characters; ``field`` is the name of a field."""

    byte: int
    length: int
    line: int
    column: int
    field: str | None = None


def fault_of(error: str, value: bytes) -> Fault | None:
    """Find the place of a reason in the bytes; none where the fault is what is missing, or not in the bytes at all."""
    if error == "not_utf8":
        return _undecodable(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    if error == "not_json":
        return _malformed(value)
    if error == "too_deep":
        return _deepest(text)
    if error == "not_an_object" and text.strip():
        start = _after(text, 0)
        return _at(text, start, len(text.rstrip()) - start)
    return _field(text, _named(error))


def _named(error: str) -> str:
    """The field that a reason is about; `wrong_key` is about an item's id."""
    if error in {"misplaced", "too_large_to_rekey", "anonymous_user_id"}:
        return "user_id"
    if error in {"identify_person", "already_identified"}:
        return "anonymous_id"
    return {"wrong_key": "item_id"}.get(error, error.partition("_")[2] if error.startswith("bad_") else "")


def _undecodable(value: bytes) -> Fault | None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        before = value[: error.start].decode()
        line = before.rpartition("\n")[2]
        return Fault(error.start, error.end - error.start, before.count("\n") + 1, len(line) + 1)
    return None


def _malformed(value: bytes) -> Fault | None:
    """The byte that the decoder names; where it found too little, the end."""
    try:
        _ANY(value)
    except msgspec.DecodeError as error:
        named = _BYTE.search(str(error))
        place = min(int(named[1]), len(value)) if named else len(value)
    except RecursionError:
        return None
    else:
        return None
    before = value[:place].decode(errors="ignore")
    return Fault(place, 1, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)


def _deepest(text: str) -> Fault | None:
    """The first bracket that is one too many."""
    depth = 0
    # Strings keep their length, so that places stay what they are.
    for match in re.finditer(r"[\[{\]}]", _STRING.sub(lambda found: " " * len(found[0]), text)):
        depth += 1 if match[0] in "[{" else -1
        if depth > DEPTH:
            return _at(text, match.start(), 1)
    return None


def _field(text: str, name: str) -> Fault | None:
    """The value of a field, the last of that name: that is the one that counts."""
    found = [(start, end) for field, start, end in _fields(text) if field == name] if name else []
    return _at(text, found[-1][0], found[-1][1] - found[-1][0], name) if found else None


def _fields(text: str) -> Iterator[tuple[str, int, int]]:
    """The name of each field of an object and where its value begins and ends; as far as it can be read."""
    place = _after(text, 0)
    try:
        while text[place] in "{," and text[place := _after(text, place + 1)] == '"':
            name, place = scanstring(text, place + 1)
            start = _after(text, _after(text, place) + 1)
            _, end = _skip(text, start)
            yield name, start, end
            place = _after(text, end)
    except (IndexError, ValueError, RecursionError):
        return


def _after(text: str, place: int) -> int:
    """The next place that is no space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _at(text: str, start: int, length: int, field: str | None = None) -> Fault:
    before = text[:start]
    size = len(text[start : start + length].encode())
    return Fault(len(before.encode()), size, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1, field)
