"""The blend: how much each source's word counts, learned from what users did next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models.compile import column, kernel
from streams.models.decay import weight
from streams.models.sources import FEATURES, SOURCES

__all__ = ["Blend", "BlendDelta"]

# What an untrained blend believes of each source (its score, its rank): the sources that know the user first.
_PRIOR = {
    "neighbors": (0.8, 0.1),
    "path": (1.2, 0.2),
    "covisit": (2.0, 0.2),
    "next": (0.8, 0.2),
    "popular": (0.3, 0.1),
    "trending": (0.3, 0.1),
    "segment": (0.3, 0.1),
    "content": (0.5, 0.2),
    "repeat": (1.8, 0.5),
    "new": (0.1, 0.1),
}

# Squared gradient that stands at the start, about what 50 events bring: the first steps are then steps, not jumps.
_START = 1.0

# A batch's gradients are all taken at the weights before it: thousands that agree must not carry them past the optimum.
_LONGEST = 0.3


@dataclass(slots=True)
class BlendDelta:
    """What events taught, by the segment of their user.

    ``segment`` int16[g] (-1 none); ``events`` int64[g]; ``gradient`` float64[g, 2 F]: sums of the events' gradients,
    then sums of their squares.
    """

    segment: NDArray[np.int16]
    events: NDArray[np.int64]
    gradient: NDArray[np.float64]

    def __add__(self, other: BlendDelta) -> BlendDelta:
        """Say what both say."""
        return _by_segment(
            np.concatenate([self.segment, other.segment]),
            np.concatenate([self.events, other.events]),
            np.concatenate([self.gradient, other.gradient]),
        )


def _by_segment(segments: NDArray[np.int16], events: NDArray[np.int64], gradients: NDArray[np.float64]) -> BlendDelta:
    found, places = np.unique(segments, return_inverse=True)
    counts, sums = np.zeros(len(found), np.int64), np.zeros((len(found), gradients.shape[1]))
    np.add.at(counts, places, events)
    np.add.at(sums, places, gradients)
    return BlendDelta(found.astype(np.int16), counts, sums)


@kernel
def _gradients(
    kept: NDArray[np.int32],
    features: NDArray[np.float32],
    targets: NDArray[np.int32],
    weights: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Write each event's gradient of -log softmax(weights . features)[target], and 1; 0 where it is no candidate."""
    score, width = np.empty(kept.shape[1]), features.shape[2]
    for n in range(kept.shape[0]):
        right, size, highest = -1, 0, -np.inf
        while size < kept.shape[1] and kept[n, size] >= 0:
            if kept[n, size] == targets[n]:
                right = size
            score[size] = 0.0
            for f in range(width):
                score[size] += weights[n, f] * features[n, size, f]
            highest = max(highest, score[size])
            size += 1
        if right < 0 or targets[n] < 0:
            continue
        total = 0.0
        for c in range(size):
            score[c] = math.exp(score[c] - highest)
            total += score[c]
        for c in range(size):
            chance = score[c] / total - (1.0 if c == right else 0.0)
            for f in range(width):
                found[n, f] += chance * features[n, c, f]
        found[n, width] = 1.0


@kernel
def _step(
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    keep: float,
    rate: float,
    floor: float,
    weights: NDArray[np.float64],
    seen: NDArray[np.float64],
) -> None:
    """Step by Adagrad down a summed gradient, to no weight below the floor."""
    for f in range(weights.shape[0]):
        seen[f] = keep * seen[f] + squares[f]
        step = rate * sums[f] / math.sqrt(_START + seen[f])
        weights[f] = max(weights[f] - min(max(step, -_LONGEST), _LONGEST), floor)


