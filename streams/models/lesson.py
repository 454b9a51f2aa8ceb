"""A lesson: what one micro-batch of one partition taught, and all that followers need to fold it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.models.ids import Packed, pack
from streams.models.sources import FEATURES, SOURCES

__all__ = ["MERGED_AWAY", "Lesson"]

# Instead of the offset of a wish: the user's id was merged into a person's, and need not be sought where others name it.
MERGED_AWAY = int(np.iinfo(np.int64).max)


@dataclass(slots=True)
class Lesson:
    """Visits, segment sums, blend gradients and hits of one micro-batch: arrays only, so folding needs no parsing.

    Attributes
    ----------
    events : events taught
    user_ids, item_ids : the ids that the visits refer to, each once
    user_segments : int16[users], the segment of each user, -1 none
    users, items, weights, times : the visits in event order: uint32 places in the id lists, float32 > 0, float64 seconds
    types, kinds : names of types of events, and uint8 the place of each visit's type among them; 255 for one beyond them
    segments, counts, sums, sse : mini-batch K-means statistics of the g touched segments: int16[g], float64[g],
        float64[g, d], float64[g]
    sample : float32[r, d], a few user vectors for the reservoir; for the methods that learn from them, whose weights float64[r]
        are ``counts`` then, and the rest is empty
    blend_segments, blend_events, gradient : int16[b], int64[b], float64[b, 2 features], summed over the events of a segment
    hidden : float32[0 or 1, n], what all of them say of the blend's hidden layer
    hits, judged : int64[sources + 2] (last: the blend, and the list as it was published) out of ``judged`` events whose user had
        been given a list
    origins : int64[o, 2], (partition, offset) of the last re-keyed event of each origin
    forgotten, forgotten_at : ids of users whom the models erase before they learn the visits, and int64[f] the offset of the
        event by which each wished it, or ``MERGED_AWAY``
    """

    events: int = 0
    user_ids: Packed = field(default_factory=lambda: pack([]))
    user_segments: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    item_ids: Packed = field(default_factory=lambda: pack([]))
    users: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    items: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    weights: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    types: Packed = field(default_factory=lambda: pack([]))
    kinds: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    segments: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    sse: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sample: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    blend_segments: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))
    blend_events: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    gradient: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2 * FEATURES)))
    hidden: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    hits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SOURCES) + 2, np.int64))
    judged: int = 0
    origins: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    forgotten: Packed = field(default_factory=lambda: pack([]))
    forgotten_at: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
