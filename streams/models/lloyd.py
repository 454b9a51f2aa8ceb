"""K-means on an array at rest, the kernels: seeds, assignment, Lloyd's steps, splits.

Every sum runs in one fixed order with no call to BLAS, so followers on other CPUs reach the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel

__all__ = ["assign", "collect", "halve", "near", "rivals", "seeds", "settle"]

Floats = NDArray[np.float64]

_TILE = 64  # rows looked at together


@kernel
def near(X: Floats, centers: Floats, labels: NDArray[np.int32], first: Floats, second: Floats) -> None:
    """Write each row's nearest centre (ties: the lower index) and the squared distances to it and to the next one."""
    n, d = X.shape
    # One column per row of X: the inner loops run over rows, which vectorises without reordering any sum.
    tile, total, one, two, who = (
        np.zeros((d, _TILE)),
        np.empty(_TILE),
        np.empty(_TILE),
        np.empty(_TILE),
        np.empty(_TILE, np.int64),
    )
    for begin in range(0, n, _TILE):
        size = min(_TILE, n - begin)
        for r in range(size):
            for j in range(d):
                tile[j, r] = X[begin + r, j]
        one[:], two[:], who[:] = np.inf, np.inf, 0
        for c in range(len(centers)):
            total[:] = 0.0
            for j in range(d):
                at = centers[c, j]
                for r in range(_TILE):
                    apart = tile[j, r] - at
                    total[r] += apart * apart
            for r in range(_TILE):
                distance, best, other = total[r], one[r], two[r]
                closer = distance < best
                two[r] = best if closer else min(distance, other)
                one[r] = distance if closer else best
                who[r] = c if closer else who[r]
        for r in range(size):
            labels[begin + r], first[begin + r], second[begin + r] = who[r], one[r], two[r]


@kernel
def assign(X: Floats, centers: Floats, labels: NDArray[np.int32], distances: Floats) -> None:
    """Write each row's nearest centre (ties: the lower index) and the squared distance to it."""
    near(X, centers, labels, distances, np.empty(len(X)))


@kernel
def collect(
    X: Floats, weights: Floats, labels: NDArray[np.int32], distances: Floats, counts: Floats, sums: Floats, sse: Floats
) -> None:
    """Add each row's weight, weighted vector and weighted squared distance to those of its centre."""
    for i in range(len(X)):
        c, w = labels[i], weights[i]
        counts[c] += w
        sse[c] += w * distances[i]
        for j in range(X.shape[1]):
            sums[c, j] += w * X[i, j]


@kernel
def rivals(X: Floats, weights: Floats, centers: Floats, sse: Floats, loss: Floats) -> None:
    """Add up per centre its inertia, and by how much the inertia would rise without it."""
    n = len(X)
    labels, first, second = np.empty(n, np.int32), np.empty(n), np.empty(n)
    near(X, centers, labels, first, second)
    for i in range(n):
        sse[labels[i]] += weights[i] * first[i]
        loss[labels[i]] += weights[i] * (second[i] - first[i])


@kernel
def seeds(X: Floats, weights: Floats, k: int, draws: Floats) -> Floats:
    """Choose k rows by greedy k-means++ (Arthur & Vassilvitskii 2007); ``draws`` float64[k, trials] in [0, 1)."""
    n, d = X.shape
    columns = X.T.copy()
    centers = np.empty((k, d))
    nearest = np.ones(n)
    after, kept = np.empty(n), np.empty(n)
    for c in range(k):
        mass = 0.0
        for i in range(n):
            mass += weights[i] * nearest[i]
        best, lowest = -1, np.inf
        for t in range(draws.shape[1] if c > 0 else 1):
            target, row = draws[c, t] * mass, 0
            while row < n - 1 and target >= weights[row] * nearest[row]:
                target -= weights[row] * nearest[row]
                row += 1
            after[:] = 0.0
            for j in range(d):
                at = X[row, j]
                for i in range(n):
                    apart = columns[j, i] - at
                    after[i] += apart * apart
            total = 0.0
            for i in range(n):
                if c > 0:
                    after[i] = min(after[i], nearest[i])
                total += weights[i] * after[i]
            if total < lowest:
                best, lowest = row, total
                kept[:] = after
        nearest[:] = kept
        centers[c] = X[best]
    return centers


@kernel
def settle(X: Floats, weights: Floats, centers: Floats, steps: int) -> float:
    """Move the centres in place by Lloyd's steps until no row changes its centre; the inertia of the last assignment.

    A centre that lost all its rows goes to the row farthest from its own centre.
    """
    n, k = len(X), len(centers)
    labels, before, distances = np.empty(n, np.int32), np.full(n, -1, np.int32), np.empty(n)
    inertia = np.inf
    for _ in range(steps):
        assign(X, centers, labels, distances)
        inertia, same = 0.0, True
        for i in range(n):
            inertia += weights[i] * distances[i]
            same &= labels[i] == before[i]
        if same:
            break
        counts, sums, sse = np.zeros(k), np.zeros(centers.shape), np.zeros(k)
        collect(X, weights, labels, distances, counts, sums, sse)
        for c in range(k):
            if counts[c] > 0:
                centers[c] = sums[c] / counts[c]
                continue
            farthest = 0
            for i in range(n):
                if weights[i] * distances[i] > weights[farthest] * distances[farthest]:
                    farthest = i
            centers[c] = X[farthest]
            distances[farthest] = 0.0
        before[:] = labels
    return inertia


@kernel
def halve(X: Floats, weights: Floats) -> tuple[Floats, float]:
    """Split rows in two by Lloyd's steps from either side of the mean on the widest axis: centres, first's share."""
    n, d = X.shape
    mass, mean, square = 0.0, np.zeros(d), np.zeros(d)
    for i in range(n):
        mass += weights[i]
        for j in range(d):
            mean[j] += weights[i] * X[i, j]
    mean /= mass
    for i in range(n):
        for j in range(d):
            square[j] += weights[i] * (X[i, j] - mean[j]) * (X[i, j] - mean[j])
    axis = 0
    for j in range(d):
        if square[j] > square[axis]:
            axis = j
    pair = np.empty((2, d))
    pair[0], pair[1] = mean, mean
    pair[0, axis] -= np.sqrt(square[axis] / mass)
    pair[1, axis] += np.sqrt(square[axis] / mass)
    settle(X, weights, pair, 10)
    labels, distances = np.empty(n, np.int32), np.empty(n)
    assign(X, pair, labels, distances)
    first = 0.0
    for i in range(n):
        if labels[i] == 0:
            first += weights[i]
    return pair, first / mass
