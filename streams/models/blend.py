"""The blend: how much each source's word counts, learned from what users did next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.models.compile import column, kernel
from streams.models.decay import weight
from streams.models.gradient import gradients
from streams.models.hidden import CONTEXT, Hidden, Net, add_up
from streams.models.sources import FEATURES, SOURCES, TRAITS

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
# And of the traits: what was shown ten times for nothing, or is like what was disliked, goes down by about a source's word.
_PRIOR_OF_TRAITS = {"shown": -2.0, "disliked": -1.0}

_S = len(SOURCES)

# Squared gradient that stands at the start, about what 50 events bring: the first steps are then steps, not jumps.
_START = 1.0

# The guard looks back over so many judged lists (half-life), gains so much for each while the blend is behind its best
# source, and forgets by half in so many when it is not. At its most a source rules whatever the blend has learned.
_WATCHED, _GAIN, _EASED, _MOST = 2000.0, 0.01, 500.0, 20.0
# To speak up, it must be behind by more than chance brings: so many standard deviations of the source's hits. Once it is
# heard, it stays until the blend has caught up.
_SURE = 2.0

_BOTTOMLESS = np.full(FEATURES, -math.inf)

# A batch's gradients are all taken at the weights before it: thousands that agree must not carry them past the optimum.
_LONGEST = 0.3


@dataclass(slots=True)
class BlendDelta:
    """What events taught, by the segment of their user.

    ``segment`` int16[g] (-1 none); ``events`` int64[g]; ``gradient`` float64[g, 2 F]: sums of the events' gradients by the
    linear weights, then sums of their squares; ``hidden`` float64[h, N]: rows as ``Hidden.summed`` gives them.
    """

    segment: NDArray[np.int16]
    events: NDArray[np.int64]
    gradient: NDArray[np.float64]
    hidden: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def __add__(self, other: BlendDelta) -> BlendDelta:
        """Say what both say."""
        return _by_segment(
            np.concatenate([self.segment, other.segment]),
            np.concatenate([self.events, other.events]),
            np.concatenate([self.gradient, other.gradient]),
            [*self.hidden, *other.hidden],
        )


def _by_segment(
    segments: NDArray[np.int16], events: NDArray[np.int64], gradients: NDArray[np.float64], hidden: Sequence[NDArray[np.float64]]
) -> BlendDelta:
    found, places = np.unique(segments, return_inverse=True)
    counts, sums = np.zeros(len(found), np.int64), np.zeros((len(found), gradients.shape[1]))
    np.add.at(counts, places, events)
    np.add.at(sums, places, gradients)
    return BlendDelta(found.astype(np.int16), counts, sums, np.array([sum(hidden)]) if hidden else np.zeros((0, 0)))


@kernel
def _step(
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    keep: float,
    rate: float,
    floor: NDArray[np.float64],
    weights: NDArray[np.float64],
    seen: NDArray[np.float64],
) -> None:
    """Step by Adagrad down a summed gradient, to no weight below its floor."""
    for f in range(weights.shape[0]):
        seen[f] = keep * seen[f] + squares[f]
        step = rate * sums[f] / math.sqrt(_START + seen[f])
        weights[f] = max(weights[f] - min(max(step, -_LONGEST), _LONGEST), floor[f])


@kernel
def _fold(
    segments: NDArray[np.int16],
    events: NDArray[np.int64],
    gradient: NDArray[np.float64],
    memory: float,
    rate: float,
    floors: NDArray[np.float64],
    weights: NDArray[np.float64],
    seen: NDArray[np.float64],
    offsets: NDArray[np.float64],
    seen_by_segment: NDArray[np.float64],
    events_by_segment: NDArray[np.int64],
) -> None:
    """Step the global weights by all that was taught, and each segment's offsets by its own part; ``floors`` float64[2, F]."""
    width, taught = weights.shape[0], 0
    total = np.zeros(2 * width)
    for g in range(segments.shape[0]):
        taught += events[g]
        for f in range(2 * width):
            total[f] += gradient[g, f]
    _step(total[:width], total[width:], weight(taught, memory), rate, floors[0], weights, seen)
    for g in range(segments.shape[0]):
        segment = np.int64(segments[g])
        if 0 <= segment < offsets.shape[0]:
            events_by_segment[segment] += events[g]
            sums, squares, keep = gradient[g, :width], gradient[g, width:], weight(events[g], memory)
            _step(sums, squares, keep, rate, floors[1], offsets[segment], seen_by_segment[segment])


