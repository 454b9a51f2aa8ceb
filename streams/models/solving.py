"""K-means solved afresh: the best of several runs, in the order of the ids at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models.assignment import assignment
from streams.models.breathing import STEPS, breathe
from streams.models.compile import column
from streams.models.lloyd import seeds, settle

__all__ = ["arranged", "in_use", "match", "solve"]

_RUNS = 5  # k-means++ starts per solve
_TRIALS = 4  # candidates per seed; greedy k-means++ takes the one that lowers the inertia most
_BREATHS = 3  # centres that the first breath moves


def in_use(centers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give the ids that have a centre; infinity stands in the row of one that is free."""
    return np.flatnonzero(np.isfinite(centers).all(axis=1))


def match(old: ArrayLike, new: ArrayLike) -> NDArray[np.int64]:
    """Find the new centre for each old id so that all move least, squared; ``new[match(old, new)]`` keeps the ids.

    With fewer new centres than old ones, -1 stands for each old one that has to go.
    """
    before, after = np.asarray(old, np.float64), np.asarray(new, np.float64)
    cost: NDArray[np.float64] = ((before[:, None, :] - after[None, :, :]) ** 2).sum(axis=2)
    if len(before) <= len(after):
        return assignment(cost)
    found = np.full(len(before), -1)
    found[assignment(np.ascontiguousarray(cost.T))] = np.arange(len(after))
    return found


def arranged(present: NDArray[np.float64], fresh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put fresh centres float64[m, d] into the rows of present ones float64[ids, d], infinity where an id is free.

    All move least; one that matches none gets the lowest id that was free; an id that none matches is free from now on.

    Examples
    --------
    >>> import numpy as np
    >>> present = np.array([[1.0], [np.inf], [9.0], [np.inf]])
    >>> arranged(present, np.array([[10.0], [5.0], [2.0]])).ravel().tolist()
    [2.0, 5.0, 10.0, inf]
    >>> arranged(present, np.array([[8.0]])).ravel().tolist()
    [inf, inf, 8.0, inf]
    """
    ids = in_use(present)
    found = match(present[ids], fresh)
    result = np.full(present.shape, np.inf)
    result[ids[found >= 0]] = fresh[found[found >= 0]]
    others = np.setdiff1d(np.arange(len(fresh)), found)
    result[np.setdiff1d(np.arange(len(present)), ids)[: len(others)]] = fresh[others]
    return result


def solve(
    X: ArrayLike, k: int, seed: int = 0, *, weights: ArrayLike | None = None, present: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Solve X float[n, d] for k centres, float64[k, d]: the best of 5 k-means++ starts, settled and bettered by breaths.

    Where k centres are at hand, give them as ``present``: they settle too, the best of all is what is bettered, and the
    answer comes in the order of their ids. ValueError if there are fewer points than centres.
    """
    points = column(X, np.float64)
    mass = np.ones(len(points)) if weights is None else column(weights, np.float64)
    if len(points) < k:
        raise ValueError(f"{k} centres need at least as many points, not {len(points)}")
    random = np.random.default_rng(seed)
    starts = [seeds(points, mass, k, random.random((k, _TRIALS))) for _ in range(_RUNS)]
    if present is not None:
        starts.append(np.array(present, np.float64, order="C"))
    inertia = [settle(points, mass, centers, STEPS) for centers in starts]
    best, _ = breathe(points, mass, starts[int(np.argmin(inertia))], random, _BREATHS)
    return best if present is None else best[match(present, best)]
