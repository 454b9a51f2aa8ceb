"""How many segments there are: the number of centres that the points support, by the Bayesian information criterion."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streams.models.breathing import STEPS, beside, told
from streams.models.lloyd import assign, seeds, settle

__all__ = ["FEWEST", "MOST", "choose", "criterion"]

FEWEST, MOST = 4, 64
_POINTS = 16  # that a segment needs at least on average; fewer say nothing of it
_PATIENCE = 8  # further centres tried after the best number so far
_STARTS, _TRIALS = 5, 4

Floats = NDArray[np.float64]


def choose(X: Floats, weights: Floats, random: np.random.Generator, present: Floats | None = None) -> int:
    """Choose the number of centres, from 4 to 64, for points float64[n, d].

    From the best of 5 starts with 4 centres on, one more is added where there is most inertia, and all settle, until 8
    in a row were no better. The number with the best criterion wins. ``present`` centres float64[k, d] keep theirs
    unless another is better by more than the price of a centre, so that it does not go to and fro.
    """
    most = min(MOST, max(FEWEST, len(X) // _POINTS))
    starts = [seeds(X, weights, FEWEST, random.random((FEWEST, _TRIALS))) for _ in range(_STARTS)]
    inertia = [settle(X, weights, centers, STEPS) for centers in starts]
    centers = starts[int(np.argmin(inertia))]
    best, k = criterion(X, weights, centers), FEWEST
    while len(centers) < min(most, k + _PATIENCE):
        centers = beside(X, weights, centers, told(X, weights, centers)[0], random, 1)
        now = criterion(X, weights, centers)
        if now > best:
            best, k = now, len(centers)
    if present is None:
        return k
    price = (X.shape[1] + 1) / 2 * math.log(len(X))
    settled = present.copy()
    settle(X, weights, settled, STEPS)
    return k if best > criterion(X, weights, settled) + price else len(present)


def criterion(X: Floats, weights: Floats, centers: Floats) -> float:
    """Tell how well round heaps of one width around the centres float64[k, d] explain the points, less a price per centre.

    BIC = log likelihood of n points - (number of parameters) / 2 · log n, with one variance for all heaps and the share of
    each; k shares and one variance, k d coordinates: (k - 1) + 1 + k d parameters. Infinite where every point lies on a
    centre.

    References
    ----------
    D. Pelleg, A. Moore: X-means: extending K-means with efficient estimation of the number of clusters, ICML 2000.
    """
    (n, d), k = X.shape, len(centers)
    labels, distances = np.empty(n, np.int32), np.empty(n)
    assign(X, centers, labels, distances)
    held = np.bincount(labels, weights, minlength=k)
    held = held[held > 0] * (n / weights.sum())
    inertia = float((weights * distances).sum() * (n / weights.sum()))
    if inertia <= 0 or n <= k:
        return math.inf
    variance = inertia / (d * (n - k))
    shares = float((held * np.log(held / n)).sum())
    likelihood = shares - n * d / 2 * math.log(2 * math.pi * variance) - (n - k) * d / 2
    return float(likelihood - k * (d + 1) / 2 * math.log(n))
