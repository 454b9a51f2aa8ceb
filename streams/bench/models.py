"""Models: how good and how quick segments, similarity, recommendations and the fold are by themselves, without a broker."""

from __future__ import annotations

from streams.bench import clusters, folding, recommending, similarity
from streams.bench.figures import Told, Wanted, bars
from streams.bench.place import Place


def run(place: Place, wanted: Wanted) -> Told:
    """Measure each, on `count` events, points or updates, or on a share of them."""
    parts = (clusters, similarity, recommending, folding)
    figures = [figure for part in parts for figure in part.figures(wanted.count, runs=wanted.runs, say=place.say)]
    return Told(figures, panels=[bars(figure) for figure in figures if figure.peers])
