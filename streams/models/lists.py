"""The lists that do not depend on the user: popular, trending, new, and what is special to each segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.candidates import eligible
from streams.models.compile import lean
from streams.models.pool import place
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
    top = len(popularity.top_long)
    newest = popularity.newest(top)
    ages = popularity.first_seen[newest].max(initial=-np.inf) - popularity.first_seen[newest]
    rows = [_counted(popularity.top_long, popularity.long), _counted(popularity.top_short, popularity.short)]
    rows.append((newest, 1.0 / (1.0 + ages / new_half_life)))
    present = np.unique(segments[(segments >= 0) & (segments < len(popularity.top_segment))])
    rows += [popularity.lifts(int(segment)) for segment in present]
    items, scores = np.full((len(rows), top), -1, np.int32), np.zeros((len(rows), top), np.float32)
    for row, (listed, scored) in enumerate(rows):
        items[row, : len(listed)], scores[row, : len(listed)] = listed, scored
    row_of = {int(segment): len(COMMON) + row for row, segment in enumerate(present)}
    sources = np.array(COMMON + (SEGMENT,) * len(present), np.int64)
    return Lists(items, scores, sources, np.array([row_of.get(int(segment), -1) for segment in segments], np.int64))


def _counted(top: NDArray[np.int32], counts: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    listed = top[top >= 0]
    return listed, counts[listed]


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
            least = np.float32(offer(candidates.heaps, source, candidates.sizes, key(lists.scores[row, n], item)))
