"""K-means solved afresh: the best of several runs, in the order of the ids at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models.assignment import assignment
from streams.models.compile import column
from streams.models.lloyd import seeds, settle

__all__ = ["match", "solve"]

_RUNS = 5  # k-means++ starts per solve
_TRIALS = 4  # candidates per seed; greedy k-means++ takes the one that lowers the inertia most
_STEPS = 100  # Lloyd's steps at most; it nearly always settles within 20
_STABLE = 0.999  # a fresh start must beat the settled present centres by this much


def match(old: ArrayLike, new: ArrayLike) -> NDArray[np.int64]:
    """Find the new centre for each old id so that all move least, squared; ``new[match(old, new)]`` keeps the ids."""
    before, after = np.asarray(old, np.float64), np.asarray(new, np.float64)
    cost: NDArray[np.float64] = ((before[:, None, :] - after[None, :, :]) ** 2).sum(axis=2)
    return assignment(cost)


def solve(
    X: ArrayLike, k: int, seed: int = 0, *, weights: ArrayLike | None = None, present: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Solve X float[n, d] for k centres, float64[k, d]: the best of 5 k-means++ starts settled by Lloyd's steps.

    Where centres are at hand, give them as ``present``: the answer comes in the order of their ids, and is what they
    settle to unless a fresh start ends clearly better. ValueError if there are fewer points than centres.
    """
    points = column(X, np.float64)
    mass = np.ones(len(points)) if weights is None else column(weights, np.float64)
    if len(points) < k:
        raise ValueError(f"{k} centres need at least as many points, not {len(points)}")
    best, inertia = _best(points, mass, k, seed)
    if present is None:
        return best
    settled = np.array(present, np.float64, order="C")
    if settle(points, mass, settled, _STEPS) * _STABLE <= inertia:
        return settled
    return best[match(present, best)]


def _best(X: NDArray[np.float64], weights: NDArray[np.float64], k: int, seed: int) -> tuple[NDArray[np.float64], float]:
    random = np.random.default_rng(seed)
    best, lowest = np.zeros((k, X.shape[1])), np.inf
    for _ in range(_RUNS):
        centers = seeds(X, weights, k, random.random((k, _TRIALS)))
        inertia = settle(X, weights, centers, _STEPS)
        if inertia < lowest:
            best, lowest = centers, inertia
    return best, lowest
