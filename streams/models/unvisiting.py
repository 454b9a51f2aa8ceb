"""Unvisiting: what a user's visits put into the context vectors of items, taken out again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from streams.models.compile import Array, Float32, Float64, Int32, Int64, kernel
from streams.models.vectors import KEPT, origin, spread
from streams.models.visits import held, position_of

if TYPE_CHECKING:
    from streams.models.rings import Rings

__all__ = ["unvisit"]

NOT_HELD = -1


@kernel
def _in_a_row(walked: Rings, user: int, position: int) -> bool:
    """Tell whether a user visited an item when its visit before was to it too, as far as the ring knows."""
    items, length = walked.user_items[user], walked.user_items.shape[1]
    known = held(walked.user_count, user, position, length) and held(walked.user_count, user, position - 1, length)
    return bool(known and items[position % length] == items[(position - 1) % length])


@kernel
def _since(item: int, user: int, at: int, until: int, moment: float, walked: Rings) -> int:
    """Count the item's visits, without those in a row, after the user's at one position and later than the one at another.

    The order of visits of different items is that of their times. NOT_HELD where the item's ring has gone on.
    """
    since, (visitors, length) = 0, (walked.item_users.shape[1], walked.user_items.shape[1])
    for back in range(1, min(walked.item_count[item], visitors) + 1):
        cell = (walked.item_count[item] - back) % visitors
        who = walked.item_users[item, cell]
        position = position_of(walked.item_positions[item, cell], walked.user_count[max(who, 0)])
        later = True
        if who == user:
            if position == at:
                return since
            later = position > until
        elif who >= 0 and held(walked.user_count, who, position, length):
            later = walked.user_times[who, position % length] > moment
        since += later and not (who >= 0 and _in_a_row(walked, who, position))
    return NOT_HELD


@kernel
def _root(visited: int, since: int, visitors: int) -> float:
    """Give what a visit said when the item had had so many visits; if that is not known, fewer by a ring."""
    return 1.0 / math.sqrt(max(visited - (since if since != NOT_HELD else visitors), 1))


@kernel
def unvisit(
    user: int,
    positions: Int64,
    items: Int32,
    times: Float64,
    numbers: Int64 | None,
    walked: Rings,
    visited: Int64,
    context: Float32,
    recent: Array,
) -> None:
    """Take a user's remembered visits out of the context vectors: what :func:`streams.models.vectors.visit` added for them.

    Each visit took the items before it, and gave itself to them, for 1 / root of the visits that the giver had had; later visits
    of the taker made that less. Both are counted in the rings; where the taker's has gone on, what it took stays.

    Parameters
    ----------
    positions, items, times
        The visits, as :class:`streams.models.visits.Remembered`.
    walked
        The rings, with the user's visits in them.
    visited, context
        Arrays of the catalogue; ``context`` is changed.
    recent : int64[2, k]
        Scratch: the last items, each once, and the position at which each was visited last.
    """
    recent[:] = -1
    last, at, kept, visitors = recent[0], recent[1], recent.shape[1], walked.item_users.shape[1]
    moment = -np.inf
    for n in range(items.size):
        item, position = items[n], positions[n]
        moment = max(moment, times[n])
        if last[0] == item:
            at[0] = position
            continue
        there = kept - 1
        mine = _since(item, user, position, position, -np.inf, walked) if item >= 0 else NOT_HELD
        for place in range(kept):
            other = last[place]
            if other == item and item >= 0:
                there = place
            elif other >= 0 and item >= 0:
                theirs = _since(other, user, at[place], position, moment, walked)
                if mine != NOT_HELD:
                    told = KEPT**mine * _root(visited[other], theirs, visitors)
                    spread(origin(numbers, other), -told / (place + 1), context[item])
                if theirs != NOT_HELD:
                    told = KEPT**theirs * _root(visited[item], mine, visitors)
                    spread(origin(numbers, item), -told / (place + 1), context[other])
        for place in range(there, 0, -1):
            last[place], at[place] = last[place - 1], at[place - 1]
        last[0], at[0] = item, position
