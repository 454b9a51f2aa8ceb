"""Co-visits: what the visitors of the user's recent items visited just before and after them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streams.models.compile import lean
from streams.models.decay import weight
from streams.models.pool import FIRST_PART, place
from streams.models.prefetch import AHEAD, prefetch
from streams.models.rings import cell_of, visitors_of
from streams.models.visits import position_of

__all__ = ["count_covisits"]


@lean
def count_covisits(rings: Any, user: int, recent: Any, half_life: float, decays: Any, near: Any, pool: Any) -> None:
    """Add up, for each of the recent items, what lies within a window of others' visits to it.

    A visit d places away counts 1 / d (TencentRec, SIGMOD 2015, windows the session likewise; 1 / d is that of sequential rules,
    Kamehkhosh et al. 2017), times the decay of the recent item's place and age, over the root of how many visitors were
    looked at, so that an item known by three visitors neither rules nor vanishes. The user's own visits do not count.

    Parameters
    ----------
    rings, user, recent
        Where to look, for whom and for what.
    half_life : float
        Of the ages of recent items, in seconds.
    decays : float64[c]
        By place among the recent items; later ones are not asked.
    near : float64[window + 1]
        By distance.
    pool
        Its parts receive the sums: before recent item q in column q, after it in column c + q.
    """
    asked = min(recent.size[0], decays.shape[0])
    visitors = rings.item_users.shape[1]
    length, window = rings.user_items.shape[1], near.shape[0] - 1
    users, positions, count, visited = rings.item_users, rings.item_positions, rings.user_count, rings.user_items
    rows = pool.rows
    for q in range(asked):
        item = np.int64(recent.items[q])
        cells = visitors_of(rings, item)
        if cells == 0:
            continue
        before, after = FIRST_PART + q, FIRST_PART + decays.shape[0] + q
        # An older item weighs less, so fewer of its visitors are worth the walk.
        cells = math.ceil(cells * decays[q])
        share = decays[q] * weight(recent.ages[q], half_life) / math.sqrt(cells)
        # Newest first: down from the last cell written, around the end of the ring.
        last = (rings.item_count[item] - 1) % visitors
        for step in range(-AHEAD, cells):
            if step + AHEAD < cells:
                cell = last - step - AHEAD
                cell = cell if cell >= 0 else cell + visitors
                # Near it, where a user has more visits than 16 bits tell: it only asks.
                other, at = int(users[item, cell]), cell_of(positions[item, cell], length)
                if other >= 0:
                    prefetch(count, other, 0)
                    prefetch(visited, other, max(at - window, 0))
                    prefetch(visited, other, min(at + window, length - 1))
            if step < 0:
                continue
            cell = last - step
            cell = cell if cell >= 0 else cell + visitors
            other = int(users[item, cell])
            if other < 0 or other == user:
                continue
            end = count[other]
            position = position_of(positions[item, cell], end)
            if position < max(end - length, 0):
                continue
            start = cell_of(position, length)
            at = start
            for distance in range(1, min(window, end - 1 - position) + 1):
                at = at + 1 if at + 1 < length else 0
                found = np.int64(visited[other, at])
                if found >= 0 and found != item:
                    rows[place(pool, found), after] += share * near[distance]
            at = start
            for distance in range(1, min(window, position - max(end - length, 0)) + 1):
                at = (at if at > 0 else length) - 1
                found = np.int64(visited[other, at])
                if found >= 0 and found != item:
                    rows[place(pool, found), before] += share * near[distance]
