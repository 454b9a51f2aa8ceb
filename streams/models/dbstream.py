"""Segments by density: DBSTREAM, an online DBSCAN that finds clusters of any shape, and tells who is in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from streams.models import density, naming
from streams.models.compile import Array, ArrayLike, Float64, Int16, Int32
from streams.models.decay import exp2
from streams.models.rows import Rows

__all__ = ["DBStream"]

_COMPARED = 512  # rows that the radius is found from, at most: each is compared with each


class DBStream:
    """DBSCAN over a stream of vectors, by micro-clusters that share points.

    A row within ``radius`` of micro-clusters adds its weight to each of them, and to the shared density of each pair of them,
    and draws them nearer, ``c <- c + 2^(-6.49 (distance / radius)^2) (x - c)``, unless two would come within the radius of each
    other; any other row begins a micro-cluster. All weights halve in ``half_life``. Every ``gap`` rows, micro-clusters lighter
    than 1/2 go. Those of at least ``min_weight`` are strong. Two strong ones are connected where their shared density is at
    least ``alpha`` times their mean weight; what is connected is a cluster, if it holds at least ``min_share`` of all weight.

    **Noise**, label -1, is a row within the radius of no micro-cluster of a cluster. So a lone outlier is noise, and so is a
    clump, dense as it may be, of less than ``min_share`` of all weight: a bot, or a few of them. A larger clump far from all
    others is a cluster of its own. Either way it moves no other cluster, for none of its rows is near theirs.

    Ids are stable: a cluster keeps its id as long as most of the id's weight is in it. Where clusters merge, the heaviest id
    stays; where one splits, the heaviest part keeps it, and the others get the ids that were out of use the longest. A cluster
    in use becomes noise only below half of ``min_share``.

    Parameters
    ----------
    radius : float, optional
        Of a micro-cluster; None: found from the first ``buffer`` rows, and no answer before: the quantile ``quantile``, by
        weight over these rows, of the distance to a row's ``neighbor``-th nearest row elsewhere.
    half_life : float
        In which a weight halves: in weight of rows, or in seconds where ``partial_fit`` is given times.
    min_weight : float
        Of a strong micro-cluster: DBSCAN's ``min_samples``, less what these lose by decay; 2.5 asks for three recent points.
    alpha : float
        Intersection factor; smaller connects more.
    min_share : float
        Share of all weight that makes a cluster.
    k : int
        Ids are below k. Clusters beyond that many have none: noise.
    micro : int
        Most micro-clusters; a new one then takes the place of the lightest.
    gap : int
        Rows between two looks for what is weak, and for who belongs to whom.
    relative : bool
        Whether a row counts by its weight over the mean weight of the latest rows, at most 1: for weights that shrink with time.
    buffer, neighbor, quantile, seed
        For the radius; of a buffer of more than 512 rows, so many are drawn by the seed.

    Attributes
    ----------
    cluster_centers_ : float64[k, d]
        Mean of each cluster, zeros where an id is not in use.
    counts_ : float64[k]
        Decayed weight of each cluster.
    radius_ : float
        The radius in use; 0 while it is not known.
    inertia_ : float
        Running mean squared distance of a row to the nearest micro-cluster around it.

    References
    ----------
    M. Hahsler, M. Bolaños: Clustering data streams based on shared density between micro-clusters, IEEE TKDE 28(6), 2016.
    M. Ester, H.-P. Kriegel, J. Sander, X. Xu: A density-based algorithm for discovering clusters, KDD 1996.

    Examples
    --------
    >>> model = DBStream(radius=1.0, min_weight=1.5).partial_fit([[0.0], [0.5], [9.0], [9.5], [5.0]])
    >>> model.predict([[0.2], [9.2], [5.0]]).tolist()
    [0, 1, -1]
    """

    def __init__(
        self,
        *,
        radius: float | None = None,
        half_life: float = 4096.0,
        min_weight: float = 2.5,
        alpha: float = 0.1,
        min_share: float = 1 / 64,
        k: int = 64,
        micro: int = 256,
        gap: int = 256,
        relative: bool = False,
        buffer: int = 256,
        neighbor: int = 8,
        quantile: float = 0.75,
        seed: int = 0,
    ) -> None:
        positive = (half_life, min_weight, alpha, min_share, k, micro, gap, buffer, neighbor, 1.0 if radius is None else radius)
        if not all(number > 0 for number in positive) or not 0 < quantile < 1:
            raise ValueError(f"all must be positive, and the quantile below 1: {positive}, {quantile=}")
        self.k, self.seed, self.buffer, self.neighbor, self.quantile = k, seed, buffer, neighbor, quantile
        self._limits = float(half_life), float(alpha), float(min_weight), float(min_share)
        self._pace = gap, relative
        self._columns = np.zeros((0, micro))
        self._mass, self._own, self._shared = np.zeros(micro), np.zeros(micro), np.zeros((micro, micro))
        self._births, self._owners = np.zeros(micro, np.int64), np.full(micro, -1, np.int16)
        self._used_at = np.zeros(k, np.int64)
        self._held = Rows(np.zeros((0, 0)), np.zeros(0), np.zeros(0))
        self._state = np.zeros(9)
        self._state[naming.RADIUS] = radius or 0.0
        self._labels: Int16 | None = None

    @property
    def initialised(self) -> bool:
        """Tell whether there are micro-clusters yet."""
        return bool(self._state[naming.ROWS])

    @property
    def capacity(self) -> int:
        """Tell below which number all ids are."""
        return self.k

    @property
    def ids(self) -> Array:
        """Give the ids that were in use at the last look, ascending."""
        looks = self._state[naming.LOOKS]
        return np.flatnonzero(self._used_at == looks) if looks else np.zeros(0, np.int64)

    @property
    def radius_(self) -> float:
        """Tell the radius, 0 while it is not known."""
        return float(self._state[naming.RADIUS])

    @property
    def inertia_(self) -> float:
        """Tell the running mean squared distance of a row to its micro-cluster."""
        return float(self._state[naming.SPREAD])

    @property
    def counts_(self) -> Float64:
        """Sum the decayed weight of each cluster."""
        places, labels = self._clustered
        return np.bincount(labels, self._now(self._own)[places], self.k).astype(np.float64)

    @property
    def cluster_centers_(self) -> Float64:
        """Average the micro-clusters of each cluster."""
        places, labels = self._clustered
        weights, counts = self._now(self._own)[places], np.maximum(self.counts_, 1e-300)
        return np.stack([np.bincount(labels, weights * axis[places], self.k) / counts for axis in self._columns], axis=1)

    def micro_clusters(self) -> tuple[Float64, Float64, Int16]:
        """Copy all micro-clusters: centers float64[m, d], decayed weights float64[m], labels int16[m]."""
        return np.ascontiguousarray(self._columns[:, : self._used].T), self._now(self._mass), self._named().copy()

    def partial_fit(self, X: ArrayLike, sample_weight: ArrayLike | None = None, *, times: ArrayLike | None = None) -> Self:
        """Learn the rows of X float[n, d], each with its weight (default 1) and, to forget by time, its time in seconds.

        Raises
        ------
        ValueError
            If a number is not finite, a weight negative, or a shape does not fit; nothing is learned then.
        """
        self.apply(self.delta(X, sample_weight, times=times))
        return self

    def delta(self, X: ArrayLike, sample_weight: ArrayLike | None = None, *, times: ArrayLike | None = None) -> Rows:
        """Say what the rows teach: themselves. Changes nothing."""
        return Rows.checked(X, self._dimensions, sample_weight, times)

    def apply(self, delta: Rows) -> None:
        """Fold a delta."""
        if not len(delta):
            return
        if not self._dimensions:
            self._columns = np.zeros((delta.points.shape[1], len(self._mass)))
            self._held = delta[:0]
        if not self.radius_:
            room = self.buffer - len(self._held)
            self._held, delta = self._held + delta[:room], delta[room:]
            if len(self._held) < self.buffer or not self._found():
                return
            held, self._held = self._held, self._held[:0]
            self._fold(held)
        self._fold(delta)

    def predict(self, X: ArrayLike) -> Int32:
        """Tell the cluster of each row, int32[n]: that of the nearest micro-cluster of any cluster within the radius, or -1."""
        points = Rows.checked(X, self._dimensions).points
        if not self.initialised:
            return np.full(len(points), -1, np.int32)
        found: Int32 = density.locate(points, self._columns, self._named(), self.radius_)
        return found

    def arrays(self) -> dict[str, Array]:
        """Copy everything the model has learned."""
        used = self._used
        return {
            "centers": np.ascontiguousarray(self._columns[:, :used].T),
            "mass": self._mass[:used].copy(),
            "own": self._own[:used].copy(),
            "shared": self._shared[:used, :used].copy(),
            "births": self._births[:used].copy(),
            "owners": self._owners[:used].copy(),
            "used_at": self._used_at.copy(),
            "held": self._held.points.copy(),
            "held_weights": self._held.weights.copy(),
            "held_times": self._held.times.copy(),
            "state": self._state.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], **parameters: Any) -> Self:
        """Make the model that gave these arrays; the parameters are the constructor's."""
        model = cls(**parameters)
        used, dimensions = arrays["centers"].shape
        model._columns = np.zeros((dimensions, len(model._mass)))
        model._columns[:, :used] = arrays["centers"].T
        model._mass[:used], model._own[:used], model._shared[:used, :used] = (arrays[name] for name in ("mass", "own", "shared"))
        model._births[:used], model._owners[:used] = arrays["births"], arrays["owners"]
        model._used_at, model._state = arrays["used_at"].copy(), arrays["state"].copy()
        model._held = Rows(arrays["held"].copy(), arrays["held_weights"].copy(), arrays["held_times"].copy())
        return model

    @property
    def _dimensions(self) -> int:
        return len(self._columns)

    @property
    def _used(self) -> int:
        return int(self._state[naming.USED])

    def _found(self) -> bool:
        """Find the radius from the rows held; False, and they are let go, where all of them lie in one place."""
        some = np.random.default_rng(self.seed).permutation(len(self._held))[:_COMPARED]
        points, weights = self._held.points[some], self._held.weights[some]
        self._state[naming.RADIUS] = density.reach(points, weights, self.neighbor, self.quantile)
        if not self.radius_:
            self._held = self._held[:0]
        return bool(self.radius_)

    def _fold(self, rows: Rows) -> None:
        density.fold(rows.points, rows.weights, rows.times, self._columns, *self._learned, *self._limits, *self._pace)
        self._labels = None

    def _named(self) -> Int16:
        if self._labels is None:
            self._labels = naming.named(*self._learned, *self._limits)
        return self._labels

    @property
    def _learned(self) -> tuple[Array, ...]:
        return self._mass, self._own, self._shared, self._births, self._owners, self._used_at, self._state

    def _now(self, weights: Float64) -> Float64:
        """Give weights of the micro-clusters as of now."""
        state, half_life = self._state, self._limits[0]
        return weights[: self._used] / exp2((state[naming.CLOCK] - state[naming.LANDMARK]) / half_life)

    @property
    def _clustered(self) -> tuple[Array, Int16]:
        """Give the places of the micro-clusters that have a label, and the labels."""
        labels = self._named()
        places = np.flatnonzero(labels >= 0)
        return places, labels[places]
