"""K-means on an array at rest, the kernels: seeds, assignment, Lloyd's steps, splits.

Every sum runs in one fixed order with no call to BLAS, so followers on other CPUs reach the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel

__all__ = ["assign", "collect", "halve", "rivals", "seeds", "settle"]

Floats = NDArray[np.float64]


@kernel
def assign(X: Floats, centers: Floats, labels: NDArray[np.int32], distances: Floats) -> None:
    """Write each row's nearest centre (ties: the lower index) and the squared distance to it."""
    k, d = centers.shape
    # One column per centre: the inner loop runs over centres, which vectorises without reordering any sum.
    columns = centers.T.copy()
    total = np.empty(k)
    for i in range(len(X)):
        total[:] = 0.0
        for j in range(d):
            x = X[i, j]
            for c in range(k):
                apart = x - columns[j, c]
                total[c] += apart * apart
        best = 0
        for c in range(1, k):
            if total[c] < total[best]:
                best = c
        labels[i] = best
        distances[i] = total[best]


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
    k, d = centers.shape
    for i in range(len(X)):
        nearest, first, second = 0, np.inf, np.inf
        for c in range(k):
            distance = 0.0
            for j in range(d):
                apart = X[i, j] - centers[c, j]
                distance += apart * apart
            if distance < first:
                nearest, first, second = c, distance, first
            elif distance < second:
                second = distance
        sse[nearest] += weights[i] * first
        loss[nearest] += weights[i] * (second - first)


@kernel
def seeds(X: Floats, weights: Floats, k: int, draws: Floats) -> Floats:
    """Choose k rows by greedy k-means++ (Arthur & Vassilvitskii 2007); ``draws`` float64[k, trials] in [0, 1)."""
    n, d = X.shape
    centers = np.empty((k, d))
    nearest = np.ones(n)
    for c in range(k):
        mass = 0.0
        for i in range(n):
            mass += weights[i] * nearest[i]
        best, lowest = -1, np.inf
        kept = nearest
        for t in range(draws.shape[1] if c > 0 else 1):
            target, row = draws[c, t] * mass, 0
            while row < n - 1 and target >= weights[row] * nearest[row]:
                target -= weights[row] * nearest[row]
                row += 1
            after = np.empty(n)
            total = 0.0
            for i in range(n):
                distance = 0.0
                for j in range(d):
                    apart = X[i, j] - X[row, j]
                    distance += apart * apart
                after[i] = distance if c == 0 else min(distance, nearest[i])
                total += weights[i] * after[i]
            if total < lowest:
                best, lowest, kept = row, total, after
        nearest = kept
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
