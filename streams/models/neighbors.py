"""The neighbors: users whose recent visits resemble the user's own, found through the items they share."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.decay import weight
from streams.models.prefetch import AHEAD, prefetch
from streams.models.rings import rarity, visitors_of, visits_of
from streams.models.top import key, offer
from streams.models.visits import position_of

__all__ = [
    "MEASURES",
    "Crowd",
    "cosine",
    "disperse",
    "euclidean",
    "gather",
    "jaccard",
    "nearest",
    "new_crowd",
    "pearson",
    "weigh",
]

MEASURES = ("cosine", "pearson", "euclidean", "jaccard")
COSINE, PEARSON, EUCLIDEAN, JACCARD = range(len(MEASURES))

_ALMOST = 1.0 - 1e-6

# Columns of the sums over co-rated items, x the user's rating and y the visitor's.
X, Y, XX, YY, XY = range(5)


class Crowd(NamedTuple):
    """Scratch: the visitors of the user's recent items, in the order they were met, and the nearest of them.

    ``slots`` int32[U]: the visitor's row, -1 outside; ``size`` int64[1]; ``users`` int32[C]; ``shared`` int64[C]: bit q is set if
    recent item q is shared; ``met`` int64[C]: position in the visitor's ring of the newest shared item; ``lengths`` int64[C]:
    visits held; ``dots`` float64[C]; ``sums`` float64[C, 5], over co-rated items; ``asked`` float64[q]: weight of each recent
    item in the question; ``best`` int64[1, K] and ``best_size`` int64[1]: the nearest, as keys of similarity and row.
    """

    slots: NDArray[np.int32]
    size: NDArray[np.int64]
    users: NDArray[np.int32]
    shared: NDArray[np.int64]
    met: NDArray[np.int64]
    lengths: NDArray[np.int64]
    dots: NDArray[np.float64]
    sums: NDArray[np.float64]
    asked: NDArray[np.float64]
    best: NDArray[np.int64]
    best_size: NDArray[np.int64]


def new_crowd(users: int, capacity: int, query_items: int, neighbors: int) -> Crowd:
    """Make scratch for this many users, of whom one question can meet ``capacity``."""
    room = min(users, capacity)
    sums, dots, asked = np.zeros((room, 5)), np.zeros(room), np.zeros(query_items)
    rows = np.zeros(room, np.int32), np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.int64)
    best = np.zeros((1, neighbors), np.int64), np.zeros(1, np.int64)
    return Crowd(np.full(users, -1, np.int32), np.zeros(1, np.int64), *rows, dots, sums, asked, *best)


@inlined
def cosine(dot: float, asked_square: float, length: int) -> float:
    """Compare a weighted question with a visitor's visits: cosine of a weighted and a binary vector (STAN's form).

    Parameters
    ----------
    dot : float
        Sum of the question's weights over the shared items.
    asked_square : float
        Sum of the squares of all the question's weights.
    length : int
        Visits of the visitor held, 1 or more; one who returns to an item counts as so much longer.

    Returns
    -------
    float
        From 0 to 1.
    """
    return dot / math.sqrt(asked_square * length) if asked_square > 0.0 else 0.0


@lean
def pearson(n: int, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """Correlate the ratings of n co-rated items from their uncentred sums, centred only now (Papagelis 2005).

    Returns
    -------
    float
        From -1 to 1; 0 below two co-rated items or if either side rates all of them alike.
    """
    # Differences of sums leave rounding errors where a variance is 0.
    x_spread, y_spread = n * xx - x * x, n * yy - y * y
    if n < 2 or x_spread <= 1e-12 * n * xx or y_spread <= 1e-12 * n * yy:
        return 0.0
    return max(-1.0, min(1.0, (n * xy - x * y) / math.sqrt(x_spread * y_spread)))


@lean
def euclidean(xx: float, yy: float, xy: float) -> float:
    """Turn the distance d of the ratings of co-rated items into a similarity: 1 / (1 + d), from 0 to 1."""
    return 1.0 / (1.0 + math.sqrt(max(xx + yy - 2.0 * xy, 0.0)))


@lean
def jaccard(shared: int, asked: int, length: int) -> float:
    """Divide the items shared by those of either side, from 0 to 1; the visitor's side counts visits."""
    return shared / (asked + length - shared)


