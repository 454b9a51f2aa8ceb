"""Segments: mini-batch K-means that forgets, notices drift, mends dying centres and keeps its ids."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models import lloyd
from streams.models.compile import column
from streams.models.drift import CLOSED, DUE, GENERATION, HELD, STRIKES, SUSPECT, USUAL, WINDOWS, fold
from streams.models.solving import match, solve

__all__ = ["Delta", "KMeans", "match", "solve"]

_MENDING = 16  # windows between two looks for a misplaced centre
_WORTH = 0.98  # a centre is moved only if the inertia falls below this share; less would be restless ids for nothing


@dataclass(slots=True)
class Delta:
    """What a batch says of each centre.

    ``counts`` float64[k]: weight of its points; ``sums`` float64[k, d]: of their weighted vectors; ``sse`` float64[k]:
    of their weighted squared distances to it.
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    sse: NDArray[np.float64]

    @classmethod
    def zeros(cls, k: int, dimensions: int) -> Self:
        """Say nothing."""
        return cls(np.zeros(k), np.zeros((k, dimensions)), np.zeros(k))

    def __add__(self, other: Delta) -> Delta:
        """Say what both batches say."""
        return Delta(self.counts + other.counts, self.sums + other.sums, self.sse + other.sse)


class KMeans:
    """K-means over a stream of vectors.

    Each batch moves a centre c of weight n by its m points of sum S: ``n <- a n + m``, ``c <- c + (S - m c) / n``,
    where ``a = 2^(-points / half_life)``. The first centres come from a reservoir of recent points: the best of 5
    greedy k-means++ starts settled by Lloyd's steps, again whenever it has doubled until it is full. Three windows in a
    row whose mean inertia exceeds 1.5 times the usual are drift: the centres are solved anew from the points since the
    first of them, and matched to the old ones so that ids keep their meaning. Now and then the centre that is missed
    least moves into the centre of largest inertia, if that pays: so dying centres are mended.

    ``partial_fit`` does all this alone. Where many followers fold one log, give ``solve_self=False``; then ``delta``
    and ``solve`` are one worker's work, and ``apply``, ``apply_sample`` and ``adopt`` every follower's, to the same
    bytes.

    Parameters
    ----------
    k : int
        Number of centres.
    half_life : float, optional
        Weight of points after which a point counts half; None: never.
    seed : int
        For the k-means++ starts.
    buffer : int
        Points held before the first solve. With ``solve_self`` the first is at k points: there is an answer at once.
    reservoir : int
        Recent points kept to solve from.
    window : int
        Points whose mean inertia is compared with the usual one.
    drift, strikes : float, int
        Drift is this many windows in a row above that multiple of the usual inertia.

    Attributes
    ----------
    cluster_centers_ : float64[k, d]
        Zeros before the first solve; float64[k, 0] before the first vector.
    counts_ : float64[k]
        Decayed weight behind each centre.
    inertia_ : float
        Usual squared distance of a point to its centre (mean of the latest windows).

    References
    ----------
    D. Sculley: Web-scale k-means clustering, WWW 2010. The decay is that of Spark's StreamingKMeans.

    Examples
    --------
    >>> import numpy as np
    >>> model = KMeans(k=2).partial_fit(np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]]))
    >>> sorted(model.cluster_centers_.tolist())
    [[0.0, 0.5], [9.0, 8.5]]
    >>> bool(model.predict([[1.0, 1.0]])[0] == model.predict([[0.0, 0.0]])[0])
    True
    """

    def __init__(
        self,
        k: int = 8,
        *,
        half_life: float | None = None,
        seed: int = 0,
        buffer: int = 512,
        reservoir: int = 2048,
        window: int = 256,
        drift: float = 1.5,
        strikes: int = 3,
        solve_self: bool = True,
    ) -> None:
        if k < 1 or window < 1 or strikes < 1 or (half_life is not None and not half_life > 0):
            raise ValueError(f"all must be positive: {k=}, {window=}, {strikes=}, {half_life=}")
        self.k, self.half_life, self.seed, self.solve_self = k, half_life, seed, solve_self
        self.buffer = max(buffer, k)
        self.window, self.drift, self.strikes = window, drift, strikes
        self.cluster_centers_ = np.zeros((k, 0))
        self.counts_ = np.zeros(k)
        self.reservoir = np.zeros((max(reservoir, self.buffer), 0), np.float32)
        self.reservoir_weights = np.zeros(len(self.reservoir), np.float32)
        self.state = np.zeros(8)
        self.state[DUE] = k if solve_self else self.buffer

    @property
    def initialised(self) -> bool:
        """Tell whether there are centres yet."""
        return bool(self.state[GENERATION])

    @property
    def generation(self) -> int:
        """Count the solves adopted."""
        return int(self.state[GENERATION])

    @property
    def inertia_(self) -> float:
        """Tell the usual squared distance of a point to its centre."""
        return float(self.state[USUAL])

    def partial_fit(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the rows of X float[n, d], each with its weight (default 1); ValueError if any is not finite."""
        points, weights = self._rows(X, sample_weight)
        for start in range(0, len(points), self.window):
            part, mass = points[start : start + self.window], weights[start : start + self.window]
            self._keep(part, mass)
            if self.initialised:
                self.apply(self._delta(part, mass))
            if self.solve_self and self.needs_solve():
                self.adopt(self.solve())
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """Tell the nearest centre of each row, int32[n]; -1 before the first solve; ties go to the lower id."""
        points, _ = self._rows(X, None)
        labels = np.full(len(points), -1, np.int32)
        if self.initialised:
            lloyd.assign(points, self.cluster_centers_, labels, np.empty(len(points)))
        return labels

    def delta(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Delta:
        """Say what the rows teach at the present centres; nothing before the first solve. Changes nothing."""
        points, weights = self._rows(X, sample_weight)
        if not self.initialised:
            return Delta.zeros(self.k, points.shape[1])
        return self._delta(points, weights)

    def apply(self, delta: Delta) -> None:
        """Fold a delta into the centres; watch for drift and misplaced centres."""
        if not self.initialised:
            return
        counts, sums, sse = (column(a, np.float64) for a in (delta.counts, delta.sums, delta.sse))
        limits = self.half_life or 0.0, float(self.window), self.drift
        seen = fold(self.cluster_centers_, self.counts_, self.state, counts, sums, sse, *limits)
        if seen == SUSPECT and self.state[STRIKES] == 1:
            # Were it drift, all that is held would be of the world before.
            self.state[HELD] = 0
        if seen == CLOSED and self.state[WINDOWS] % _MENDING == 0:
            self._mend()

    def apply_sample(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Put rows into the reservoir, over the oldest."""
        self._keep(*self._rows(X, sample_weight))

    def needs_solve(self) -> bool:
        """Tell whether the reservoir is due for a first or better solve, or the stream has drifted."""
        held = self._held
        drifted = self.state[STRIKES] >= self.strikes and held >= min(self.buffer, self.strikes * self.window) // 2
        return held >= max(self.state[DUE], self.k) or (bool(drifted) and held >= self.k)

    def solve(self, X: ArrayLike | None = None, seed: int | None = None) -> NDArray[np.float64]:
        """Solve X (default: the reservoir) as the function does, in the order of the present ids. Changes nothing."""
        points, weights = self._sample() if X is None else self._rows(X, None)
        present = self.cluster_centers_ if self.initialised else None
        start = self.seed + self.generation if seed is None else seed
        return solve(points, self.k, start, weights=weights, present=present)

    def reservoir_vectors(self) -> NDArray[np.float32]:
        """Copy the points held, float32[n, d]."""
        return self.reservoir[: self._held].copy()

    def adopt(self, centers: ArrayLike, generation: int | None = None) -> bool:
        """Take solved centres, float[k, d], each with the weight of the points held that are nearest to it.

        False, and nothing changes, if they are not of a later generation than those at hand.
        """
        number = self.generation + 1 if generation is None else generation
        if number <= self.generation:
            return False
        solved = np.array(centers, np.float64, order="C")
        if solved.ndim != 2 or len(solved) != self.k or not np.isfinite(solved).all():
            raise ValueError(f"{self.k} finite centres are needed, not an array of shape {solved.shape}")
        self._widen(solved.shape[1])
        self.cluster_centers_ = solved
        self.counts_ = self._delta(*self._sample()).counts
        doubled = 2 * max(self._held, self.k)
        due = doubled if doubled <= len(self.reservoir) else np.inf
        self.state[:] = [0.0, 0.0, 0.0, 0.0, 0.0, self.state[HELD], due, number]
        return True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the model has learned."""
        return {
            "centers": self.cluster_centers_.copy(),
            "counts": self.counts_.copy(),
            "reservoir": self.reservoir_vectors(),
            "reservoir_weights": self.reservoir_weights[: self._held].copy(),
            "state": self.state.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], k: int = 8, **parameters: Any) -> Self:
        """Make the model that gave these arrays; the parameters are the constructor's."""
        model = cls(k, **parameters)
        model.cluster_centers_ = np.array(arrays["centers"], np.float64)
        model.counts_ = np.array(arrays["counts"], np.float64)
        held = len(arrays["reservoir"])
        model.reservoir = np.zeros((len(model.reservoir), model.cluster_centers_.shape[1]), np.float32)
        model.reservoir[:held] = arrays["reservoir"]
        model.reservoir_weights[:held] = arrays["reservoir_weights"]
        model.state = np.array(arrays["state"], np.float64)
        return model

    @property
    def _held(self) -> int:
        return min(int(self.state[HELD]), len(self.reservoir))

    def _sample(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        held = self._held
        return self.reservoir[:held].astype(np.float64), self.reservoir_weights[:held].astype(np.float64)

    def _rows(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        points = column(X, np.float64)
        if points.ndim != 2:
            raise ValueError(f"a batch has rows and columns; this has shape {points.shape}")
        if self.cluster_centers_.shape[1] not in {0, points.shape[1]}:
            raise ValueError(f"{points.shape[1]} columns, {self.cluster_centers_.shape[1]} before")
        weights = np.ones(len(points)) if sample_weight is None else column(sample_weight, np.float64)
        if weights.shape != (len(points),):
            raise ValueError(f"{len(points)} rows with weights of shape {weights.shape}")
        if not (np.isfinite(points).all() and np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("points must be finite, weights finite and not negative")
        return points, weights

    def _delta(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> Delta:
        found = Delta.zeros(self.k, points.shape[1])
        labels, distances = np.empty(len(points), np.int32), np.empty(len(points))
        lloyd.assign(points, self.cluster_centers_, labels, distances)
        lloyd.collect(points, weights, labels, distances, found.counts, found.sums, found.sse)
        return found

    def _widen(self, dimensions: int) -> None:
        if not self.cluster_centers_.shape[1]:
            self.reservoir = np.zeros((len(self.reservoir), dimensions), np.float32)
            self.cluster_centers_ = np.zeros((self.k, dimensions))

    def _keep(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self._widen(points.shape[1])
        rows = np.flatnonzero(weights)[-len(self.reservoir) :]
        places = (int(self.state[HELD]) + np.arange(len(rows))) % len(self.reservoir)
        self.reservoir[places] = points[rows]
        self.reservoir_weights[places] = weights[rows]
        self.state[HELD] += len(rows)

    def _mend(self) -> None:
        """Move the centre that is missed least into the one of largest inertia, if that pays on the points held."""
        if self.k < 2 or self._held < self.buffer:
            return
        points, weights = self._sample()
        before, loss = np.zeros(self.k), np.zeros(self.k)
        lloyd.rivals(points, weights, self.cluster_centers_, before, loss)
        crowded = int(np.argmax(before))
        loss[crowded] = np.inf
        missed_least = int(np.argmin(loss))
        inside = self.predict(points) == crowded
        trial = self.cluster_centers_.copy()
        trial[[crowded, missed_least]], share = lloyd.halve(points[inside], weights[inside])
        after = np.zeros(self.k)
        lloyd.rivals(points, weights, trial, after, loss)
        if math.fsum(after) < _WORTH * math.fsum(before):
            self.cluster_centers_ = trial
            self.counts_[missed_least] = (1 - share) * self.counts_[crowded]
            self.counts_[crowded] *= share
