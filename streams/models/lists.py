"""The lists that do not depend on the user: popular, trending, new, and what is special to each segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.candidates import eligible
from streams.models.compile import lean
from streams.models.pool import place
from streams.models.popularity import lift_of, share_of
from streams.models.sources import NEW, POPULAR, SEGMENT, TRENDING
from streams.models.top import key, offer

if TYPE_CHECKING:
    from streams.models.popularity import Popularity

__all__ = ["COMMON", "Lists", "lists", "put"]

# The rows every user gets; rows of segments follow.
COMMON = (POPULAR, TRENDING, NEW)


class Lists(NamedTuple):
    """Lists of items with scores above 0, best first; -1 pads.

    ``items`` int32[rows, top]; ``scores`` float32[rows, top]; ``sources`` int64[rows]; ``segment`` int64[n]: each user's row, -1
    none.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    sources: NDArray[np.int64]
    segment: NDArray[np.int64]


def lists(popularity: Popularity, segments: NDArray[np.int16], new_half_life: float) -> Lists:
    """Read the lists for users of these segments (-1: none).

    `popular` and `trending` score by decayed count, `segment` by lift, and `new` by 1 / (1 + age / half-life), where an
    item's age in seconds counts from the newest item's first visit.
    """
    top, known = len(popularity.top_long), len(popularity.by_segment)
    most = len(COMMON) + min(len(segments), known)
    items, scores = np.full((most, top), -1, np.int32), np.zeros((most, top), np.float32)
    row_of, segment = np.full(known, -1, np.int64), np.empty(len(segments), np.int64)
    counts = popularity.long, popularity.short, popularity.by_segment, popularity.totals, popularity.first_seen
    tops = popularity.top_long, popularity.top_short, popularity.top_segment, popularity.top_new
    rows = _read(segments, *counts, *tops, new_half_life, row_of, items, scores, segment)
    sources = np.full(rows, SEGMENT, np.int64)
    sources[: len(COMMON)] = COMMON
    return Lists(items[:rows], scores[:rows], sources, segment)


@lean
def _read(
    segments: Any,
    long: Any,
    short: Any,
    by_segment: Any,
    totals: Any,
    first_seen: Any,
    top_long: Any,
    top_short: Any,
    top_segment: Any,
    newest: Any,
    new_half_life: float,
    row_of: Any,
    items: Any,
    scores: Any,
    found: Any,
) -> int:
    """Copy the lists with their scores, each segment's once; the rows filled."""
    for n in range(items.shape[1]):
        if top_long[n] >= 0:
            items[0, n], scores[0, n] = top_long[n], long[top_long[n]]
        if top_short[n] >= 0:
            items[1, n], scores[1, n] = top_short[n], short[top_short[n]]
        if newest[n] >= 0:
            age = first_seen[newest[0]] - first_seen[newest[n]]
            items[2, n], scores[2, n] = newest[n], 1.0 / (1.0 + age / new_half_life)
    rows = len(COMMON)
    for user in range(segments.shape[0]):
        segment = np.int64(segments[user])
        if not 0 <= segment < row_of.shape[0]:
            found[user] = -1
            continue
        if row_of[segment] < 0:
            row_of[segment] = rows
            share = share_of(totals, segment)
            for n in range(items.shape[1]):
                item = np.int64(top_segment[segment, n])
                if item >= 0:
                    items[rows, n], scores[rows, n] = item, lift_of(by_segment[segment, item], long[item] * share)
            rows += 1
        found[user] = row_of[segment]
    return rows


@lean
def put(lists: Any, row: int, heard: Any, available: Any, pool: Any, candidates: Any) -> None:
    """Offer one list's items to its source's candidates, if it is heard (uint8[S]).

    A list in order is read while there is room and, after that, while scores are equal: of equals the lower index stays.
    """
    source = lists.sources[row]
    if heard[source] == 0:
        return
    least = np.float32(0.0)
    for n in range(lists.items.shape[1]):
        item = np.int64(lists.items[row, n])
        if source != SEGMENT and lists.scores[row, n] < least:
            break
        if item >= 0 and eligible(pool.flags[place(pool, item)], available, item):
            least = np.float32(offer(candidates.best, source, candidates.sizes, key(lists.scores[row, n], item)))
