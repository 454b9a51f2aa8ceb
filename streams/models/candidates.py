"""The candidates: the best of every source in one list, with features, in the order of the blend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.content import likeness, speaks
from streams.models.hidden import HIDDEN, activate, weigh_up
from streams.models.pool import BARRED, COVISIT_AT, FIRST_PART, NEIGHBORS_AT, NEXT_AT, OWN, POOLED
from streams.models.prefetch import AHEAD, prefetch
from streams.models.rings import rarity, visits_of
from streams.models.sources import DISLIKED, FEATURES, PLACE, SOURCES, VISITS
from streams.models.top import index_of, key, offer, score_of

__all__ = ["Candidates", "blend", "choose", "dread", "eligible", "new_candidates", "unite"]


# A score that is almost nothing is none: below the least normal float32, relative scores would be no numbers.
ALMOST_NOTHING = np.float32(1e-30)
# The logarithm of visits at which that trait ends.
MANY = 24.0


class Candidates(NamedTuple):
    """Scratch of one user. A candidate is known by its member number, in order of joining.

    ``best`` int64[S, per source] and ``sizes`` int64[S]: best items per source; ``least`` float32[6]: scores to be reached, by
    column of the pool; ``size`` int64[1]: members; ``member`` int32[pool]: of each row of the pool, -1 none; ``rows`` int32[C]:
    of each member; ``features`` float32[C, F]; ``judged`` uint8[C]: 1 if near the top of some source or of the blend; ``order``
    int64[1, top] and ``ordered`` int64[1]: keys of blend score and item, the best first; ``layer`` float32[H]: the hidden layer.
    """

    best: NDArray[np.int64]
    sizes: NDArray[np.int64]
    least: NDArray[np.float32]
    size: NDArray[np.int64]
    member: NDArray[np.int32]
    rows: NDArray[np.int32]
    features: NDArray[np.float32]
    judged: NDArray[np.uint8]
    order: NDArray[np.int64]
    ordered: NDArray[np.int64]
    layer: NDArray[np.float32]


def new_candidates(pool_rows: int, per_source: int, top: int) -> Candidates:
    """Make scratch for a pool of this many rows, of which so many of the best are put in order."""
    room, sources = min(pool_rows, per_source * len(SOURCES)), len(SOURCES)
    best = (
        np.zeros((sources, per_source), np.int64),
        np.zeros(sources, np.int64),
        np.zeros(sources, np.float32),
        np.zeros(1, np.int64),
    )
    rows, features = np.zeros(room, np.int32), np.zeros((room, FEATURES), np.float32)
    return Candidates(
        *best,
        np.full(pool_rows, -1, np.int32),
        rows,
        features,
        np.zeros(room, np.uint8),
        np.zeros((1, top), np.int64),
        np.zeros(1, np.int64),
        np.zeros(HIDDEN, np.float32),
    )


@inlined
def _damped(visits: int, quarters: int) -> Any:
    """Give visits ** -(quarters / 4), by roots: a power takes ten times as long."""
    root = np.sqrt(np.float32(1.0) / np.float32(max(visits, 1)))
    factor = root if quarters & 2 else np.float32(1.0)
    if quarters & 4:
        factor = root * root
    return factor * np.sqrt(root) if quarters & 1 else factor


@inlined
def eligible(flags: int, available: Any, item: int) -> bool:
    """Tell whether the item may be recommended: neither barred nor unavailable."""
    return flags & BARRED == 0 and (item >= available.shape[0] or available[item] != 0)


@lean
def choose(rings: Any, users: int, dampings: Any, heard: Any, available: Any, pool: Any, candidates: Any) -> None:
    """Finish the scores in the pool and add to the lists' items the best of every source that is heard (uint8[S]).

    Barred and unavailable items are left out.

    `neighbors` is multiplied by rarity (VMIS-kNN); `covisit` and `next` are summed over the recent items and divided by the
    item's visits to the power of ``dampings`` (int64[2], in quarters), so that what is visited with everything does not
    follow from everything.
    """
    rows, best, least = pool.rows, candidates.best, candidates.least
    parts = (rows.shape[1] - FIRST_PART) // 2
    for at in range(FIRST_PART):
        least[at] = ALMOST_NOTHING if heard[POOLED[at]] != 0 else np.inf
    most = rings.item_count.shape[0] - 1
    for row in range(pool.size[0]):
        if row + AHEAD < pool.size[0]:
            prefetch(rings.item_count, min(pool.items[row + AHEAD], most), 0)
        item = np.int64(pool.items[row])
        visits = visits_of(rings, item)
        before = after = np.float32(0.0)
        for q in range(FIRST_PART, FIRST_PART + parts):
            before += rows[row, q]
            after += rows[row, q + parts]
        # What is 0 stays so: to ask first costs more than to multiply, for nobody can guess the answer.
        rows[row, COVISIT_AT] = (before + after) * _damped(visits, dampings[0])
        rows[row, NEXT_AT] = after * _damped(visits, dampings[1])
        rows[row, NEIGHBORS_AT] *= np.float32(rarity(visits, users))
        # One branch that is foreseen instead of six: most rows are among the best of no source.
        good = False
        for at in range(FIRST_PART):
            good |= rows[row, at] >= least[at]
        if not good or not eligible(pool.flags[row], available, item):
            continue
        for at in range(FIRST_PART):
            if rows[row, at] >= least[at]:
                least[at] = max(offer(best, POOLED[at], candidates.sizes, key(rows[row, at], item)), ALMOST_NOTHING)


@lean
def unite(rings: Any, pool: Any, judged: int, candidates: Any) -> None:
    """Join the best of all sources and compute their features.

    Feature s is the root of the score over the best candidate's in source s, for every candidate that the source has
    scored; feature S + s is 1 / rank for those among its best; the traits follow. Candidates of rank ``judged`` or better are
    marked.
    """
    sources = candidates.best.shape[0]
    candidates.size[0] = 0
    for source in range(sources):
        for rank in range(candidates.sizes[source]):
            row = np.int64(pool.slots[index_of(candidates.best[source, rank])])
            member = int(candidates.member[row])
            if member < 0:
                member = candidates.size[0]
                candidates.size[0] = member + 1
                candidates.member[row] = member
                candidates.rows[member] = row
                candidates.judged[member] = 0
                for feature in range(candidates.features.shape[1]):
                    candidates.features[member, feature] = 0.0
            # Right for lists; a source in the pool also has scores for what is not among its best.
            share = score_of(candidates.best[source, rank]) / score_of(candidates.best[source, 0])
            candidates.features[member, source] = np.sqrt(share)
            candidates.features[member, sources + source] = 1.0 / (rank + 1)
            if rank < judged:
                candidates.judged[member] = 1
    for at in range(FIRST_PART):
        source = POOLED[at]
        if candidates.sizes[source] == 0:
            continue
        scale = np.float32(1.0) / score_of(candidates.best[source, 0])
        for member in range(candidates.size[0]):
            candidates.features[member, source] = np.sqrt(pool.rows[candidates.rows[member], at] * scale)
    for member in range(candidates.size[0]):
        row = candidates.rows[member]
        if pool.flags[row] & OWN:
            for trait in range(pool.own.shape[1]):
                candidates.features[member, PLACE + trait] = pool.own[row, trait]
        visits = visits_of(rings, np.int64(pool.items[row]))
        candidates.features[member, VISITS] = min(np.log2(np.float32(1.0 + visits)) / MANY, 1.0)


@lean
def dread(shelves: Any, aversion: Any, pool: Any, candidates: Any) -> None:
    """Tell how alike each candidate is to what the user disliked; nothing to tell of a user who disliked nothing."""
    if speaks(aversion):
        for member in range(candidates.size[0]):
            item = np.int64(pool.items[candidates.rows[member]])
            candidates.features[member, DISLIKED] = max(likeness(shelves, item, aversion), 0.0)


@lean
def blend(net: Any, user: int, bias: Any, pool: Any, candidates: Any) -> None:
    """Put the best candidates in order by what the net makes of their features."""
    ordered, layer, weights = candidates.ordered, candidates.layer, net.linear[user]
    ordered[0] = 0
    for member in range(candidates.size[0]):
        features = candidates.features[member]
        activate(net, bias, features, layer)
        offer(candidates.order, 0, ordered, key(weigh_up(net, weights, features, layer), pool.items[candidates.rows[member]]))