class Blend:
    """Weights of the sources' features, learned online by a listwise loss.

    A candidate's score is the weighted sum of its features: per source the root of its relative score and 1 / rank. The
    loss is the cross-entropy of the softmax over the candidates of the list that was published with what the user did
    next (ListNet's top-one loss). Steps are Adagrad's. A segment has offsets of its own, which count n / (n + shrink)
    after n events.

    Adagrad's accumulators take the squares event by event, not the square of a batch's sum: the square of a sum grows
    by n² where the events of a batch agree and by n where they do not, so learning would depend on how events fall into
    batches. So the way travelled over N events is the same for every batch size, but for the weights at which gradients
    are taken.

    Parameters
    ----------
    features : int
        F.
    segments : int
        Segments that can have offsets; users of others have the global weights.
    rate : float
        Step of a feature whose gradient always points the same way, over the root of the events so far.
    floor : float
        No weight is below it: a source that was of no use stays visible, and can come back.
    shrink : float
        Events after which a segment's offsets count half.
    memory : float
        Events after which a squared gradient counts half, so that the blend never stops learning.

    Attributes
    ----------
    weights : float64[F]
        Global.
    offsets : float64[segments, F]
        Of each segment, from the global weights.
    events : int64[segments]
        Taught per segment.

    References
    ----------
    Z. Cao et al.: Learning to rank: from pairwise approach to listwise approach, ICML 2007 (the loss).
    J. Duchi, E. Hazan, Y. Singer: Adaptive subgradient methods for online learning and stochastic optimization,
    JMLR 12, 2011: the accumulator sums the squares of the single events' subgradients.
    E. Frigó, L. Kocsis: Online ranking combination, RecSys 2019 (blending online).

    Examples
    --------
    >>> blend = Blend()
    >>> weights = blend.named_weights()
    >>> weights["covisit"] > weights["popular"] > weights["new"]
    True
    """

    def __init__(
        self,
        features: int = FEATURES,
        segments: int = 64,
        *,
        rate: float = 0.2,
        floor: float = 0.01,
        shrink: float = 200.0,
        memory: float = 1e6,
    ) -> None:
        if features < 2 or features % 2 or segments < 0 or floor < 0 or not (rate > 0 and shrink > 0 and memory > 0):
            raise ValueError(f"out of range: {features=}, {segments=}, {rate=}, {floor=}, {shrink=}, {memory=}")
        self.rate, self.floor, self.shrink, self.memory = rate, floor, shrink, memory
        self.weights = np.ones(features)
        if features == FEATURES:
            self.weights[:] = np.array([_PRIOR[name] for name in SOURCES]).T.ravel()
        self.weights = np.maximum(self.weights, floor)
        self.offsets = np.zeros((segments, features))
        self.events = np.zeros(segments, np.int64)
        self._seen = np.zeros(features)
        self._seen_by_segment = np.zeros((segments, features))

    def weights_for(self, segments: ArrayLike) -> NDArray[np.float32]:
        """Give the weights for users of these segments (-1: none), float32[n, F], none below the floor."""
        return self._weights(column(segments, np.int16)).astype(np.float32)

    def named_weights(self) -> dict[str, float]:
        """Give each source's share of the global weights: of the score's and the rank's together."""
        both = self.weights.reshape(2, -1).sum(axis=0)
        return dict(zip(SOURCES, (both / both.sum()).tolist(), strict=True))

    def gradients(self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, segments: ArrayLike) -> BlendDelta:
        """Say what n events teach at the present weights, summed by segment; arguments as of ``each``. Changes nothing."""
        return self.summed(self.each(kept_items, kept_features, targets, segments), segments)

    def summed(self, rows: NDArray[np.float64], segments: ArrayLike) -> BlendDelta:
        """Sum the rows that ``each`` gave for events of these segments."""
        width = len(self.weights)
        taught, each = rows[:, width] > 0, rows[:, :width]
        sums = np.concatenate([each, each * each], axis=1)[taught]
        return _by_segment(column(segments, np.int16)[taught], np.ones(len(sums), np.int64), sums)

    def each(
        self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, segments: ArrayLike
    ) -> NDArray[np.float64]:
        """Give each event's gradient at the present weights and whether it teaches at all (1 or 0): float64[n, F + 1].

        Parameters
        ----------
        kept_items : int32[n, C]
            Candidates of the list each user was given; -1 pads at the end.
        kept_features : float32[n, C, F]
            Their features.
        targets : int32[n]
            What the user did next; an event whose item is no candidate teaches nothing.
        segments : int16[n]
            Segment of the user, -1 none.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        kept, features = column(kept_items, np.int32), column(kept_features, np.float32)
        goals, of, width = column(targets, np.int32), column(segments, np.int16), len(self.weights)
        if features.shape != (*kept.shape, width) or not len(kept) == len(goals) == len(of):
            raise ValueError(f"{kept.shape} items, {features.shape} features, {len(goals)} targets, {len(of)} segments")
        found = np.zeros((len(kept), width + 1))
        _gradients(kept, features, goals, self._weights(of), found)
        return found

    def apply(self, delta: BlendDelta) -> None:
        """Fold what events taught: one step of the global weights, and one of each segment's offsets."""
        if not len(delta.segment):
            return
        width = len(self.weights)
        gradient = column(delta.gradient, np.float64)
        total = np.zeros(2 * width)
        for row in gradient:
            total += row
        taught = int(delta.events.sum())
        keep = weight(taught, self.memory)
        _step(total[:width], total[width:], keep, self.rate, self.floor, self.weights, self._seen)
        for segment, events, row in zip(delta.segment.tolist(), delta.events.tolist(), gradient, strict=True):
            if 0 <= segment < len(self.offsets):
                self.events[segment] += events
                keep, offsets, seen = weight(events, self.memory), self.offsets[segment], self._seen_by_segment[segment]
                _step(row[:width], row[width:], keep, self.rate, -math.inf, offsets, seen)

    def judge(self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, depth: int = 10) -> NDArray[np.int64]:
        """Count the events whose item was among the first ``depth`` of each source, last of the blend: int64[S + 1].

        The candidates are in the order of the blend, and none of its first ``depth`` is left out.
        """
        counts: NDArray[np.int64] = self.hits(kept_items, kept_features, targets, depth).sum(axis=0)
        return counts

    def hits(self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, depth: int = 10) -> NDArray[np.int64]:
        """Mark for each event who had its item among the first ``depth``: int64[n, S + 1], as in ``judge``."""
        kept, features = column(kept_items, np.int32), column(kept_features, np.float32)
        goals = column(targets, np.int32)
        events, places = np.nonzero((kept == goals[:, None]) & (kept >= 0))
        found = np.zeros((len(kept), len(self.weights) // 2 + 1), np.int64)
        # Half a rank of room, because features may have been kept as float16.
        found[events, :-1] = features[events, places, len(self.weights) // 2 :] >= 1.0 / (depth + 0.5)
        found[events, -1] = places < depth
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the model has learned."""
        return {
            "weights": self.weights.copy(),
            "offsets": self.offsets.copy(),
            "events": self.events.copy(),
            "seen": self._seen.copy(),
            "seen_by_segment": self._seen_by_segment.copy(),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], features: int = FEATURES, segments: int = 64, **parameters: Any
    ) -> Self:
        """Make the blend that gave these arrays; the parameters are the constructor's."""
        model = cls(features, segments, **parameters)
        model.weights = np.array(arrays["weights"], np.float64)
        model.offsets = np.array(arrays["offsets"], np.float64)
        model.events = np.array(arrays["events"], np.int64)
        model._seen = np.array(arrays["seen"], np.float64)
        model._seen_by_segment = np.array(arrays["seen_by_segment"], np.float64)
        return model

    def _weights(self, segments: NDArray[np.int16]) -> NDArray[np.float64]:
        own = (segments >= 0) & (segments < len(self.offsets))
        rows = segments[own]
        weights = np.tile(self.weights, (len(segments), 1))
        if len(rows):
            share = self.events[rows] / (self.events[rows] + self.shrink)
            weights[own] += share[:, None] * self.offsets[rows]
        return np.maximum(weights, self.floor)
