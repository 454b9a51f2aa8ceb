"""The kernels of the self-organizing map. Only the four operations, square roots and ``exp2``, in one order."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Float64, kernel
from streams.models.decay import exp2

__all__ = ["INERTIA", "STARTED", "fold", "plane"]

# The places in the state: weight learned; rows learned; running mean squared distance of a row to its node; 1 once the nodes
# have begun; running mean weight of a row.
POINTS, ROWS, INERTIA, STARTED, MEAN = range(5)

# Gaussian whose standard deviation is the radius, as a power of two: 1 / 2 · log2(e).
_NARROW = 0.7213475204444817
# A node this many squared radii away, 2^-20 of the rate, stays where it is.
_FAR = 27.7
_SMOOTHING = 1024.0  # rows that a running mean runs over
_STEPS = 64  # of the power method: what is left over costs the map a slant, which the first rows right


@kernel
def fold(
    X: Float64,
    weights: Float64,
    nodes: Float64,
    counts: Float64,
    apart: Float64,
    state: Float64,
    rate: tuple[float, float],
    radius: tuple[float, float],
    half_life: float,
    memory: float,
    relative: bool,
) -> None:
    """Learn the rows of X, one by one: move ``nodes`` float64[d, k]; ``apart`` float64[k, k] are squared distances on the map.

    ``rate`` and ``radius`` are (first, last): they halve in ``half_life`` of weight, down to the last; ``counts`` in ``memory``.
    """
    d, k = nodes.shape
    total = np.empty(k)
    for i in range(len(X)):
        weight = weights[i]
        state[MEAN] += (weight - state[MEAN]) / min(state[ROWS] + 1, _SMOOTHING)
        if relative:
            weight = min(1.0, weight / state[MEAN])
        shrunk = exp2(-state[POINTS] / half_life)
        step = min(1.0, weight * max(rate[0] * shrunk, rate[1]))
        wide = max(radius[0] * shrunk, radius[1])
        total[:] = 0.0
        for a in range(d):
            x = X[i, a]
            for c in range(k):
                away = x - nodes[a, c]
                total[c] += away * away
        best = 0
        for c in range(1, k):
            if total[c] < total[best]:
                best = c
        state[POINTS] += weight
        state[ROWS] += 1
        state[INERTIA] += (total[best] - state[INERTIA]) / min(state[ROWS], _SMOOTHING)
        keep = exp2(-weight / memory)
        square = wide * wide
        for c in range(k):
            counts[c] *= keep
            total[c] = step * exp2(-_NARROW * apart[best, c] / square) if apart[best, c] < _FAR * square else 0.0
        counts[best] += weight
        for a in range(d):
            x = X[i, a]
            for c in range(k):
                nodes[a, c] += total[c] * (x - nodes[a, c])


@kernel
def plane(X: Float64, weights: Float64, draws: Float64) -> Float64:
    """Find the mean of X float[n, d] and its two main axes, each as long as the standard deviation along it: float64[3, d].

    By the power method from ``draws`` float64[2, d], the second axis at right angles to the first.
    """
    n, d = X.shape
    found, mass = np.zeros((3, d)), 0.0
    for i in range(n):
        mass += weights[i]
        for a in range(d):
            found[0, a] += weights[i] * X[i, a]
    found[0] /= mass
    spread = np.zeros((d, d))
    for i in range(n):
        for a in range(d):
            one = weights[i] * (X[i, a] - found[0, a])
            for b in range(d):
                spread[a, b] += one * (X[i, b] - found[0, b])
    for axis in range(min(2, d)):
        vector, length = draws[axis].copy(), 0.0
        for _ in range(_STEPS):
            after, length = np.zeros(d), 0.0
            for a in range(d):
                for b in range(d):
                    after[a] += spread[a, b] * vector[b]
                length += after[a] * after[a]
            length = np.sqrt(length)
            if not length > 0:
                break
            vector = after / length
        deviation = np.sqrt(length / mass)
        for a in range(d):
            found[1 + axis, a] = deviation * vector[a] if length > 0 else 0.0
            for b in range(d):
                spread[a, b] -= length * vector[a] * vector[b] if length > 0 else 0.0
    return found
