"""Lists and neighbors as JSON, written by compiled code straight from the arrays and the ids' bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streams.models.compile import Array, Int64, UInt8, inlined, lean
from streams.models.sources import SOURCES

if TYPE_CHECKING:
    from streams.models.ids import Ids
    from streams.models.query import Ranked

__all__ = ["items_json", "neighbors_json"]


def _pieces(*texts: str) -> tuple[UInt8, Int64]:
    """Join texts into bytes and where each ends; kernels name them by number."""
    pieces = [text.encode() for text in texts]
    return np.frombuffer(b"".join(pieces), np.uint8).copy(), np.cumsum([0, *map(len, pieces)]).astype(np.int64)


ITEM, SCORE, REASONS, SHARE, BECAUSE, USER, SIMILARITY, PROPENSITY, SOURCE = range(9)
TEXT, TEXT_ENDS = _pieces(
    '{"item_id":"',
    '","score":',
    ',"reasons":[',
    '","share":',
    ',"because":[',
    '{"user_id":"',
    '","similarity":',
    ',"propensity":',
    *(f'{{"source":"{name}' for name in (*SOURCES, "pin")),
)
HEX, _ = _pieces("0123456789abcdef")

# Digits of the greatest number written (below 2**53 ten-thousandths, so exact), sign, point and four decimals.
NUMBER = 24
GREATEST = 9e11
DECIMALS = 10_000
CHANCES = 100_000_000

# The longest text but the number and the ids of one item, reason or neighbor, with its brackets and commas.
FRAME = 64

# A control character becomes six: a backslash, u and four hex digits.
ESCAPED = 6

QUOTE, BACKSLASH, COMMA, MINUS, POINT, ZERO, LETTER_U, OPEN, CLOSE, SHUT, SPACE = b'"\\,-.0u[]} '


@inlined
def _put(out: UInt8, at: int, byte: int) -> int:
    out[at] = byte
    return at + 1


@inlined
def _text(out: UInt8, at: int, piece: int) -> int:
    """Write a piece of text."""
    for n in range(TEXT_ENDS[piece], TEXT_ENDS[piece + 1]):
        out[at] = TEXT[n]
        at += 1
    return at


@lean
def _id(out: UInt8, at: int, blob: UInt8, ends: Int64, index: int) -> int:
    """Write an id's bytes, escaped where JSON asks for it; UTF-8 stays as it is."""
    for n in range(ends[index - 1] if index > 0 else 0, ends[index]):
        byte = blob[n]
        if byte >= SPACE and byte != QUOTE and byte != BACKSLASH:  # noqa: PLR1714  a set would be built at each byte
            out[at] = byte
            at += 1
            continue
        at = _put(out, at, BACKSLASH)
        if byte >= SPACE:
            at = _put(out, at, byte)
            continue
        at = _put(out, at, LETTER_U)
        at = _put(out, _put(out, at, ZERO), ZERO)
        at = _put(out, at, HEX[byte >> 4])
        at = _put(out, at, HEX[byte & 15])
    return at


@lean
def _number(out: UInt8, at: int, value: float) -> int:
    """Write a number with four decimals, rounded half to even; NaN as 0, what is too great as the greatest."""
    scaled = np.int64(np.rint(min(abs(np.float64(value)), GREATEST) * DECIMALS)) if value == value else 0  # noqa: PLR0124  NaN
    if value < 0 and scaled > 0:
        at = _put(out, at, MINUS)
    whole, part, size = scaled // DECIMALS, scaled % DECIMALS, 1
    rest = whole
    while rest >= 10:
        rest //= 10
        size += 1
    for place in range(size - 1, -1, -1):
        out[at + place] = ZERO + whole % 10
        whole //= 10
    at = _put(out, at + size, POINT)
    for place in range(3, -1, -1):
        out[at + place] = ZERO + part % 10
        part //= 10
    return at + 4


