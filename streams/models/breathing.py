"""Breathing K-means: a way out of the local optimum that Lloyd's steps end in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.lloyd import rivals, settle

__all__ = ["STEPS", "beside", "breathe", "told"]

STEPS = 100  # Lloyd's steps at most; it nearly always settles within 20
_GAIN = 1e-4  # share of the inertia that a breath must save to count
_APART = 0.01  # how far a new centre stands from the one it relieves, in typical distances of a point

Floats = NDArray[np.float64]


def breathe(X: Floats, weights: Floats, centers: Floats, random: np.random.Generator, most: int) -> tuple[Floats, float]:
    """Settle centres float64[k, d] by Lloyd's steps, then better them breath by breath; give them and their inertia.

    A breath adds centres beside those of most inertia, settles, takes away as many that are missed least, and settles
    again. The first breaths move ``most`` centres at once; where they no longer help, ever fewer, to one.

    References
    ----------
    B. Fritzke: Breathing k-means, arXiv:2006.15666, 2020.

    Examples
    --------
    Two centres share one heap, and a third stands between two others; Lloyd's steps leave them there.

    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0], [20.0], [21.0]])
    >>> stuck = np.array([[0.0], [1.0], [15.5]])
    >>> centers, inertia = breathe(X, np.ones(6), stuck, np.random.default_rng(0), 1)
    >>> sorted(centers.ravel().tolist()), inertia
    ([0.5, 10.5, 20.5], 1.5)
    """
    best = centers.copy()
    lowest, at_once = settle(X, weights, best, STEPS), min(most, len(best))
    while at_once > 0:
        crowding, loss = told(X, weights, best)
        if loss.min() > crowding.max():
            break  # to take any centre away costs more than any other place could gain
        trial = _shrunk(X, weights, beside(X, weights, best, crowding, random, at_once), len(best))
        inertia = settle(X, weights, trial, STEPS)
        if inertia < (1 - _GAIN) * lowest:
            best, lowest = trial, inertia
        else:
            at_once -= 1
    return best, lowest


def beside(X: Floats, weights: Floats, centers: Floats, inertia: Floats, random: np.random.Generator, more: int) -> Floats:
    """Add centres beside those of most inertia, and let all settle."""
    crowded = np.argsort(-inertia, kind="stable")[:more]
    typical = np.sqrt(inertia.sum() / weights.sum())
    near = centers[crowded] + _APART * typical * (random.random((more, X.shape[1])) - 0.5)
    grown: Floats = np.concatenate([centers, near])
    settle(X, weights, grown, STEPS)
    return grown


def _shrunk(X: Floats, weights: Floats, centers: Floats, k: int) -> Floats:
    """Take away the centre that is missed least, until k are left."""
    while len(centers) > k:
        _, loss = told(X, weights, centers)
        centers = np.delete(centers, np.argmin(loss), axis=0)
    return centers


def told(X: Floats, weights: Floats, centers: Floats) -> tuple[Floats, Floats]:
    """Tell per centre its inertia, and by how much the inertia would rise without it."""
    inertia, loss = np.zeros(len(centers)), np.zeros(len(centers))
    rivals(X, weights, centers, inertia, loss)
    return inertia, loss