@lean
def weigh(rings: Any, recent: Any, users: int, half_life: float, crowd: Any) -> float:
    """Weigh the recent items in the question; give the sum of the squared weights.

    Rating, times VMIS-kNN's linear decay of position, times 2**(-age / half_life), times rarity.
    """
    square = 0.0
    for q in range(recent.size[0]):
        rare = rarity(visits_of(rings, recent.items[q]), users)
        linear = 1.0 - q / recent.size[0]
        crowd.asked[q] = recent.ratings[q] * linear * weight(recent.ages[q], half_life) * rare
        square += crowd.asked[q] ** 2
    return square


@lean
def gather(rings: Any, user: int, recent: Any, rated: bool, crowd: Any) -> None:
    """Meet the visitors of the recent items, newest item and newest visit first, and sum over the items shared.

    A visitor's newest visit to an item is the one that counts; the user's own visits do not. The sums of ratings are kept
    only if ``rated``, for they cost a look into the visitor's ring.
    """
    visitors, length = rings.item_users.shape[1], rings.user_items.shape[1]
    users, positions, count = rings.item_users, rings.item_positions, rings.user_count
    for q in range(recent.size[0]):
        item, bit = np.int64(recent.items[q]), np.int64(1) << q
        cells = visitors_of(rings, item)
        last = (rings.item_count[item] - 1) % visitors if cells > 0 else 0
        for step in range(-AHEAD, cells):
            if step + AHEAD < cells:
                cell = last - step - AHEAD
                other = np.int64(users[item, cell if cell >= 0 else cell + visitors])
                if other >= 0:
                    prefetch(count, other, 0)
                    prefetch(crowd.slots, other, 0)
            if step < 0:
                continue
            cell = last - step
            cell = cell if cell >= 0 else cell + visitors
            other = np.int64(users[item, cell])
            if other < 0 or other == user:
                continue
            position = position_of(positions[item, cell], count[other])
            if position < max(count[other] - length, 0):
                continue
            row = _meet(crowd, other, position, min(count[other], length), rated)
            if crowd.shared[row] & bit != 0:
                continue
            crowd.shared[row] |= bit
            crowd.dots[row] += crowd.asked[q]
            if rated:
                _rate(crowd.sums, row, recent.ratings[q], np.float64(rings.user_weights[other, position % length]))


@inlined
def _meet(crowd: Any, user: int, position: int, length: int, rated: bool) -> Any:
    row = np.int64(crowd.slots[user])
    if row < 0:
        row = crowd.size[0]
        crowd.size[0] = row + 1
        crowd.slots[user] = row
        crowd.users[row] = user
        crowd.shared[row] = 0
        crowd.met[row] = position
        crowd.lengths[row] = length
        crowd.dots[row] = 0.0
        for column in range(crowd.sums.shape[1] if rated else 0):
            crowd.sums[row, column] = 0.0
    return row


@inlined
def _rate(sums: Any, row: int, x: float, y: float) -> None:
    sums[row, X] += x
    sums[row, Y] += y
    sums[row, XX] += x * x
    sums[row, YY] += y * y
    sums[row, XY] += x * y


@inlined
def _ones(bits: int) -> int:
    """Count the bits that are set."""
    count = 0
    while bits != 0:
        bits &= bits - 1
        count += 1
    return count


@inlined
def _similarity(crowd: Any, row: int, measure: int, square: float, asked: int, length: int) -> float:
    if measure == COSINE:
        return cosine(crowd.dots[row], square, length)
    shared = _ones(crowd.shared[row])
    if measure == JACCARD:
        return jaccard(shared, asked, length)
    sums = crowd.sums
    if measure == EUCLIDEAN:
        return euclidean(sums[row, XX], sums[row, YY], sums[row, XY])
    return pearson(shared, sums[row, X], sums[row, Y], sums[row, XX], sums[row, YY], sums[row, XY])


@lean
def nearest(recent: Any, measure: int, square: float, crowd: Any) -> None:
    """Keep the K most similar visitors, those above 0 only; of equals the one met first, whose visit is newer."""
    crowd.best_size[0] = 0
    least = enough = 0.0
    for row in range(crowd.size[0]):
        if measure == COSINE and crowd.dots[row] * crowd.dots[row] < enough * crowd.lengths[row]:
            continue
        similarity = _similarity(crowd, row, measure, square, recent.size[0], crowd.lengths[row])
        if similarity > least:
            least = offer(crowd.best, 0, crowd.best_size, key(similarity, row))
            # Squares, a little too small, spare most visitors the root and the division.
            enough = _ALMOST * least * least * square


@lean
def disperse(crowd: Any) -> None:
    """Empty the crowd."""
    for row in range(crowd.size[0]):
        crowd.slots[crowd.users[row]] = -1
    crowd.size[0] = 0
