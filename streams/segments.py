"""What people read of segments: names, sizes, growth, best items, drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypedDict

import numpy as np

from streams.facets import Facets
from streams.models.models import Models
from streams.naming import name_all
from streams.settings import Settings

__all__ = ["Describer", "Fields", "Row", "in_use"]

_TOP = 10


class Fields(TypedDict):
    """The fields of a segment's hash."""

    name: str
    size: int
    share: float
    growth: float | None
    top: list[tuple[str, float]]
    centroid: list[float]
    since: float
    drift: float


class Row(NamedTuple):
    """A segment's id and fields."""

    segment: int
    fields: Fields


def in_use(models: Models) -> list[int]:
    """List the ids of the segments that there are; none before the first solve."""
    found: list[int] = models.segments.ids.tolist()
    return found


class Describer:
    """Describes segments; it remembers what catalogue tokens mean."""

    def __init__(self, settings: Settings) -> None:
        self._facets = Facets(settings.segments.utc_offset_hours)

    def rows(self, models: Models, before: Mapping[int, str]) -> list[Row]:
        """Describe every segment in use; ``before`` are the names they had, which stay while little changes."""
        segments = in_use(models)
        if not segments:
            return []
        names = name_all(segments, self._facets.of(models, segments), before)
        return [Row(segment, _fields(models, segment, names[segment])) for segment in segments]


def _fields(models: Models, segment: int, name: str) -> Fields:
    size, everyone = int(models.members.sizes[segment]), int(models.members.sizes.sum())
    growth = float(models.members.growth()[segment])
    return Fields(
        name=name,
        size=size,
        share=round(size / max(everyone, 1), 4),
        growth=None if np.isnan(growth) else round(growth, 4),
        top=_top(models, segment),
        centroid=[round(float(value), 6) for value in models.segments.cluster_centers_[segment]],
        since=float(models.solved_at[segment]),
        drift=float(models.drift()[segment]),
    )


def _top(models: Models, segment: int) -> list[tuple[str, float]]:
    items, lifts = models.popularity.lifts(segment)
    best = np.lexsort((items, -lifts))[:_TOP]
    names = models.items.names(items[best])
    return [(name.decode(), round(float(lift), 4)) for name, lift in zip(names, lifts[best], strict=True)]
