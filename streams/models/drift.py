"""The fold of K-means and its watch over drift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel
from streams.models.decay import weight

__all__ = [
    "CLOSED",
    "DUE",
    "GENERATION",
    "HELD",
    "OPEN",
    "POINTS",
    "SSE",
    "STRIKES",
    "SUSPECT",
    "USUAL",
    "WINDOWS",
    "fold",
]

# The places in the state: weight and inertia of the open window; usual mean inertia, windows it comes from, windows in
# a row above it; rows ever put into the reservoir, and held when the next solve is due; solves adopted.
POINTS, SSE, USUAL, WINDOWS, STRIKES, HELD, DUE, GENERATION = range(8)

# What a fold finds of its window.
OPEN, CLOSED, SUSPECT = range(3)

_SMOOTHING = 16  # windows that the usual inertia averages over


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
        points += more[c]
        state[SSE] += sse[c]
    keep = weight(points, half_life) if half_life > 0 else 1.0
    for c in range(k):
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
    # The second term is rounding: where every point lies on a centre, any rounding error is "1.5 times more".
    if state[WINDOWS] > 0 and inertia > drift * state[USUAL] + 1e-9 * square:
        state[STRIKES] += 1
        return SUSPECT
    state[STRIKES] = 0.0
    state[WINDOWS] += 1
    state[USUAL] += (inertia - state[USUAL]) / min(state[WINDOWS], _SMOOTHING)
    return CLOSED
