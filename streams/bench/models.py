"""Models: how good and how quick segments, similarity and recommendations are by themselves, without a broker."""

from __future__ import annotations

from typing import Any

from streams.bench import clusters, recommending, similarity
from streams.bench.figures import Figure
from streams.bench.place import Place


def run(place: Place, count: int) -> tuple[list[Figure], dict[str, Any]]:
    """Measure each, on `count` events, points or updates, or on a share of them."""
    parts = (clusters, similarity, recommending)
    return [figure for part in parts for figure in part.figures(count, say=place.say)], {}
