"""The paths of the neighbors: what they visited, and how near in their own order to what is shared."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import lean
from streams.models.decay import weight
from streams.models.pool import LINE, NEIGHBORS_AT, PATH_AT, place
from streams.models.prefetch import prefetch
from streams.models.top import index_of, score_of

__all__ = ["Decays", "halving", "trace", "walk"]

# Neighbors asked for before they are read.
ROWS_AHEAD = 4


class Decays(NamedTuple):
    """STAN's three factors (Garg et al., SIGIR 2019), as tables by position and a half-life.

    ``recent`` float64[q]: by place among the user's recent items; ``apart`` float64[L]: by distance in the neighbor's ring from
    the newest shared item; ``half_life``: seconds since the neighbor's visit to it.
    """

    recent: NDArray[np.float64]
    apart: NDArray[np.float64]
    half_life: float


def halving(size: int, half: float) -> NDArray[np.float64]:
    """Make a table that halves every ``half`` places, from 1."""
    return np.exp2(-np.arange(size) / half)


@lean
def _path_weight(rings: Any, crowd: Any, row: int, now: float, decays: Any) -> float:
    """Weigh a neighbor for `path`: recency of the shared items, cosine by length, age of the newest shared visit."""
    user, length = crowd.users[row], rings.user_items.shape[1]
    recency = 0.0
    for q in range(decays.recent.shape[0]):
        if crowd.shared[row] >> q & 1:
            recency += decays.recent[q]
    age = now - rings.user_times[user, crowd.met[row] % length]
    return recency / math.sqrt(min(rings.user_count[user], length)) * weight(age, decays.half_life)


@lean
def _fetch(rings: Any, crowd: Any, near: int) -> None:
    """Ask for the rings of a neighbor."""
    row = index_of(crowd.best[0, near])
    user, length = np.int64(crowd.users[row]), rings.user_items.shape[1]
    for cell in range(0, length, LINE):
        prefetch(rings.user_items, user, cell)
        prefetch(rings.user_weights, user, cell)
    prefetch(rings.user_times, user, crowd.met[row] % length)


@lean
def walk(rings: Any, crowd: Any, now: float, decays: Any, pool: Any) -> None:
    """Score the items of the nearest users.

    `neighbors` adds similarity times the visit's weight, `path` the neighbor's weight for it times the decay of the distance
    between the visit and the newest shared one.
    """
    length = rings.user_items.shape[1]
    for near in range(min(crowd.best_size[0], ROWS_AHEAD)):
        _fetch(rings, crowd, near)
    for near in range(crowd.best_size[0]):
        if near + ROWS_AHEAD < crowd.best_size[0]:
            _fetch(rings, crowd, near + ROWS_AHEAD)
        row = index_of(crowd.best[0, near])
        similar, along = score_of(crowd.best[0, near]), _path_weight(rings, crowd, row, now, decays)
        user = np.int64(crowd.users[row])
        end = rings.user_count[user]
        cell = max(end - length, 0) % length
        for position in range(max(end - length, 0), end):
            item = np.int64(rings.user_items[user, cell])
            if item >= 0:
                at = place(pool, item)
                pool.rows[at, NEIGHBORS_AT] += similar * rings.user_weights[user, cell]
                pool.rows[at, PATH_AT] += along * decays.apart[abs(position - crowd.met[row])]
            cell = cell + 1 if cell + 1 < length else 0


@lean
def trace(rings: Any, crowd: Any, now: float, decays: Any, ranks: Any, traced: Any) -> None:
    """Divide what :func:`walk` gave the items with a rank among the user's recent items.

    A neighbor's weight is divided as the weights, in that source, of the items shared with them. ``ranks`` int32[I]: -1 for
    items not asked about; ``traced`` float64[ranks, 2, q] is added to.
    """
    length, recent = rings.user_items.shape[1], decays.recent.shape[0]
    for near in range(crowd.best_size[0]):
        row = index_of(crowd.best[0, near])
        # Weights of very old items vanish.
        similar = np.float64(score_of(crowd.best[0, near])) / crowd.dots[row] if crowd.dots[row] > 0.0 else 0.0
        along, recency = _path_weight(rings, crowd, row, now, decays), 0.0
        for q in range(recent):
            if crowd.shared[row] >> q & 1:
                recency += decays.recent[q]
        along /= recency
        user = np.int64(crowd.users[row])
        end = rings.user_count[user]
        cell = max(end - length, 0) % length
        for position in range(max(end - length, 0), end):
            at, cell = cell, cell + 1 if cell + 1 < length else 0
            item = np.int64(rings.user_items[user, at])
            rank = np.int64(ranks[item]) if item >= 0 else -1
            if rank < 0:
                continue
            by_neighbor, by_path = similar * rings.user_weights[user, at], along * decays.apart[abs(position - crowd.met[row])]
            for q in range(recent):
                if crowd.shared[row] >> q & 1:
                    traced[rank, 0, q] += by_neighbor * crowd.asked[q]
                    traced[rank, 1, q] += by_path * decays.recent[q]
