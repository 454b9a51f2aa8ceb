"""From a record's bytes to the fields of one JSON object, or the reason why there are none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from msgspec import Raw

from streams.fields import plain, quoted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.failures import Poison

__all__ = ["DEPTH", "bound_depth", "fields", "raw_fields", "unicode"]

DEPTH: Final = 64  # whether a record is legal must not depend on the stack of who decodes it, as Python's own bound does

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_JSON: Final = msgspec.json.Decoder(Raw).decode
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


def fields(value: bytes, names: Iterable[str], bad: type[Poison]) -> dict[str, object]:
    """Give the named fields of a JSON object, whatever they are; None where absent."""
    raws = raw_fields(value, bad)
    return {name: plain(raws[name]) if name in raws else None for name in names}


def raw_fields(value: bytes, bad: type[Poison]) -> dict[str, Raw]:
    """Give a JSON object's fields as they were sent, or say why there are none."""
    unicode(value, "record's value", bad)
    try:
        found = _OBJECT(value)
    except RecursionError:
        raise _too_deep(bad) from None
    except msgspec.ValidationError:
        raise _no_object(value, bad) from None
    except msgspec.DecodeError as error:
        raise _no_json(value, error, bad) from None
    bound_depth(value, bad)
    return found


def _no_object(value: bytes, bad: type[Poison]) -> Poison:
    try:
        found = shown(plain(_JSON(value)))
    except RecursionError:
        return _too_deep(bad)
    except msgspec.DecodeError as error:
        return _no_json(value, error, bad)
    return bad("decode", "not_an_object", f"The record must hold one JSON object, found {found}; send one object a record.")


def _no_json(value: bytes, error: Exception, bad: type[Poison]) -> Poison:
    found = quoted(value.decode()) if value.strip() else "nothing"
    not_finite = b"NaN" in value or b"Infinity" in value
    mend = "NaN and Infinity are not JSON, leave such a field out" if not_finite else "send JSON"
    return bad("decode", "not_json", f"The record must hold a JSON object, found {found} ({error}); {mend}.")


def _too_deep(bad: type[Poison]) -> Poison:
    return bad("decode", "too_deep", f"The JSON has more than {DEPTH} nested brackets; flatten it.")


def unicode(value: bytes, what: str, bad: type[Poison]) -> str:
    """Give the text, which must be UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        found = f"the byte 0x{value[error.start]:02x} at {error.start}"
        raise bad("decode", "not_utf8", f"The {what} must be UTF-8, found {found}; encode it as UTF-8.") from None


def bound_depth(value: bytes, bad: type[Poison]) -> None:
    """Refuse valid JSON that is nested too deep; counting all brackets settles it for nearly every record."""
    if value.count(b"[") + value.count(b"{") > DEPTH:
        bare = np.frombuffer(_STRING.sub(b"", value), np.uint8)
        steps = np.isin(bare, list(b"[{")).astype(np.int64) - np.isin(bare, list(b"]}"))
        if steps.cumsum().max() > DEPTH:
            raise _too_deep(bad)
