"""The measures of similarity, read from the running sums of a pair; centred only now, and rounded last."""

from __future__ import annotations

import math
from typing import Any

from streams.models.compile import kernel, lean
from streams.models.neighbors import COSINE, EUCLIDEAN, JACCARD, MEASURES, PEARSON, jaccard, pearson
from streams.models.pairs import KEY, XX, XY, YY, N, X, Y, key_of, place_of
from streams.models.ratings import COUNT
from streams.models.wide import add, negative, product, real

__all__ = ["DISTANCE", "SHARED", "read"]

# Beside the measures of neighbors.
DISTANCE, SHARED = range(len(MEASURES), len(MEASURES) + 2)


@lean
def _centre(total: int, n: int) -> Any:
    """Round a mean; give it, and what the ratings add up to once it is taken from each."""
    mean = total // n
    rest = total - n * mean
    return (mean + 1, rest - n) if 2 * rest > n else (mean, rest)


@lean
def _less(row: Any, column: int, factor: int, other: int, factor_other: int, more: int) -> float:
    """Take two products from a sum, in whole numbers, and round."""
    low, upper = product(-factor, other)
    low, upper = add(row[column], row[column + 1], low, upper)
    low_more, upper_more = product(-factor_other, more)
    low, upper = add(low, upper, low_more, upper_more)
    return real(low, upper)


@lean
def _pearson(row: Any) -> float:
    """Take the rounded means from all ratings before any sum is rounded, so that nothing is lost where ratings differ little."""
    n, x, y = row[N], row[X], row[Y]
    x_mean, x_rest = _centre(x, n)
    y_mean, y_rest = _centre(y, n)
    xx = _less(row, XX, x_mean, x, x_mean, x_rest)
    yy = _less(row, YY, y_mean, y, y_mean, y_rest)
    xy = _less(row, XY, x_mean, y, y_mean, x_rest)
    return pearson(n, float(x_rest), float(y_rest), xx, yy, xy)


@lean
def _cosine(row: Any) -> float:
    xx, yy = real(row[XX], row[XX + 1]), real(row[YY], row[YY + 1])
    if xx == 0.0 or yy == 0.0:
        return 0.0
    return max(-1.0, min(1.0, real(row[XY], row[XY + 1]) / math.sqrt(xx * yy)))


@lean
def _distance(row: Any) -> float:
    """Root of xx + yy - 2 xy, which is exact until the root."""
    low, upper = add(row[XX], row[XX + 1], row[YY], row[YY + 1])
    low_less, upper_less = negative(row[XY], row[XY + 1])
    low, upper = add(low, upper, low_less, upper_less)
    low, upper = add(low, upper, low_less, upper_less)
    return math.sqrt(real(low, upper))


@kernel
def read(state: Any, user: int, others: Any, measure: int, step: float, answers: Any) -> None:
    """Write a measure of the user and each of the others, int64[m], to ``answers`` float64[m].

    Users who share no item: 0, by every measure, and an infinite distance.
    """
    pairs, users = state.pairs, state.users
    for m in range(others.size):
        other = others[m]
        row = pairs[place_of(pairs, key_of(user, other))]
        if row[KEY] == 0:
            answers[m] = math.inf if measure == DISTANCE else 0.0
            continue
        # The sums are the lower user's first; a measure is the same either way.
        if measure == PEARSON:
            answers[m] = _pearson(row)
        elif measure == COSINE:
            answers[m] = _cosine(row)
        elif measure == JACCARD:
            answers[m] = jaccard(row[N], users[user, COUNT], users[other, COUNT])
        elif measure == SHARED:
            answers[m] = row[N]
        else:
            distance = step * _distance(row)
            answers[m] = 1.0 / (1.0 + distance) if measure == EUCLIDEAN else distance
