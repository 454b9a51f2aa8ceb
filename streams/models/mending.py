"""Mending: the centre that is missed least moves to where there is most inertia, if that pays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streams.models.breathing import told
from streams.models.lloyd import assign, halve

__all__ = ["mend", "worth"]

_WORTH = 0.98  # a centre is moved only if the inertia falls below this share; less would be restless ids for nothing

Floats = NDArray[np.float64]


def mend(X: Floats, weights: Floats, centers: Floats, counts: Floats) -> None:
    """Mend one of two or more centres float64[k, d] in place, and the weights behind them, by points float64[n, d].

    Only sums in a fixed order decide, so all followers of a log do the same.
    """
    before, loss = told(X, weights, centers)
    crowded = int(np.argmax(before))
    loss[crowded] = np.inf
    least = int(np.argmin(loss))
    if loss[least] >= before[crowded]:
        return
    labels = np.empty(len(X), np.int32)
    assign(X, centers, labels, np.empty(len(X)))
    inside = labels == crowded
    trial = centers.copy()
    trial[[crowded, least]], share = halve(X[inside], weights[inside])
    if worth(X, weights, centers, trial):
        centers[:] = trial
        counts[least] = (1 - share) * counts[crowded]
        counts[crowded] *= share


def worth(X: Floats, weights: Floats, present: Floats, other: Floats) -> bool:
    """Tell whether other centres are so much better that people may see segments change."""
    before, after = (math.fsum(told(X, weights, centers)[0]) for centers in (present, other))
    return after < _WORTH * before
