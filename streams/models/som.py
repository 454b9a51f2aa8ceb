"""Segments on a map: Kohonen's self-organizing map over a stream, where segments that are alike lie side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np

from streams.models import kohonen, lloyd
from streams.models.compile import Array, ArrayLike, Float64, Int32
from streams.models.rows import Rows

__all__ = ["SOM", "positions"]


class SOM:
    """A self-organizing map: k nodes on a grid, each with a place among the vectors.

    Each row x finds its nearest node b, and draws every node c to itself by how near c is to b on the grid:
    ``c <- c + w rate 2^(-0.72 (grid distance / radius)^2) (x - c)``, a Gaussian. Rate and radius halve every ``half_life`` of
    weight, down to a floor that keeps the map alive on a stream. The nodes begin on the plane of the two main axes of the first
    ``buffer`` rows, so the map need not unfold. Every row has a node: the map knows no noise, and an outlier moves its node.
    Ids are places on the grid, so they never change their meaning of who is next to whom.

    Parameters
    ----------
    k : int
        Nodes; the grid is the one of k nodes that is nearest to a square.
    shape : (int, int), optional
        Rows and columns of the grid, in place of ``k``.
    grid : 'hexagonal' or 'rectangular'
        How nodes lie: with six equally near neighbors, or with four.
    rate, least_rate : float
        How far a row draws its own node, at first and in the long run.
    radius, least_radius : float
        Of the neighborhood on the grid, at first (None: half the grid's diameter) and in the long run; at 0.4 the nearest
        neighbors move at 4 % of the node's rate.
    half_life : float
        Weight of rows in which rate and radius halve.
    memory : float
        Weight of rows in which the weight counted for a node halves; it tells sizes, and moves nothing.
    relative : bool
        Whether a row counts by its weight over the mean weight of the latest rows, at most 1: for weights that shrink with time.
    buffer : int
        Rows that the first plane is found from; no answer before.
    seed : int
        Of where the search for the axes begins.

    Attributes
    ----------
    cluster_centers_ : float64[k, d]
        The nodes, row by row of the grid; zeros before the first plane.
    counts_ : float64[k]
        Decayed weight of the rows nearest to each node.
    positions_ : float64[k, 2]
        Where each node lies on the map: x, y, neighbors at distance 1.
    inertia_ : float
        Running mean squared distance of a row to its node.

    References
    ----------
    T. Kohonen: Self-organized formation of topologically correct feature maps, Biological Cybernetics 43, 1982.

    Examples
    --------
    >>> model = SOM(shape=(1, 2), rate=0.5, radius=0.5, least_radius=0.5)
    >>> model.adopt([[0.0], [10.0]])
    True
    >>> model.partial_fit([[2.0]]).cluster_centers_.round(2).tolist()
    [[1.0], [9.46]]
    """

    def __init__(
        self,
        k: int = 16,
        *,
        shape: tuple[int, int] | None = None,
        grid: Literal["hexagonal", "rectangular"] = "hexagonal",
        rate: float = 0.5,
        least_rate: float = 0.01,
        radius: float | None = None,
        least_radius: float = 0.4,
        half_life: float = 512.0,
        memory: float = 4096.0,
        relative: bool = False,
        buffer: int = 256,
        seed: int = 0,
    ) -> None:
        positive = (
            k,
            *(shape or ()),
            rate,
            least_rate,
            least_radius,
            half_life,
            memory,
            buffer,
            1.0 if radius is None else radius,
        )
        if not all(number > 0 for number in positive) or max(rate, least_rate) > 1:
            raise ValueError(f"all must be positive, and rates at most 1: {positive}")
        self.shape = shape or _shape(k)
        self.k, self.buffer, self.seed = self.shape[0] * self.shape[1], buffer, seed
        self.positions_ = _positions(self.shape, hexagonal=grid == "hexagonal")
        self._apart = np.square(self.positions_[:, None] - self.positions_).sum(axis=2)
        widest = float(radius or max(np.sqrt(self._apart.max()) / 2, least_radius))
        self._schedule = (
            (float(rate), float(least_rate)),
            (widest, float(least_radius)),
            float(half_life),
            float(memory),
            relative,
        )
        self._nodes, self.counts_ = np.zeros((0, self.k)), np.zeros(self.k)
        self._held = Rows(np.zeros((0, 0)), np.zeros(0), np.zeros(0))
        self._state = np.zeros(5)

    @property
    def capacity(self) -> int:
        """Tell below which number all ids are."""
        return self.k

    @property
    def ids(self) -> Array:
        """Give the ids of the nodes; none before there are any."""
        return np.arange(self.k if self.initialised else 0)

    @property
    def initialised(self) -> bool:
        """Tell whether the nodes have places yet."""
        return bool(self._state[kohonen.STARTED])

    @property
    def cluster_centers_(self) -> Float64:
        """Copy the nodes."""
        return np.ascontiguousarray(self._nodes.T)

    @property
    def inertia_(self) -> float:
        """Tell the running mean squared distance of a row to its node."""
        return float(self._state[kohonen.INERTIA])

    def partial_fit(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the rows of X float[n, d], each with its weight (default 1).

        Raises
        ------
        ValueError
            If a number is not finite, a weight negative, or a shape does not fit; nothing is learned then.
        """
        self.apply(self.delta(X, sample_weight))
        return self

    def delta(self, X: ArrayLike, sample_weight: ArrayLike | None = None) -> Rows:
        """Say what the rows teach: themselves. Changes nothing."""
        return Rows.checked(X, len(self._nodes), sample_weight)

    def apply(self, delta: Rows) -> None:
        """Fold a delta."""
        if not len(delta):
            return
        if not len(self._nodes):
            self._nodes, self._held = np.zeros((delta.points.shape[1], self.k)), delta[:0]
        if not self.initialised:
            room = self.buffer - len(self._held)
            self._held, delta = self._held + delta[:room], delta[room:]
            if len(self._held) < self.buffer:
                return
            held = self._held
            self.adopt(self._flat())
            self._fold(held)
        self._fold(delta)

    def adopt(self, nodes: ArrayLike) -> bool:
        """Put the nodes to places of your own, float[k, d], and begin to learn; rows held before are let go."""
        places = np.array(nodes, np.float64, order="C")
        if places.ndim != 2 or len(places) != self.k or not np.isfinite(places).all():
            raise ValueError(f"{self.k} finite nodes are needed, not an array of shape {places.shape}")
        self._nodes = np.ascontiguousarray(places.T)
        self._held = Rows(np.zeros((0, places.shape[1])), np.zeros(0), np.zeros(0))
        self.counts_ = np.zeros(self.k)
        self._state[:] = 0.0
        self._state[kohonen.STARTED] = 1.0
        return True

    def predict(self, X: ArrayLike) -> Int32:
        """Tell the nearest node of each row, int32[n]; -1 before the nodes have places; ties go to the lower id."""
        points = Rows.checked(X, len(self._nodes)).points
        labels = np.full(len(points), -1, np.int32)
        if self.initialised:
            lloyd.assign(points, self.cluster_centers_, labels, np.empty(len(points)))
        return labels

    def arrays(self) -> dict[str, Array]:
        """Copy everything the model has learned."""
        return {
            "nodes": self.cluster_centers_,
            "counts": self.counts_.copy(),
            "held": self._held.points.copy(),
            "held_weights": self._held.weights.copy(),
            "state": self._state.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], **parameters: Any) -> Self:
        """Make the model that gave these arrays; the parameters are the constructor's."""
        model = cls(**parameters)
        if arrays["nodes"].shape[0] != model.k:
            raise ValueError(f"{arrays['nodes'].shape[0]} nodes, {model.k} by the parameters")
        model._nodes = np.ascontiguousarray(arrays["nodes"].T)
        model.counts_, model._state = arrays["counts"].copy(), arrays["state"].copy()
        weights = arrays["held_weights"].copy()
        model._held = Rows(arrays["held"].copy(), weights, np.full(len(weights), np.nan))
        return model

    def _flat(self) -> Float64:
        """Lay the grid on the plane of the main axes of the rows held, two deviations wide each way."""
        draws = np.random.default_rng(self.seed).random((2, len(self._nodes))) - 0.5
        mean, first, second = kohonen.plane(self._held.points, self._held.weights, draws)
        low, high = self.positions_.min(axis=0), self.positions_.max(axis=0)
        middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 0.5)
        x, y = ((self.positions_ - middle) / reach).T
        # The longer side of the grid lies along the longer axis.
        x, y = (x, y) if reach[0] >= reach[1] else (y, x)
        places: Float64 = mean + 2 * x[:, None] * first + 2 * y[:, None] * second
        return places

    def _fold(self, rows: Rows) -> None:
        kohonen.fold(rows.points, rows.weights, self._nodes, self.counts_, self._apart, self._state, *self._schedule)


def positions(k: int) -> Float64:
    """Give the places of k nodes on the grid that a map of so many has by default, float64[k, 2]; neighbors are 1 apart."""
    return _positions(_shape(k), hexagonal=True)


def _shape(k: int) -> tuple[int, int]:
    """Find the rows and columns of k nodes that are nearest to a square."""
    rows = next(rows for rows in range(int(k**0.5), 0, -1) if k % rows == 0)
    return rows, k // rows


def _positions(shape: tuple[int, int], *, hexagonal: bool) -> Float64:
    """Place the nodes of a grid: every second row of a hexagonal one is half a step aside."""
    row, column = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    if hexagonal:
        return np.stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)], axis=1)
    return np.stack([column, row], axis=1).astype(np.float64)