@kernel
def _sum(
    rows: NDArray[np.float64],
    of: NDArray[np.int16],
    features: int,
    place: NDArray[np.int64],
    segments: NDArray[np.int16],
    events: NDArray[np.int64],
    gradient: NDArray[np.float64],
    hidden: NDArray[np.float64],
) -> int:
    """Sum by segment the rows of events that teach; ``place`` int64 by segment + 1, of -1. Gives the number of segments found."""
    found = 0
    for n in range(rows.shape[0]):
        if rows[n, rows.shape[1] - 1] <= 0.0:
            continue
        if place[of[n] + 1] < 0:
            place[of[n] + 1], segments[found] = found, of[n]
            found += 1
        at = place[of[n] + 1]
        events[at] += 1
        for f in range(features):
            gradient[at, f] += rows[n, f]
            gradient[at, features + f] += rows[n, f] * rows[n, f]
        add_up(features + CONTEXT, rows[n, features:], hidden)
    return found


@kernel
def _weigh(
    segments: NDArray[np.int16],
    weights: NDArray[np.float64],
    guard: NDArray[np.float64],
    offsets: NDArray[np.float64],
    events: NDArray[np.int64],
    shrink: float,
    floor: NDArray[np.float64],
    found: NDArray[np.float32],
) -> None:
    """Add up each user's linear weights: the global ones, what the guard adds to a source's two, and the segment's offsets."""
    sources = guard.shape[0]
    for n in range(segments.shape[0]):
        segment, share = np.int64(segments[n]), 0.0
        if 0 <= segment < offsets.shape[0]:
            share = events[segment] / (events[segment] + shrink)
        for f in range(weights.shape[0]):
            weight = weights[f] + (guard[f % sources] if f < 2 * sources else 0.0)
            if share > 0.0:
                weight += share * offsets[segment, f]
            found[n, f] = max(weight, floor[f])


