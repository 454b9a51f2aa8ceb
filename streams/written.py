"""Histories as JSON, written by compiled code: in memory an event is a few numbers, and text only on its way to Redis."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streams.models.compile import ArrayLike, Float64, Int32, Int64, UInt8, inlined, lean

if TYPE_CHECKING:
    from streams.items import Numbers
    from streams.models.histories import Histories

__all__ = ["history_json"]

ITEM, TYPE, AT = (np.frombuffer(text, np.uint8) for text in (b'{"item_id":', b',"type":', b',"at":'))
OPEN, CLOSE, SHUT, COMMA, POINT, ZERO = b"[]},.0"
LATEST = 4e11
DIGITS = 12
DECIMALS = 16
# Longest text of an entry but its item and type: keys, a moment, brackets and commas.
FRAME = len(ITEM) + len(TYPE) + len(AT) + DIGITS + 1 + DECIMALS + 3


@inlined
def _put(out: UInt8, at: int, byte: int) -> int:
    out[at] = byte
    return at + 1


@inlined
def _copy(out: UInt8, at: int, text: UInt8, begin: int, end: int) -> int:
    for n in range(begin, end):
        out[at] = text[n]
        at += 1
    return at


@inlined
def _digits(out: UInt8, at: int, value: int, size: int) -> int:
    """Write the last ``size`` digits of a whole number."""
    for place in range(size - 1, -1, -1):
        out[at + place] = ZERO + value % 10
        value //= 10
    return at + size


@lean
def _moment(out: UInt8, at: int, moment: float) -> int:
    """Write seconds with as few decimals, at least one, as read back to the same number (from 1 s on, up to LATEST)."""
    moment = min(max(moment, 0.0), LATEST)
    whole = np.int64(moment)
    part, scale, decimals = moment - whole, 10.0, 1
    while decimals < DECIMALS and whole + np.rint(part * scale) / scale != moment:
        scale *= 10.0
        decimals += 1
    size, rest = 1, whole
    while rest >= 10:
        rest //= 10
        size += 1
    at = _put(out, _digits(out, at, whole, size), POINT)
    return _digits(out, at, np.int64(np.rint(part * scale)), decimals)


@lean
def _size(slots: Int32, count: Int32, items: Int32, types: Int32, item_ends: Int64, type_ends: Int64) -> int:
    """Bound the bytes of these users' histories."""
    size = 0
    for n in range(slots.size):
        size += 2
        for place in range(count[slots[n]]):
            item, kind = items[slots[n], place], types[slots[n], place]
            size += FRAME + item_ends[item] - (item_ends[item - 1] if item > 0 else 0)
            size += type_ends[kind] - (type_ends[kind - 1] if kind > 0 else 0)
    return size


@lean
def _write(
    slots: Int32,
    count: Int32,
    items: Int32,
    types: Int32,
    stamps: Float64,
    item_json: UInt8,
    item_ends: Int64,
    type_json: UInt8,
    type_ends: Int64,
    out: UInt8,
    stops: Int64,
) -> None:
    """Write every user's history; that of user n ends at ``stops[n + 1]``."""
    at = 0
    for n in range(slots.size):
        slot = slots[n]
        at = _put(out, at, OPEN)
        for place in range(count[slot]):
            item, kind = items[slot, place], types[slot, place]
            if place > 0:
                at = _put(out, at, COMMA)
            at = _copy(out, at, ITEM, 0, ITEM.size)
            at = _copy(out, at, item_json, item_ends[item - 1] if item > 0 else 0, item_ends[item])
            at = _copy(out, at, TYPE, 0, TYPE.size)
            at = _copy(out, at, type_json, type_ends[kind - 1] if kind > 0 else 0, type_ends[kind])
            at = _copy(out, at, AT, 0, AT.size)
            at = _put(out, _moment(out, at, stamps[slot, place]), SHUT)
        at = _put(out, at, CLOSE)
        stops[n + 1] = at


def history_json(histories: Histories, slots: ArrayLike, items: Numbers, types: Numbers) -> list[bytes]:
    """Write the history of each of these users as the ``history`` array of a profile, newest first.

    Parameters
    ----------
    slots : int32[n]
        Who.
    items, types
        What the numbers in the histories stand for.
    """
    slots = histories.checked(slots)
    held = histories.count, histories.items, histories.types
    out = np.empty(_size(slots, *held, items.ends, types.ends), np.uint8)
    stops = np.zeros(len(slots) + 1, np.int64)
    _write(slots, *held, histories.stamps, items.json, items.ends, types.json, types.ends, out, stops)
    text = out[: stops[-1]].tobytes()
    return [text[start:stop] for start, stop in pairwise(stops.tolist())]
