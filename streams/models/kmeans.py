"""Segments: mini-batch K-means that forgets, notices drift, mends dying centres and keeps its ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models import lloyd
from streams.models.choosing import FEWEST, MOST, choose
from streams.models.compile import column
from streams.models.drift import CLOSED, DUE, GENERATION, STATE, STRIKES, SUSPECT, USUAL, WINDOWS, fold, renewed
from streams.models.mending import mend, worth
from streams.models.reservoir import Reservoir, sound
from streams.models.solving import arranged, in_use, match, solve

__all__ = ["Delta", "KMeans", "match", "solve"]

_MENDING = 16  # windows between two looks for a misplaced centre
# A solve is made better whenever so many times its points are held: in a log less often, for people see segments change.
_GROWTH, _GROWTH_IN_LOG = 1.25, 2.0
_AGAIN = 4  # times that the reservoir is filled anew until the number of centres is looked at again


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
    greedy k-means++ starts settled by Lloyd's steps and bettered by breaths, again whenever it has grown by a quarter
    (with ``solve_self=False``: doubled), until it is full. Drift is three windows in a row whose mean inertia exceeds 1.5
    times the usual, and by more than the usual one varies: the centres are solved anew from the points since the first of
    them, and matched to the old ones so that ids keep their meaning. Now and then the centre that is missed least moves
    into the centre of largest inertia, if that pays: so dying centres are mended.

    With ``k="auto"`` the number of centres, 4 to 64, is chosen at each solve, and looked at again from time to time, by
    the Bayesian information criterion of X-means (``choosing``). Of those tried it was the one that found the number in
    worlds of known k, from 4 to 40, and the fewest where there are no groups; simplified silhouette and Calinski-Harabasz
    found too few of unlike sizes, and silhouette the most where there are none. The number changes only for a gain above
    the price of one centre. Ids stay: centres are paired with those before so that all move least; a new one takes the
    lowest free id, and the id of one that goes is free. So a dying centre goes at the next look, and none is moved.

    ``partial_fit`` does all this alone. Where many followers fold one log, give ``solve_self=False``; then ``delta``
    and ``solve`` are one worker's work, and ``apply``, ``apply_sample`` and ``adopt`` every follower's, to the same
    bytes.

    Parameters
    ----------
    k : int or "auto"
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
        By id; zeros before the first solve; float64[k, 0] before the first vector. With "auto" k is 64 here, and
        infinity stands where an id is free.
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
        k: int | Literal["auto"] = 8,
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
        self.k, self.capacity, self.fewest = k, *((MOST, FEWEST) if k == "auto" else (k, k))
        if self.capacity < 1 or window < 1 or strikes < 1 or (half_life is not None and not half_life > 0):
            raise ValueError(f"all must be positive: {k=}, {window=}, {strikes=}, {half_life=}")
        self.half_life, self.seed, self.solve_self = half_life, seed, solve_self
        self.buffer = max(buffer, self.fewest)
        self.window, self.drift, self.strikes = window, drift, strikes
        self.cluster_centers_ = np.zeros((self.capacity, 0))
        self.counts_ = np.zeros(self.capacity)
        self.reservoir = Reservoir(max(reservoir, self.buffer))
        self.state = np.zeros(STATE)
        self.state[DUE] = self.fewest if solve_self else self.buffer

    @property
    def initialised(self) -> bool:
        """Tell whether there are centres yet."""
        return bool(self.state[GENERATION])

    @property
    def ids(self) -> NDArray[np.int64]:
        """Give the ids that have a centre, in order."""
        return in_use(self.cluster_centers_) if self.initialised else np.zeros(0, np.int64)

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
            if self.initialised:
                self.apply(self._delta(part, mass))
            self._keep(part, mass)
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
            return Delta.zeros(self.capacity, points.shape[1])
        return self._delta(points, weights)

    def apply(self, delta: Delta) -> None:
        """Fold a delta into the centres; watch for drift and misplaced centres."""
        if not self.initialised:
            return
        counts, sums, sse = (column(a, np.float64) for a in (delta.counts, delta.sums, delta.sse))
        limits = self.half_life or 0.0, float(self.window), self.drift
        seen = fold(self.cluster_centers_, self.counts_, self.state, counts, sums, sse, *limits)
        if seen == SUSPECT and self.state[STRIKES] == 1:
            self.reservoir.clear()  # were it drift, all that is held would be of the world before
        if seen == CLOSED and self.k != "auto" and self.state[WINDOWS] % _MENDING == 0:
            self._mend()

    def apply_sample(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Put rows into the reservoir, over the oldest."""
        self._keep(*self._rows(X, sample_weight))

    def needs_solve(self) -> bool:
        """Tell whether the reservoir is due for a first or better solve, or the stream has drifted."""
        held = len(self.reservoir)
        drifted = self.state[STRIKES] >= self.strikes and held >= min(self.buffer, self.strikes * self.window) // 2
        return held >= self.fewest and (self.reservoir.taken >= self.state[DUE] or bool(drifted))

    def solve(self, X: ArrayLike | None = None, seed: int | None = None) -> NDArray[np.float64]:
        """Solve X (default: the reservoir) as the function does, in the order of the present ids. Changes nothing.

        With ``k="auto"`` there are 64 rows, infinity where an id is free; none if the present centres had better stay.
        """
        points, weights = self.reservoir.sample() if X is None else self._rows(X, None)
        start = self.seed + self.generation if seed is None else seed
        present = self.cluster_centers_[self.ids] if self.initialised else None
        if self.k != "auto":
            return solve(points, self.k, start, weights=weights, present=present)
        k = choose(points, weights, np.random.default_rng(start), present)
        same = present is not None and len(present) == k
        fresh = solve(points, k, start, weights=weights, present=present if same else None)
        settled = self.state[DUE] > len(self.reservoir.points) and not self.state[STRIKES]
        if present is not None and same and settled and not worth(points, weights, present, fresh):
            return np.zeros((0, points.shape[1]))
        before = self.cluster_centers_ if self.initialised else np.full((self.capacity, points.shape[1]), np.inf)
        return arranged(before, fresh)

    def adopt(self, centers: ArrayLike, generation: int | None = None) -> bool:
        """Take solved centres, as ``solve`` gave them, each with the weight of the points held that are nearest to it.

        False, and nothing changes, if they are not of a later generation than those at hand.
        """
        number = self.generation + 1 if generation is None else generation
        if number <= self.generation:
            return False
        solved = np.array(centers, np.float64, order="C")
        if len(solved):
            self._take(self._checked(solved))
            renewed(self.state, drifted=self.state[STRIKES] > 0)
        self.state[GENERATION] = number
        self.state[DUE] = self._next_due()
        return True

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the model has learned."""
        return {
            "centers": self.cluster_centers_.copy(),
            "counts": self.counts_.copy(),
            "reservoir": self.reservoir_vectors(),
            "reservoir_weights": self.reservoir.weights[: len(self.reservoir)].copy(),
            "taken": np.array([self.reservoir.taken]),
            "state": self.state.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], k: int | Literal["auto"] = 8, **parameters: Any) -> Self:
        """Make the model that gave these arrays; the parameters are the constructor's."""
        model = cls(k, **parameters)
        model.cluster_centers_ = np.array(arrays["centers"], np.float64)
        model.counts_ = np.array(arrays["counts"], np.float64)
        model.reservoir.restore(arrays["reservoir"], arrays["reservoir_weights"], int(arrays["taken"][0]))
        model.state = np.array(arrays["state"], np.float64)
        return model

    def reservoir_vectors(self) -> NDArray[np.float32]:
        """Copy the points held, float32[n, d]."""
        return self.reservoir.points[: len(self.reservoir)].copy()

    def _rows(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        points = column(X, np.float64)
        if points.ndim != 2:
            raise ValueError(f"a batch has rows and columns; this has shape {points.shape}")
        if self.cluster_centers_.shape[1] not in {0, points.shape[1]}:
            raise ValueError(f"{points.shape[1]} columns, {self.cluster_centers_.shape[1]} before")
        weights = np.ones(len(points)) if sample_weight is None else column(sample_weight, np.float64)
        if weights.shape != (len(points),):
            raise ValueError(f"{len(points)} rows with weights of shape {weights.shape}")
        if not sound(points, weights):
            raise ValueError("points must be finite, weights finite and not negative")
        return points, weights

    def _delta(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> Delta:
        found = Delta.zeros(self.capacity, points.shape[1])
        labels, distances = np.empty(len(points), np.int32), np.empty(len(points))
        lloyd.assign(points, self.cluster_centers_, labels, distances)
        lloyd.collect(points, weights, labels, distances, found.counts, found.sums, found.sse)
        return found

    def _keep(self, points: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        if not self.cluster_centers_.shape[1]:
            self.cluster_centers_ = np.zeros((self.capacity, points.shape[1]))
        self.reservoir.put(points, weights)

    def _checked(self, solved: NDArray[np.float64]) -> NDArray[np.float64]:
        free = np.isposinf(solved).all(axis=1) & (self.k == "auto") if solved.ndim == 2 else np.zeros(0, np.bool_)
        if solved.ndim != 2 or len(solved) != self.capacity or not np.isfinite(solved[~free]).all() or free.all():
            raise ValueError(f"{self.k} finite centres are needed, not an array of shape {solved.shape}")
        return solved

    def _take(self, solved: NDArray[np.float64]) -> None:
        self.cluster_centers_ = solved
        points, weights = self.reservoir.sample()
        held = points if len(points) else np.zeros((0, solved.shape[1]))
        self.counts_ = self._delta(held, weights).counts

    def _next_due(self) -> float:
        taken, size = self.reservoir.taken, len(self.reservoir.points)
        if taken < size:
            growth = _GROWTH if self.solve_self else _GROWTH_IN_LOG
            return min(growth * max(taken, self.fewest), size)
        return taken + _AGAIN * size if self.k == "auto" else np.inf

    def _mend(self) -> None:
        if self.capacity >= 2 and len(self.reservoir) >= self.buffer:
            mend(*self.reservoir.sample(), self.cluster_centers_, self.counts_)