class Blend:
    """Weights of the sources' features, learned online by a listwise loss.

    A candidate's score is the weighted sum of its features (per source the root of its relative score and 1 / rank, then
    the traits), and what a small hidden layer makes of them together with what is known of the user and the moment. The
    loss is the cross-entropy of the softmax over the candidates of the list that was published with what the user did
    next (ListNet's top-one loss). Steps are Adagrad's. A segment has offsets of its own, which count n / (n + shrink)
    after n events.

    A guard watches the hits: while a source has had more of late than the blend, that source's weights rise, until its word is
    law if need be. So a blend that was led astray falls back on its best source, and learns on from there.

    Adagrad's accumulators take the squares event by event, not the square of a batch's sum: the square of a sum grows
    by n² where the events of a batch agree and by n where they do not, so learning would depend on how events fall into
    batches. So the way travelled over N events is the same for every batch size, but for the weights at which gradients
    are taken.

    Parameters
    ----------
    segments : int
        Segments that can have offsets; users of others have the global weights.
    rate : float
        Step of a feature whose gradient always points the same way, over the root of the events so far.
    floor : float
        No weight of a source is below it: one that was of no use stays visible, and can come back.
    shrink : float
        Events after which a segment's offsets count half.
    memory : float
        Events after which a squared gradient counts half, so that the blend never stops learning.
    seed : int
        Of the hidden layer.

    Attributes
    ----------
    weights : float64[F]
        Global, linear.
    hidden : Hidden
        The hidden layer.
    offsets : float64[segments, F]
        Of each segment, from the global weights.
    events : int64[segments]
        Taught per segment.
    guard : float64[S]
        What the guard adds to both weights of a source.

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
        segments: int = 64,
        *,
        rate: float = 0.2,
        floor: float = 0.01,
        shrink: float = 200.0,
        memory: float = 1e6,
        seed: int = 0,
    ) -> None:
        if segments < 0 or floor < 0 or not (rate > 0 and shrink > 0 and memory > 0):
            raise ValueError(f"out of range: {segments=}, {rate=}, {floor=}, {shrink=}, {memory=}")
        self.rate, self.shrink, self.memory = rate, shrink, memory
        self.floor = np.array([floor] * 2 * _S + [-math.inf] * len(TRAITS))
        believed = np.array([_PRIOR[name] for name in SOURCES]).T.ravel()
        traits = [_PRIOR_OF_TRAITS.get(name, 0.0) for name in TRAITS]
        self.weights = np.maximum(np.concatenate([believed, traits]), self.floor)
        self.hidden = Hidden(FEATURES, rate / 2, seed)
        self.offsets = np.zeros((segments, FEATURES))
        self.events = np.zeros(segments, np.int64)
        self.guard, self.recent = np.zeros(_S), np.zeros(_S + 1)
        self._floors = np.stack([self.floor, _BOTTOMLESS])
        self._seen = np.zeros(FEATURES)
        self._seen_by_segment = np.zeros((segments, FEATURES))

    @property
    def taught(self) -> int:
        """Count the columns of a row that says what one event teaches."""
        return FEATURES + self.hidden.size + 1

    def weights_for(self, segments: ArrayLike) -> NDArray[np.float32]:
        """Give the linear weights for users of these segments (-1: none), float32[n, F], none below the floor."""
        return self._linear(segments, self.guard)

    def net(self, segments: ArrayLike) -> Net:
        """Give all that scores candidates for users of these segments."""
        return self.hidden.net(self.weights_for(segments))

    def named_weights(self) -> dict[str, float]:
        """Give each source's share of the global weights: of the score's and the rank's together."""
        both = self.weights[: 2 * _S].reshape(2, _S).sum(axis=0)
        return dict(zip(SOURCES, (both / both.sum()).tolist(), strict=True))

    def gradients(
        self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, segments: ArrayLike, contexts: ArrayLike
    ) -> BlendDelta:
        """Say what n events teach at the present weights, summed by segment; arguments as of ``each``. Changes nothing."""
        return self.summed(self.each(kept_items, kept_features, targets, segments, contexts), segments)

    def summed(self, rows: NDArray[np.float64], segments: ArrayLike) -> BlendDelta:
        """Sum the rows that ``each`` gave for events of these segments."""
        of = column(segments, np.int16)
        place = np.full(int(of.max(initial=-1)) + 2, -1, np.int64)
        most = min(len(rows), len(place))
        found, events, gradient = np.zeros(most, np.int16), np.zeros(most, np.int64), np.zeros((most, 2 * FEATURES))
        hidden = np.zeros((1, self.hidden.taught_size))
        size = _sum(rows, of, FEATURES, place, found, events, gradient, hidden[0])
        order = np.argsort(found[:size])
        return BlendDelta(found[:size][order], events[order], gradient[order], hidden[: min(size, 1)])

    def each(
        self, kept_items: ArrayLike, kept_features: ArrayLike, targets: ArrayLike, segments: ArrayLike, contexts: ArrayLike
    ) -> NDArray[np.float64]:
        """Give each event's gradient at the present weights and whether it teaches at all (1 or 0): float64[n, F + hidden + 1].

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
        contexts : float32[n, C]
            What was known of user and moment.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        kept, features = column(kept_items, np.int32), column(kept_features, np.float32)
        goals, of, moments = column(targets, np.int32), column(segments, np.int16), column(contexts, np.float32)
        if features.shape != (*kept.shape, FEATURES) or not len(kept) == len(goals) == len(of):
            raise ValueError(f"{kept.shape} items, {features.shape} features, {len(goals)} targets, {len(of)} segments")
        if moments.shape != (len(kept), CONTEXT):
            raise ValueError(f"{moments.shape} contexts for {len(kept)} events of {CONTEXT}")
        found = np.zeros((len(kept), self.taught))
        # Of what was learned alone: a guard that shouts would have to be learned against, and would drown what users did.
        gradients(kept, features, moments, goals, self.hidden.net(self._linear(of, np.zeros(_S))), found)
        return found

    def _linear(self, segments: ArrayLike, guard: NDArray[np.float64]) -> NDArray[np.float32]:
        of = column(segments, np.int16)
        found = np.empty((len(of), FEATURES), np.float32)
        _weigh(of, self.weights, guard, self.offsets, self.events, self.shrink, self.floor, found)
        return found

    def apply(self, delta: BlendDelta) -> None:
        """Fold what events taught: one step of the global weights and the hidden layer, and one of each segment's offsets."""
        if not len(delta.segment):
            return
        taught = column(delta.gradient, np.float64)
        learned = self.weights, self._seen, self.offsets, self._seen_by_segment, self.events
        segments, events = column(delta.segment, np.int16), column(delta.events, np.int64)
        _fold(segments, events, taught, self.memory, self.rate, self._floors, *learned)
        keep = weight(int(delta.events.sum()), self.memory)
        for row in column(delta.hidden, np.float64):
            self.hidden.apply(row, keep)

    def forget(self, segments: NDArray[np.int64]) -> None:
        """Forget the offsets of these segments."""
        for array in (self.offsets, self.events, self._seen_by_segment):
            array[segments] = 0

    def watch(self, hits: NDArray[np.int64], judged: int) -> None:
        """Fold the hits of each source and, last, of the blend: int64[S + 1], out of so many lists."""
        self.recent = weight(judged, _WATCHED) * self.recent + hits
        best = int(self.recent[:-1].argmax())
        held = self.guard[best]
        self.guard *= weight(judged, _EASED)
        chance = 0.0 if held >= 1.0 else _SURE * math.sqrt(self.recent[best])
        if self.recent[best] > self.recent[-1] + chance:
            self.guard[best] = min(held + _GAIN * judged, _MOST)

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
        found = np.zeros((len(kept), _S + 1), np.int64)
        # Half a rank of room, because features may have been kept as bytes.
        found[events, :-1] = features[events, places, _S : 2 * _S] >= 1.0 / (depth + 0.5)
        found[events, -1] = places < depth
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the model has learned."""
        return {
            "weights": self.weights.copy(),
            "offsets": self.offsets.copy(),
            "events": self.events.copy(),
            "guard": self.guard.copy(),
            "recent": self.recent.copy(),
            "seen": self._seen.copy(),
            "seen_by_segment": self._seen_by_segment.copy(),
            **{f"hidden.{name}": array for name, array in self.hidden.arrays().items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], segments: int = 64, **parameters: Any) -> Self:
        """Make the blend that gave these arrays; the parameters are the constructor's."""
        model = cls(segments, **parameters)
        model.weights = np.array(arrays["weights"], np.float64)
        model.offsets = np.array(arrays["offsets"], np.float64)
        model.guard, model.recent = np.array(arrays["guard"], np.float64), np.array(arrays["recent"], np.float64)
        model.events = np.array(arrays["events"], np.int64)
        model._seen = np.array(arrays["seen"], np.float64)
        model._seen_by_segment = np.array(arrays["seen_by_segment"], np.float64)
        model.hidden.restore({name[7:]: array for name, array in arrays.items() if name.startswith("hidden.")})
        return model
