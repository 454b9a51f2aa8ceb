"""The fold of DBSTREAM: micro-clusters that move, forget and share points.

Only the four operations, square roots and ``exp2`` are used, in one order: followers on other CPUs reach the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.compile import Float64, Int16, Int64, kernel
from streams.models.decay import exp2
from streams.models.naming import BIRTHS, CLOCK, LANDMARK, LOOKS, MEAN, RADIUS, ROWS, SPREAD, USED, named

__all__ = ["fold", "locate", "reach"]

# Below this weight a micro-cluster goes: it had one point, a half-life ago, and none since (the paper's weak weight, with a
# gap of one half-life).
_WEAK = 0.5
# Gaussian with a standard deviation of a third of the radius, as a power of two: 9 / 2 · log2(e).
_NARROW = 6.492127684000335
_SMOOTHING = 1024.0  # rows that a running mean runs over


@kernel
def reach(X: Float64, weights: Float64, neighbor: int, quantile: float) -> float:
    """Find the quantile, by weight over the rows of X float64[n, d], of the distance to a row's n-th nearest row elsewhere."""
    n, d = X.shape
    found = np.zeros(n)
    apart = np.empty(n)
    for i in range(n):
        others = 0
        for j in range(n):
            total = 0.0
            for a in range(d):
                step = X[i, a] - X[j, a]
                total += step * step
            if total > 0:
                apart[others] = total
                others += 1
        if others > 0:
            found[i] = np.sort(apart[:others])[min(neighbor, others) - 1]
    below, best = quantile * weights.sum(), 0.0
    for i in np.argsort(found):
        best = found[i]
        below -= weights[i]
        if below <= 0:
            break
    return float(np.sqrt(best))


@kernel
def fold(
    X: Float64,
    weights: Float64,
    times: Float64,
    columns: Float64,
    mass: Float64,
    own: Float64,
    shared: Float64,
    births: Int64,
    owners: Int16,
    used_at: Int64,
    state: Float64,
    half_life: float,
    alpha: float,
    least: float,
    share: float,
    gap: int,
    relative: bool,
) -> None:
    """Learn the rows of X, one by one, into micro-clusters: ``columns`` float64[d, micro] are their centers.

    ``mass`` is the weight of the rows within the radius; ``own`` that of the rows to which it was the nearest, so that all rows
    add up; ``shared`` that of the rows within two, at [lower, higher place].
    """
    d, micro = columns.shape
    limit = state[RADIUS] * state[RADIUS]
    total, near, moved = np.empty(micro), np.empty(micro, np.int64), np.empty((micro, d))
    for i in range(len(X)):
        weight = weights[i]
        state[MEAN] += (weight - state[MEAN]) / min(state[ROWS] + 1, _SMOOTHING)
        if relative:
            weight = min(1.0, weight / state[MEAN])
        if state[ROWS] == 0:
            state[LANDMARK] = weight if np.isnan(times[i]) else times[i]
            state[CLOCK] = 0.0 if np.isnan(times[i]) else times[i]
        now = state[CLOCK] + weight if np.isnan(times[i]) else max(state[CLOCK], times[i])
        state[CLOCK] = now
        _forget(mass, own, shared, state, half_life)
        gain = weight * exp2((now - state[LANDMARK]) / half_life)
        m = int(state[USED])
        total[:m] = 0.0
        for a in range(d):
            x = X[i, a]
            for c in range(m):
                step = x - columns[a, c]
                total[c] += step * step
        count, nearest = 0, 0
        for c in range(m):
            if total[c] <= limit:
                near[count] = c
                count += 1
                nearest = c if count == 1 or total[c] < total[nearest] else nearest
        state[ROWS] += 1
        if count == 0:
            _begin(X[i], gain, columns, mass, own, shared, births, owners, state)
        else:
            state[SPREAD] += (total[nearest] - state[SPREAD]) / min(state[ROWS], _SMOOTHING)
            own[nearest] += gain
            for p in range(count):
                mass[near[p]] += gain
                for q in range(p + 1, count):
                    shared[near[p], near[q]] += gain
            _move(X[i], min(weight, 1.0), near[:count], total, columns, moved, limit)
        if state[ROWS] % gap == 0:
            _look(columns, mass, own, shared, births, owners, used_at, state, half_life, alpha, least, share)


