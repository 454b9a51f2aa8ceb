"""What people read of segments: names by lift, sizes, best items, drift."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from streams.models.models import Models

__all__ = ["Row", "segments_of"]

_TOP = 10
_WORDS = 2
# A label must hold this share of what a segment does, or its lift is an accident.
_LEAST_SHARE = 0.02


class Fields(TypedDict):
    """The fields of a segment's hash."""

    name: str
    size: int
    top: list[tuple[str, float]]
    centroid: list[float]
    since: float
    drift: float


class Row(NamedTuple):
    """A segment's id and fields."""

    segment: int
    fields: Fields


def segments_of(models: Models) -> list[Row]:
    """Describe every segment; none before the first solve."""
    if not models.segments.initialised:
        return []
    names, drift = _names(models), models.drift()
    return [
        Row(
            segment,
            Fields(
                name=names[segment],
                size=int(models.segment_sizes[segment]),
                top=_top(models, segment),
                centroid=[round(float(value), 6) for value in models.segments.cluster_centers_[segment]],
                since=models.solved_at,
                drift=float(drift[segment]),
            ),
        )
        for segment in range(models.segments.k)
    ]


def _top(models: Models, segment: int) -> list[tuple[str, float]]:
    items, lifts = models.popularity.lifts(segment)
    best = np.lexsort((items, -lifts))[:_TOP]
    names = models.items.names(items[best])
    return [(name.decode(), round(float(lift), 4)) for name, lift in zip(names, lifts[best], strict=True)]


def _names(models: Models) -> list[str]:
    """Name each segment by the labels that it likes most above their share in all segments."""
    catalog, k = models.catalog, models.segments.k
    items = len(models.items)
    tokens = catalog.item_tokens[:items]
    held = np.flatnonzero(tokens >= 0)
    labels = [catalog.label(token) for token in range(len(catalog.tokens))]
    mass = np.zeros((k, len(labels)))
    for segment in range(k):
        counts = np.repeat(models.popularity.by_segment[segment, :items], tokens.shape[1])
        mass[segment] = np.bincount(tokens.ravel()[held], counts[held], minlength=len(labels))
    mass[:, [label is None for label in labels]] = 0.0
    return [_name(labels, share, segment) for segment, share in enumerate(_lift(mass))]


def _lift(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each label's lift in each segment, 0 where its share is too small to speak of."""
    share = mass / np.maximum(mass.sum(axis=1, keepdims=True), 1e-12)
    overall = mass.sum(axis=0) / max(mass.sum(), 1e-12)
    lift: NDArray[np.float64] = np.where(share >= _LEAST_SHARE, share / np.maximum(overall, 1e-12), 0.0)
    return lift


def _name(labels: list[str | None], lift: NDArray[np.float64], segment: int) -> str:
    best = [token for token in np.argsort(-lift, kind="stable")[:_WORDS].tolist() if lift[token] > 0]
    return " · ".join(str(labels[token]) for token in best) or f"segment {segment}"
