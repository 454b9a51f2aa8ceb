"""The points that K-means is solved from: the latest ones, each over the oldest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel

__all__ = ["Reservoir", "sound"]

Floats = NDArray[np.float64]

_LARGEST = np.finfo(np.float64).max


class Reservoir:
    """At most ``size`` points float32[size, d] with their weights.

    ``taken`` counts the points ever put since it was last emptied; before the first point there are no columns.

    Examples
    --------
    >>> import numpy as np
    >>> reservoir = Reservoir(2)
    >>> reservoir.put(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 1.0, 0.5]))
    >>> reservoir.sample()
    (array([[3.],
           [2.]]), array([0.5, 1. ]))
    """

    def __init__(self, size: int) -> None:
        self.points = np.zeros((size, 0), np.float32)
        self.weights = np.zeros(size, np.float32)
        self.taken = 0

    def __len__(self) -> int:
        """Count the points held."""
        return min(self.taken, len(self.points))

    @property
    def full(self) -> bool:
        """Tell whether no more points fit in without one going."""
        return self.taken >= len(self.points)

    def put(self, points: Floats, weights: Floats) -> None:
        """Put the points that have weight over the oldest."""
        if not self.points.shape[1]:
            self.points = np.zeros((len(self.points), points.shape[1]), np.float32)
        self.taken += _put(points, weights, self.points, self.weights, self.taken)

    def clear(self) -> None:
        """Let all points go."""
        self.taken = 0

    def sample(self) -> tuple[Floats, Floats]:
        """Copy the points held and their weights, as doubles."""
        return self.points[: len(self)].astype(np.float64), self.weights[: len(self)].astype(np.float64)

    def restore(self, points: NDArray[np.float32], weights: NDArray[np.float32], taken: int) -> None:
        """Hold these points again."""
        self.points = np.zeros((len(self.points), points.shape[1]), np.float32)
        self.points[: len(points)], self.weights[: len(points)] = points, weights
        self.taken = taken


@kernel
def _put(points: Floats, weights: Floats, held: NDArray[np.float32], held_weights: NDArray[np.float32], taken: int) -> int:
    put = 0
    for i in range(len(points)):
        if weights[i] > 0:
            place = (taken + put) % len(held)
            for j in range(points.shape[1]):
                held[place, j] = points[i, j]
            held_weights[place] = weights[i]
            put += 1
    return put


@kernel
def sound(points: Floats, weights: Floats) -> bool:
    """Tell whether all points are finite, and all weights finite and not negative."""
    wrong = 0
    for i in range(len(points)):
        for j in range(points.shape[1]):
            wrong |= not abs(points[i, j]) <= _LARGEST
        wrong |= not 0 <= weights[i] <= _LARGEST
    return wrong == 0
