"""Rows with weights and times: what teaches the models that learn row by row, and what the learned log carries for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from streams.models.compile import ArrayLike, Float64, column

__all__ = ["Rows"]


@dataclass(slots=True)
class Rows:
    """A batch as a delta: adding is joining, so two batches teach what both in one do, to the same bytes.

    ``points`` float64[n, d]; ``weights`` float64[n]; ``times`` float64[n], NaN where a row has none.
    """

    points: Float64
    weights: Float64
    times: Float64

    def __add__(self, other: Rows) -> Rows:
        """Say what both batches say, in order."""
        return Rows(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.times, other.times]),
        )

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.points[part], self.weights[part], self.times[part])

    @classmethod
    def checked(
        cls,
        X: ArrayLike,
        dimensions: int,
        sample_weight: ArrayLike | None = None,
        times: ArrayLike | None = None,
    ) -> Self:
        """Take X float[n, d] with weights (default 1) and times (default none); rows of weight 0 say nothing and go.

        Raises
        ------
        ValueError
            If the shapes do not fit each other or the ``dimensions`` known before (0: none), if a point or a weight is not
            finite, or a weight is negative.
        """
        points = column(X, np.float64)
        if points.ndim != 2:
            raise ValueError(f"a batch has rows and columns; this has shape {points.shape}")
        if dimensions not in {0, points.shape[1]}:
            raise ValueError(f"{points.shape[1]} columns, {dimensions} before")
        n = len(points)
        weights = np.ones(n) if sample_weight is None else column(sample_weight, np.float64)
        moments = np.full(n, np.nan) if times is None else column(times, np.float64)
        if weights.shape != (n,) or moments.shape != (n,):
            raise ValueError(f"{n} rows with weights of shape {weights.shape} and times of shape {moments.shape}")
        if not (np.isfinite(points).all() and np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("points must be finite, weights finite and not negative")
        if times is not None and not np.isfinite(moments).all():
            raise ValueError("times must be finite seconds")
        some = weights > 0
        return cls(points, weights, moments) if some.all() else cls(points[some], weights[some], moments[some])
