"""The fold of K-means and its watch over drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel
from streams.models.decay import weight

__all__ = [
    "CLOSED",
    "DUE",
    "EXCESS",
    "GENERATION",
    "OPEN",
    "POINTS",
    "SPREAD",
    "SSE",
    "STATE",
    "STRIKES",
    "SUSPECT",
    "USUAL",
    "WINDOWS",
    "fold",
    "renewed",
]

# The places in the state: weight and inertia of the open window; usual mean inertia of a window, its variance, and windows
# they come from; windows in a row above it, and their inertias' sum; points taken when the next solve is due; solves adopted.
POINTS, SSE, USUAL, SPREAD, WINDOWS, STRIKES, EXCESS, DUE, GENERATION = range(9)
STATE = 9

# What a fold finds of its window.
OPEN, CLOSED, SUSPECT = range(3)

_SMOOTHING = 16  # windows that the usual inertia averages over
_DEVIATIONS = 4  # standard deviations above the usual that are no accident, even where a few far points make most of the inertia
_FEWEST = 4  # windows that the usual inertia is worth at most after a solve: the centers are better now


@kernel
def fold(
    centers: NDArray[np.float64],
    counts: NDArray[np.float64],
    state: NDArray[np.float64],
    more: NDArray[np.float64],
    sums: NDArray[np.float64],
    sse: NDArray[np.float64],
    half_life: float,
    window: float,
    drift: float,
) -> int:
    """Move the centres in place by what a batch says; when a window is full, tell whether its inertia was as usual."""
    k, d = centers.shape
    points, square = 0.0, 0.0
    for c in range(k):
        if centers[c, 0] < np.inf:
            points += more[c]
            state[SSE] += sse[c]
    keep = weight(points, half_life) if half_life > 0 else 1.0
    for c in range(k):
        if not centers[c, 0] < np.inf:
            continue  # an id that is free now; the batch is older
        counts[c] = keep * counts[c] + more[c]
        length = 0.0
        for j in range(d):
            if more[c] > 0:
                centers[c, j] += (sums[c, j] - more[c] * centers[c, j]) / counts[c]
            length += centers[c, j] * centers[c, j]
        square = max(square, length)
    state[POINTS] += points
    if state[POINTS] < window:
        return OPEN
    inertia = state[SSE] / state[POINTS]
    state[POINTS], state[SSE] = 0.0, 0.0
    if _unusual(state, inertia, drift, square):
        state[STRIKES] += 1
        state[EXCESS] += inertia
        return SUSPECT
    while state[STRIKES] > 0:  # no drift, then; but such windows are part of what is usual
        _learn(state, state[EXCESS] / state[STRIKES])
        state[EXCESS] -= state[EXCESS] / state[STRIKES]
        state[STRIKES] -= 1
    _learn(state, inertia)
    return CLOSED


@kernel
def _unusual(state: NDArray[np.float64], inertia: float, drift: float, square: float) -> bool:
    if state[WINDOWS] == 0:
        return False
    # The last term is rounding: where every point lies on a centre, any rounding error is "1.5 times more".
    most = drift * (1 + 1 / state[WINDOWS]) * state[USUAL] + 1e-9 * square
    return bool(inertia > max(most, state[USUAL] + _DEVIATIONS * np.sqrt(state[SPREAD])))


@kernel
def _learn(state: NDArray[np.float64], inertia: float) -> None:
    state[WINDOWS] += 1
    share = 1 / min(state[WINDOWS], _SMOOTHING)
    gap = inertia - state[USUAL]
    state[USUAL] += share * gap
    state[SPREAD] = (1 - share) * (state[SPREAD] + share * gap * gap)


def renewed(state: NDArray[np.float64], *, drifted: bool) -> None:
    """Go on after a solve: what was usual stays so, with less to back it, unless the world is another."""
    state[[POINTS, SSE, STRIKES, EXCESS]] = 0.0
    state[WINDOWS] = 0.0 if drifted else min(state[WINDOWS], _FEWEST)
    if drifted:
        state[[USUAL, SPREAD]] = 0.0