@kernel
def _forget(mass: Float64, own: Float64, shared: Float64, state: Float64, half_life: float) -> None:
    """Move the landmark on by whole half-lives: all weights are scaled by a power of two, which is exact."""
    steps = np.floor((state[CLOCK] - state[LANDMARK]) / half_life)
    if steps < 1:
        return
    state[LANDMARK] += steps * half_life
    m, factor = int(state[USED]), exp2(-steps)
    for c in range(m):
        mass[c] *= factor
        own[c] *= factor
        for other in range(c + 1, m):
            shared[c, other] *= factor


@kernel
def _begin(
    x: Float64,
    gain: float,
    columns: Float64,
    mass: Float64,
    own: Float64,
    shared: Float64,
    births: Int64,
    owners: Int16,
    state: Float64,
) -> None:
    """Begin a micro-cluster at a row, in the place of the lightest one if there is no room."""
    m = int(state[USED])
    place = m
    if m == len(mass):
        place = int(np.argmin(mass))
        shared[place, :] = 0.0
        shared[:, place] = 0.0
    else:
        state[USED] += 1
    columns[:, place] = x
    mass[place], own[place], births[place], owners[place] = gain, gain, int(state[BIRTHS]), -1
    state[BIRTHS] += 1


@kernel
def _move(x: Float64, weight: float, near: Int64, total: Float64, columns: Float64, moved: Float64, limit: float) -> None:
    """Draw the micro-clusters around a row towards it, but for those that would come closer than the radius to each other."""
    d, count = len(x), len(near)
    stays = np.zeros(count, np.bool_)
    for p in range(count):
        rate = weight * exp2(-_NARROW * total[near[p]] / limit)
        for a in range(d):
            moved[p, a] = columns[a, near[p]] + rate * (x[a] - columns[a, near[p]])
        for q in range(p):
            apart = 0.0
            for a in range(d):
                apart += (moved[p, a] - moved[q, a]) * (moved[p, a] - moved[q, a])
            if apart < limit:
                stays[p] = True
                stays[q] = True
    for p in range(count):
        if not stays[p]:
            columns[:, near[p]] = moved[p]


@kernel
def _look(
    columns: Float64,
    mass: Float64,
    own: Float64,
    shared: Float64,
    births: Int64,
    owners: Int16,
    used_at: Int64,
    state: Float64,
    half_life: float,
    alpha: float,
    least: float,
    share: float,
) -> None:
    """Drop what is weak, and give the micro-clusters the ids of the clusters they make now."""
    m, one = int(state[USED]), exp2((state[CLOCK] - state[LANDMARK]) / half_life)
    kept = np.flatnonzero(mass[:m] >= _WEAK * one)
    for place in range(len(kept)):
        old = kept[place]
        columns[:, place] = columns[:, old]
        mass[place], own[place], births[place], owners[place] = mass[old], own[old], births[old], owners[old]
    # Places only ever move down, so what is read below was not overwritten before; a pair stands at (lower, higher) place or,
    # where a new micro-cluster took a light one's place, still does.
    for place in range(len(kept)):
        for other in range(place + 1, len(kept)):
            density = shared[kept[place], kept[other]]
            shared[place, other] = density if density >= alpha * _WEAK * one else 0.0
    shared[len(kept) : m, :] = 0.0
    shared[:, len(kept) : m] = 0.0
    state[USED] = len(kept)
    labels = named(mass, own, shared, births, owners, used_at, state, half_life, alpha, least, share)
    state[LOOKS] += 1
    for c in range(len(kept)):
        if labels[c] >= 0:
            owners[c] = labels[c]
            used_at[labels[c]] = int(state[LOOKS])


@kernel
def locate(X: Float64, columns: Float64, labels: Int16, radius: float) -> Any:
    """Give each row the label of the nearest micro-cluster that has one, int32[n]; -1 where none is within the radius."""
    d = len(columns)
    found, total = np.full(len(X), -1, np.int32), np.empty(len(labels))
    for i in range(len(X)):
        total[:] = 0.0
        for a in range(d):
            for c in range(len(labels)):
                step = X[i, a] - columns[a, c]
                total[c] += step * step
        nearest = radius * radius
        for c in range(len(labels)):
            if labels[c] >= 0 and total[c] <= nearest and (total[c] < nearest or found[i] < 0):
                nearest, found[i] = total[c], labels[c]
    return found
