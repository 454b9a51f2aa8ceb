"""What groups users: one of three clusterers, made, taught and read in one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from streams.models.compile import Array, Float32, Float64
from streams.models.dbstream import DBStream
from streams.models.kmeans import Delta, KMeans
from streams.models.lesson import Lesson
from streams.models.som import SOM

__all__ = ["Clusterer", "clusterer", "learn", "restored", "say"]

Clusterer: TypeAlias = KMeans | DBStream | SOM

# User vectors that a lesson carries for K-means' reservoir: enough to re-solve from, few enough to be cheap in an idle system.
_SAMPLE = 16
# The same where they are all that is learned from: 8 kB at 32 dimensions.
_ROWS = 64
# Between vectors of people balls meet nearly everywhere: more must be shared than in a few dimensions.
_DENSE: dict[str, Any] = {"alpha": 0.3}


def clusterer(method: str = "kmeans", **parameters: Any) -> Clusterer:
    """Make the clusterer of a method from the settings of segments."""
    return _CLASSES[method](**_own(method, parameters))


def restored(arrays: Mapping[str, Array], method: str = "kmeans", **parameters: Any) -> Clusterer:
    """Make the clusterer that gave these arrays."""
    return _CLASSES[method].from_arrays(arrays, **_own(method, parameters))


_CLASSES: dict[str, type[Clusterer]] = {"kmeans": KMeans, "dbstream": DBStream, "som": SOM}


def _own(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings the names that they have with a method."""
    own = dict(parameters)
    if method == "kmeans":
        return own | {"solve_self": False}
    half_life = own.pop("half_life", None)
    name, default = ("half_life", _DENSE) if method == "dbstream" else ("memory", {})
    return default | own | {"relative": True} | ({} if half_life is None else {name: half_life})


def say(model: Clusterer, lesson: Lesson, vectors: Float32, visits: Float64, events: Sequence[int]) -> None:
    """Add to a lesson what users' vectors float32[n, d] teach: of ``visits`` that it holds, and ``events`` in all.

    For K-means a user counts once per visit, so that its statistics do not depend on where batches end. Rows for the others
    weigh 1/n for a user's n-th event: somebody restless, a bot for one, is no crowd, wherever batches end. They count relative
    to the mean, or what old users do would weigh nothing.
    """
    step = -(-len(vectors) // (_SAMPLE if isinstance(model, KMeans) else _ROWS))
    lesson.sample = vectors[::step]
    if not isinstance(model, KMeans):
        lesson.counts = np.array([_weight(*pair) for pair in zip(visits[::step], events[::step], strict=True)])
        return
    delta = model.delta(vectors, visits)
    touched = np.flatnonzero(delta.counts)
    lesson.segments = touched.astype(np.int16)
    lesson.counts, lesson.sums, lesson.sse = delta.counts[touched], delta.sums[touched], delta.sse[touched]


def _weight(visits: float, events: int) -> float:
    first = max(events - int(visits), 0)
    return sum(1.0 / number for number in range(first + 1, first + int(visits) + 1))


def learn(model: Clusterer, lesson: Lesson) -> None:
    """Fold what a lesson says of the users' vectors."""
    if not isinstance(model, KMeans):
        if len(lesson.sample):
            model.partial_fit(lesson.sample, lesson.counts)
        return
    if len(lesson.segments):
        delta = Delta.zeros(model.capacity, lesson.sums.shape[1])
        delta.counts[lesson.segments] = lesson.counts
        delta.sums[lesson.segments] = lesson.sums
        delta.sse[lesson.segments] = lesson.sse
        model.apply(delta)
    if len(lesson.sample):
        model.apply_sample(lesson.sample)
