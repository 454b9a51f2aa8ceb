"""The recent items: what of a user's history asks the question."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.decay import weight
from streams.models.pool import BARRED, LIKED, MET, OWN, PLACE_AT, REPEAT_AT, SHOWN_AT, SINCE_AT, TIMES_AT, place

__all__ = ["Recent", "new_recent", "read_history"]

# Where the traits of the user's own items end: events on an item, and the logarithm of seconds (eight years).
OFTEN, LONGEST = 10.0, 28.0


class Recent(NamedTuple):
    """The user's last distinct items whose newest entry is positive, newest first.

    ``size`` int64[1]; ``items`` int32[q]; ``ratings`` float64[q], the newest entry's weight; ``ages`` float64[q], seconds
    by which the newest entry is older than that of the first. Ages count from the user's own last act, not from now:
    a customer of last year is asked about as well as one of today.
    """

    size: NDArray[np.int64]
    items: NDArray[np.int32]
    ratings: NDArray[np.float64]
    ages: NDArray[np.float64]


def new_recent(query_items: int) -> Recent:
    """Make scratch for this many items."""
    return Recent(np.zeros(1, np.int64), np.zeros(query_items, np.int32), np.zeros(query_items), np.zeros(query_items))


@lean
def read_history(query: Any, user: int, half_life: float, recent: Any, pool: Any) -> Any:
    """Read one user's history: recent items, barred items, the traits of all its items, and the scores of `repeat`.

    `repeat` gives an item the sum of its positive entries' weights, each halved per ``half_life`` seconds of age. An
    entry of weight 0 says no more than that the item was shown; an item whose newest other entry is negative is neither
    asked about nor repeated. Times after ``now`` count as now; items that the models do not know are passed over. Returns how
    many entries say something, of how many items, and the seconds since the newest of all.
    """
    recent.size[0] = 0
    now, latest, gap, entries, distinct = query.now[user], 0.0, -1.0, 0, 0
    for entry in range(query.starts[user], query.starts[user + 1]):
        item = query.items[entry]
        if item < 0 or item >= pool.slots.shape[0]:
            continue
        row = place(pool, item)
        if query.blocked[entry] != 0:
            pool.flags[row] |= BARRED
        rating, time = np.float64(query.weights[entry]), min(query.times[entry], now)
        gap = now - time if gap < 0.0 else gap
        own = pool.own[row]
        if pool.flags[row] & OWN == 0:
            pool.flags[row] |= OWN
            own[:] = 0.0
        if rating == 0.0:
            own[SHOWN_AT] += 1.0 / OFTEN if pool.flags[row] & MET == 0 and own[SHOWN_AT] < 1.0 else 0.0
            continue
        entries += 1
        own[TIMES_AT] = min(own[TIMES_AT] + 1.0 / OFTEN, 1.0)
        if pool.flags[row] & MET == 0:
            pool.flags[row] |= MET
            distinct += 1
            own[PLACE_AT], own[SINCE_AT] = 1.0 / distinct, min(np.log2(np.float32(1.0 + now - time)) / LONGEST, 1.0)
            if rating > 0.0:
                pool.flags[row] |= LIKED
                if recent.size[0] == 0:
                    latest = time
                _remember(recent, item, rating, max(latest - time, 0.0))
        if rating > 0.0 and pool.flags[row] & LIKED != 0:
            pool.rows[row, REPEAT_AT] += rating * weight(latest - time, half_life)
    return entries, distinct, max(gap, 0.0)


@inlined
def _remember(recent: Any, item: int, rating: float, age: float) -> None:
    at = recent.size[0]
    if at < recent.items.shape[0]:
        recent.size[0] = at + 1
        recent.items[at] = item
        recent.ratings[at] = rating
        recent.ages[at] = age