@lean
def _chance(out: UInt8, at: int, value: float) -> int:
    """Write a number from 0 to 1 with eight decimals: the chance of one in hundreds, whose inverse counts."""
    rest = np.int64(np.rint(np.float64(value) * CHANCES))
    at = _put(out, _put(out, at, ZERO + rest // CHANCES), POINT)
    for place in range(7, -1, -1):
        out[at + place] = ZERO + rest % 10
        rest //= 10
    return at + 8


@lean
def _reasons(out: UInt8, at: int, source: Array, share: Array, because: Array, blob: UInt8, ends: Int64) -> int:
    """Write one item's reasons: ``source`` int8[r], ``share`` float32[r], ``because`` int32[r, b]."""
    for reason in range(source.shape[0]):
        if source[reason] < 0:
            break
        if reason > 0:
            at = _put(out, at, COMMA)
        at = _text(out, at, SOURCE + source[reason])
        at = _number(out, _text(out, at, SHARE), share[reason])
        at = _text(out, at, BECAUSE)
        for place in range(because.shape[1]):
            if because[reason, place] < 0:
                break
            if place > 0:
                at = _put(out, at, COMMA)
            at = _id(out, _put(out, at, QUOTE), blob, ends, because[reason, place])
            at = _put(out, at, QUOTE)
        at = _put(out, _put(out, at, CLOSE), SHUT)
    return at


@lean
def _lists(
    count: Array,
    items: Array,
    scores: Array,
    source: Array,
    share: Array,
    because: Array,
    propensity: Array,
    blob: UInt8,
    ends: Int64,
    out: UInt8,
    stops: Int64,
) -> None:
    """Write every user's list; user i's ends at ``stops[i + 1]``."""
    at = 0
    for user in range(count.shape[0]):
        at = _put(out, at, OPEN)
        for rank in range(count[user]):
            if rank > 0:
                at = _put(out, at, COMMA)
            at = _id(out, _text(out, at, ITEM), blob, ends, items[user, rank])
            at = _number(out, _text(out, at, SCORE), scores[user, rank])
            at = _reasons(out, _text(out, at, REASONS), source[user, rank], share[user, rank], because[user, rank], blob, ends)
            at = _put(out, at, CLOSE)
            if propensity[user, rank] > 0.0:
                at = _chance(out, _text(out, at, PROPENSITY), propensity[user, rank])
            at = _put(out, at, SHUT)
        at = _put(out, at, CLOSE)
        stops[user + 1] = at


@lean
def _nearest(neighbors: Array, similarity: Array, most: int, blob: UInt8, ends: Int64, out: UInt8, stops: Int64) -> None:
    """Write every user's nearest users; user i's end at ``stops[i + 1]``."""
    at = 0
    for user in range(neighbors.shape[0]):
        at = _put(out, at, OPEN)
        for rank in range(min(most, neighbors.shape[1])):
            if neighbors[user, rank] < 0:
                break
            if rank > 0:
                at = _put(out, at, COMMA)
            at = _id(out, _text(out, at, USER), blob, ends, neighbors[user, rank])
            at = _number(out, _text(out, at, SIMILARITY), similarity[user, rank])
            at = _put(out, at, SHUT)
        at = _put(out, at, CLOSE)
        stops[user + 1] = at


@lean
def _room(indexes: Array, ends: Int64) -> int:
    """Bound the bytes that these ids need, each within a frame and with a number; -1 is none."""
    size = used = 0
    for index in indexes:
        if index >= 0:
            used += 1
            size += ends[index] - (ends[index - 1] if index > 0 else 0)
    return size * ESCAPED + used * (FRAME + NUMBER)


def _cut(out: UInt8, stops: Int64) -> list[bytes]:
    text = out[: stops[-1]].tobytes()
    places = stops.tolist()
    return [text[start:stop] for start, stop in pairwise(places)]


def items_json(ranked: Ranked, items: Ids) -> list[bytes]:
    """Write each user's list as the ``items`` array of a recommendation; numbers have four decimals."""
    n = len(ranked.count)
    sources = (ranked.source.size + ranked.propensity.size) * (FRAME + NUMBER)
    room = _room(ranked.items.reshape(-1), items.ends) + _room(ranked.because.reshape(-1), items.ends) + sources + 2 * n
    out, stops = np.empty(room, np.uint8), np.zeros(n + 1, np.int64)
    reasons = ranked.source, ranked.share, ranked.because, ranked.propensity
    _lists(ranked.count, ranked.items, ranked.scores, *reasons, items.blob, items.ends, out, stops)
    return _cut(out, stops)


def neighbors_json(ranked: Ranked, users: Ids, n: int = 10) -> list[bytes]:
    """Write each user's n most similar users as the ``neighbors`` array of a profile; numbers have four decimals."""
    room = _room(ranked.neighbors[:, :n].reshape(-1), users.ends) + 2 * len(ranked.count)
    out, stops = np.empty(room, np.uint8), np.zeros(len(ranked.count) + 1, np.int64)
    _nearest(ranked.neighbors, ranked.similarity, n, users.blob, users.ends, out, stops)
    return _cut(out, stops)
