"""Popularity: decayed counts of every item, over all and per segment, with their best lists kept at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from streams.models.compile import Array, ArrayLike, Float32, Float64, Int8, Int16, Int32, Int64, column, inlined, kernel
from streams.models.decay import exp2, gains, less, run_of, steps_to
from streams.models.extent import extent
from streams.models.leaving import close_up, more, new_indexes, renumber
from streams.models.visits import position_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streams.models.rings import Rings

__all__ = ["Popularity", "lift_of", "share_of"]

FEWEST_ITEMS = 256
# Segments that room is made for at a time: there may be many, and most shops have few.
SEGMENTS_AT_ONCE = 8
DAY = 86400.0

# A count below this says nothing any more. Forgetting it keeps every scaling by a power of two exact, in float32 too.
LEAST = 2.0**-100

# Visits an item of a segment is given at the overall rate before its own are believed.
PRIOR = 10.0


@kernel
def _rise(top: Int32, counts: Array, item: int) -> None:
    """Move an item whose count has grown to its place among the best; ties go to the lower index."""
    count, last = counts[item], top[top.size - 1]
    if count <= 0 or (last >= 0 and (counts[last] > count or (counts[last] == count and last < item))):
        return
    # Without an exit, so that it compiles to wide compares.
    place = np.int32(-1)
    for other in range(top.size):
        place = max(place, np.int32(other) if top[other] == item else np.int32(-1))
    place = place if place >= 0 else np.int32(top.size - 1)
    while place > 0:
        above = top[place - 1]
        if above >= 0 and (counts[above] > count or (counts[above] == count and above < item)):
            break
        top[place] = above
        place -= 1
    top[place] = item


@kernel
def _fade(counts: Array, top: Int32, factor: float) -> None:
    """Scale by a power of two; forget what is too small to matter, also among the best."""
    for n in range(counts.size):
        count = counts[n] * factor
        counts[n] = count if count >= LEAST else 0.0
    for place in range(top.size):
        if top[place] >= 0 and counts[top[place]] == 0:
            top[place] = -1


@kernel
def _count(
    items: Int32,
    weights: Float32,
    times: Float64,
    segments: Int16,
    half_lives: Float64,
    landmarks: Float64,
    short: Float64,
    long: Float64,
    by_segment: Float32,
    totals: Float64,
    first_seen: Float64,
    top_short: Int32,
    top_long: Int32,
    top_segment: Int32,
    newest: Int32,
) -> bool:
    """Count every visit, in order; tell whether the newest must be looked for anew: one of them was seen earlier than known."""
    stale = False
    weighed = np.empty((2, items.size))
    begin = 0
    while begin < items.size:
        steps = steps_to(times[begin], half_lives[0], landmarks, 0)
        if steps > 0:
            _fade(short, top_short, exp2(-steps))
        steps = steps_to(times[begin], half_lives[1], landmarks, 1)
        if steps > 0:
            _fade(long, top_long, exp2(-steps))
            _fade(totals, top_long[:0], exp2(-steps))
            for row in range(by_segment.shape[0]):
                _fade(by_segment[row], top_segment[row], exp2(-steps))
        until = run_of(times, begin, min(landmarks[0] + half_lives[0], landmarks[1] + half_lives[1]))
        for which in range(2):
            run = weighed[which, begin:until]
            gains(weights[begin:until], times[begin:until], half_lives[which], landmarks[which], run)
        for n in range(begin, until):
            item, segment, gain = items[n], segments[n], weighed[1, n]
            short[item] += weighed[0, n]
            _rise(top_short, short, item)
            long[item] += gain
            totals[-1] += gain
            _rise(top_long, long, item)
            if segment >= 0:
                by_segment[segment, item] += np.float32(gain)
                totals[segment] += gain
                _rise(top_segment[segment], by_segment[segment], item)
            seen = first_seen[item]
            if times[n] < seen:
                first_seen[item] = times[n]
                if seen == np.inf:
                    _arrive(first_seen, newest, item)
                else:
                    stale = stale or (newest == item).any()
        begin = until
    return stale


@kernel
def _arrive(first_seen: Float64, newest: Int32, item: int) -> None:
    """Give an item its place among those seen first most lately; on a tie the higher index goes first."""
    seen, place = first_seen[item], newest.size
    while place > 0:
        above = newest[place - 1]
        if above >= 0 and (first_seen[above] > seen or (first_seen[above] == seen and above > item)):
            break
        if place < newest.size:
            newest[place] = above
        place -= 1
    if place < newest.size:
        newest[place] = item


@kernel
def _newest(first_seen: Float64, newest: Int32) -> None:
    """Fill the list anew."""
    newest[:] = -1
    # From the last item back: indexes follow first appearance, so nearly all are turned away at once.
    for item in range(first_seen.size - 1, -1, -1):
        if first_seen[item] < np.inf:
            _arrive(first_seen, newest, item)


@kernel
def _best(counts: Array, top: Int32) -> None:
    """Fill a best list anew."""
    top[:] = -1
    for item in range(counts.size):
        _rise(top, counts, item)


@kernel
def _recount(items: Int32, half_life: float, landmark: float, walked: Rings, counts: Float64) -> None:
    """Count all visits of items, which the rings hold, in order."""
    length = walked.user_items.shape[1]
    for n in range(items.size):
        item, count = items[n], 0.0
        for cell in range(walked.item_count[item]):
            user = walked.item_users[item, cell]
            at = position_of(walked.item_positions[item, cell], walked.user_count[user]) % length
            count += walked.user_weights[user, at] * exp2((walked.user_times[user, at] - landmark) / half_life)
        counts[item] = count if count >= LEAST else 0.0


@kernel
def _silence(items: Int32, segments: Int64, walked: Rings, user_segments: Int8, by_segment: Float32) -> None:
    """Let nothing be left of segments' counts of items whose visits, which the rings hold, are all of others."""
    length = user_segments.shape[1]
    for n in range(items.size):
        for segment in segments:
            left = False
            for cell in range(walked.item_count[items[n]]):
                user = walked.item_users[items[n], cell]
                at = position_of(walked.item_positions[items[n], cell], walked.user_count[user]) % length
                left |= user_segments[user, at] == segment
            if not left:
                by_segment[segment, items[n]] = 0


@inlined
def share_of(totals: Any, segment: int) -> Any:
    """Give a segment's share of all visits."""
    return totals[segment] / max(totals[-1], LEAST)


@inlined
def lift_of(observed: Any, expected: float) -> Any:
    """Give by how much an item is visited more than expected; the count observed is a float32."""
    return np.float32(observed + np.float32(PRIOR)) / (expected + PRIOR)


@kernel
def _lifts(items: Int32, counts: Float32, long: Float64, share: float, lifts: Float64) -> None:
    for n in range(items.size):
        lifts[n] = lift_of(counts[items[n]], long[items[n]] * share)


class Popularity:
    """Decayed counts at a short and a long half-life, and per segment at the long one.

    Forward decay (Cormode, Shkapenyuk, Srivastava & Xu, ICDE 2009): a visit at time ``t`` adds
    ``w * 2**((t - landmark) / half_life)``, so nothing has to be touched while time passes, and the order of visits
    does not matter. The landmark is the last whole multiple of the half-life; when it moves, counts are scaled by an
    exact power of two, which keeps every order. So the best lists, kept by insertion at each visit, are always those
    that a full sort would give.

    Parameters
    ----------
    short, long : float
        Half-lives in seconds.
    segments : int
        How many segments are counted.
    top : int
        Length of each best list.

    Attributes
    ----------
    short, long : float64[I]
        Counts as of ``landmark_short`` and ``landmark_long``; 0 where none.
    by_segment : float32[counted, I]
        Counts of each segment as of ``landmark_long``; without those above the last that visited anything.
    totals : float64[segments + 1]
        Sums over all items of each segment and, last, of all visits, as of ``landmark_long``; items that left count on.
    first_seen : float64[I]
        Time of each item's earliest visit in seconds; infinity where none.
    top_short, top_long : int32[top]
        Items with the highest counts above 0, best first; ties: lower index first; -1 pads.
    top_segment : int32[segments, top]
        The same within each segment.
    top_new : int32[top]
        Items whose first visit is the latest; ties: higher index first; -1 pads.

    Examples
    --------
    >>> popularity = Popularity(short=60.0, top=3)
    >>> popularity.apply([7, 8, 7], [1, 1, 1], [0.0, 60.0, 60.0], [-1, 0, 0])
    >>> popularity.trending(60.0, 2)
    (array([7, 8], dtype=int32), array([1.5, 1. ]))
    """

    def __init__(self, *, short: float = DAY, long: float = 30 * DAY, segments: int = 64, top: int = 64) -> None:
        self._half_lives = np.array([short, long])
        self._landmarks = np.full(2, -np.inf)
        self._items = 0
        self.top_new: Int32 = np.full(top, -1, np.int32)
        self.short: Float64 = np.full(0, 0.0)
        self.long: Float64 = np.full(0, 0.0)
        self.by_segment: Float32 = np.full((0, 0), 0, np.float32)
        self.totals: Float64 = np.full(segments + 1, 0.0)
        self.first_seen: Float64 = np.full(0, np.inf)
        self.top_short: Int32 = np.full(top, -1, np.int32)
        self.top_long: Int32 = np.full(top, -1, np.int32)
        self.top_segment: Int32 = np.full((segments, top), -1, np.int32)
        self.reserve(FEWEST_ITEMS)

    @property
    def landmark_short(self) -> float:
        """Time of the counts in ``short``, in seconds; minus infinity before the first visit."""
        return float(self._landmarks[0])

    @property
    def landmark_long(self) -> float:
        """Time of the counts in ``long``, ``by_segment`` and ``totals``, in seconds."""
        return float(self._landmarks[1])

    def reserve(self, items: int, most: int = 0) -> None:
        """Make room for this many items, at least doubling what there is, but for room past the most (0: any)."""
        if items > len(self.short):
            size = more(items, len(self.short), most)
            self.short = _longer(self.short, size, 0)
            self.long = _longer(self.long, size, 0)
            self.by_segment = _longer(self.by_segment, size, 0)
            self.first_seen = _longer(self.first_seen, size, np.inf)

    def _reserve_segments(self, segments: int) -> None:
        """Make room for the counts of this many segments."""
        if segments > len(self.by_segment):
            rows = min(-(-segments // SEGMENTS_AT_ONCE) * SEGMENTS_AT_ONCE, len(self.top_segment))
            counts = np.full((rows, len(self.short)), 0, np.float32)
            counts[: len(self.by_segment)] = self.by_segment
            self.by_segment = counts

    def apply(self, items: ArrayLike, weights: ArrayLike, times: ArrayLike, segments: ArrayLike) -> None:
        """Learn visits, in order.

        Parameters
        ----------
        items : int32[n]
            Indexes.
        weights : float32[n]
            Above 0.
        times : float64[n]
            Seconds.
        segments : int16[n]
            Segment of the user; -1 for none.

        Raises
        ------
        ValueError
            If the columns differ in length or an index is out of range; nothing is learned then.
        """
        items, weights = column(items, np.int32), column(weights, np.float32)
        times, segments = column(times, np.float64), column(segments, np.int16)
        if not len(items) == len(weights) == len(times) == len(segments):
            raise ValueError(
                f"columns of {len(items)} items, {len(weights)} weights, {len(times)} times, {len(segments)} segments"
            )
        if not len(items):
            return
        (least, most), (first, last) = extent(items), extent(segments)
        if least < 0 or first < -1 or last >= len(self.top_segment):
            raise ValueError(f"a visit needs a known item and a segment below {len(self.top_segment)} or -1")
        self._items = max(self._items, most + 1)
        self.reserve(self._items)
        self._reserve_segments(last + 1)
        if _count(items, weights, times, segments, self._half_lives, self._landmarks, *self._state(), self.top_new):
            _newest(self.first_seen[: self._items], self.top_new)

    def forget(self, segments: Array) -> None:
        """Forget what was visited by segments, int[n], that are no more: their ids will stand for others."""
        self.by_segment[segments[segments < len(self.by_segment)]] = 0
        self.totals[segments], self.top_segment[segments] = 0, -1

    def take_back(self, items: Int32, weights: Float32, times: Float64, segments: Int16) -> None:
        """Let visits that were learned not count: columns as of :meth:`apply`, with item -1 for one that left.

        The best lists need :meth:`settle` afterwards.
        """
        short, long = (self._gains(weights, times, place) for place in range(2))
        here, told = items >= 0, segments >= 0
        self._reserve_segments(int(segments.max(initial=-1)) + 1)
        less(self.short, items[here], short[here])
        less(self.long, items[here], long[here])
        less(self.by_segment, (segments[here & told], items[here & told]), long[here & told])
        less(self.totals, segments[told], long[told])
        less(self.totals, np.full(len(long), len(self.totals) - 1), long)

    def settle(self, items: Int32, segments: Array, earliest: Float64, walked: Rings, user_segments: Int8) -> None:
        """Count anew what the rings hold wholly, after :meth:`take_back`, and rebuild the best lists.

        Beside the visits that were taken, those long before them may have been too little to be counted.

        Parameters
        ----------
        items : int32[n]
            Whose counts went down, each once.
        segments : int[m]
            In which segments.
        earliest : float64[n]
            The earliest visit of each that is left, infinity where there is none; NaN where the rings do not hold all of them.
        walked : Rings
            The rings, without the visits that were taken.
        user_segments : int8[U, L]
            The segments of the visits in users' rings.
        """
        whole, segments = items[~np.isnan(earliest)], segments[segments < len(self.by_segment)]
        for place, counts in enumerate((self.short, self.long)):
            _recount(whole, self._half_lives[place], self._landmarks[place], walked, counts)
        bare = items[earliest == np.inf]
        self.by_segment[:, bare] = 0
        # What was rounded while far more was counted may be more than rounding beside the last visit that is taken.
        _silence(whole, segments.astype(np.int64), walked, user_segments, self.by_segment)
        # A count that went down is of no concern to a list on which it is not.
        rows = np.union1d(segments, np.flatnonzero(np.isin(self.top_segment, bare).any(axis=1)))
        tops = [(self.short, self.top_short), (self.long, self.top_long)]
        tops += [(self.by_segment[row], self.top_segment[row]) for row in rows.tolist()]
        for counts, top in tops:
            if np.isin(top, items).any():
                _best(counts[: self._items], top)
        if (self.first_seen[whole] != earliest[~np.isnan(earliest)]).any():
            self.first_seen[whole] = earliest[~np.isnan(earliest)]
            _newest(self.first_seen[: self._items], self.top_new)

    def keep(self, staying: Int64) -> None:
        """Forget all items but these, int64[n] ascending, which get the indexes from 0 on in their order."""
        indexes = new_indexes(staying, len(self.short))
        for counts, empty in ((self.short, 0), (self.long, 0), (self.first_seen, np.inf), *((row, 0) for row in self.by_segment)):
            close_up(counts, staying, empty)
        self._items = int(np.searchsorted(staying, self._items))
        tops = ((self.short, self.top_short), (self.long, self.top_long), *zip(self.by_segment, self.top_segment, strict=False))
        for counts, top in tops:
            if renumber(top, indexes):  # what was below the list is on it now
                _best(counts[: self._items], top)
        _newest(self.first_seen[: self._items], self.top_new)

    def count(self, item: int, now: float, which: Literal["short", "long"] = "short") -> float:
        """Give an item's count decayed to ``now`` (seconds); 0 for an item without visits."""
        counts, place = (self.short, 0) if which == "short" else (self.long, 1)
        return float(counts[item] * self._to(now, place)) if 0 <= item < self._items else 0.0

    def trending(self, now: float, n: int) -> tuple[Int32, Float64]:
        """Give at most n items with the highest counts at the short half-life, and these counts decayed to ``now``."""
        items = self.top_short[:n][self.top_short[:n] >= 0]
        return items, self.short[items] * self._to(now, 0)

    def newest(self, n: int) -> Int32:
        """Give at most n items whose first visit is the latest; on a tie the higher index goes first."""
        newest = self.top_new
        if n > len(newest):
            newest = np.full(n, -1, np.int32)
            _newest(self.first_seen[: self._items], newest)
        return newest[:n][newest[:n] >= 0]

    def lift(self, segment: int, n: int) -> Int32:
        """Give at most n of a segment's best items, those first that it visits more than others do (:meth:`lifts`)."""
        items, lifts = self.lifts(segment)
        return items[np.lexsort((items, -lifts))[:n]]

    def lifts(self, segment: int) -> tuple[Int32, Float64]:
        """Give a segment's best items, and by how much it visits each more often than all users do.

        The lift is (observed + prior) / (expected + prior), with the count expected at the item's overall share: 1 for
        an item the segment does not treat specially, and near 1 while there is little evidence (the gamma-Poisson
        shrinkage of DuMouchel 1999).
        """
        items = self.top_segment[segment][self.top_segment[segment] >= 0]
        lifts = np.empty(len(items))
        if len(items):
            _lifts(items, self.by_segment[segment], self.long, share_of(self.totals, segment), lifts)
        return items, lifts

    def counts(self, segments: Sequence[int], items: int) -> Float32:
        """Give the counts of some segments, float32[n, items]; 0 for a segment or an item without a visit."""
        counts, known = np.zeros((len(segments), items), np.float32), min(items, self._items)
        for row, segment in enumerate(segments):
            if segment < len(self.by_segment):
                counts[row, :known] = self.by_segment[segment, :known]
        return counts

    def arrays(self) -> dict[str, Array]:
        """Copy the state, without spare room."""
        state = dict(zip(STATE, self._state(), strict=True))
        trimmed = {name: array[..., : self._items] if name in PER_ITEM else array for name, array in state.items()}
        copies = {"landmarks": self._landmarks.copy()} | {name: array.copy() for name, array in trimmed.items()}
        return copies | {"by_segment": self.counts(range(len(self.top_segment)), self._items)}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Array],
        *,
        short: float = DAY,
        long: float = 30 * DAY,
        segments: int = 64,
        top: int = 64,
    ) -> Self:
        """Restore what :meth:`arrays` gave, with the same parameters.

        Raises
        ------
        ValueError
            If ``segments`` or ``top`` are not those the arrays were made with.
        """
        popularity = cls(short=short, long=long, segments=segments, top=top)
        popularity._items = len(arrays["short"])
        popularity.reserve(popularity._items)
        popularity._landmarks[:] = arrays["landmarks"]
        counted = arrays["by_segment"].any(axis=1) | (arrays["top_segment"] >= 0).any(axis=1)
        popularity._reserve_segments(int(np.flatnonzero(counted).max(initial=-1)) + 1)
        for name, array in zip(STATE, popularity._state(), strict=True):
            room = array[..., : popularity._items] if name in PER_ITEM else array
            shape = (segments, *room.shape[1:]) if name == "by_segment" else room.shape
            if shape != arrays[name].shape:
                raise ValueError(f"{name} is {arrays[name].shape}, which these parameters make {shape}")
            room[...] = arrays[name][: len(room)]
        _newest(popularity.first_seen[: popularity._items], popularity.top_new)
        return popularity

    def _state(self) -> tuple[Array, ...]:
        return tuple(getattr(self, name) for name in STATE)

    def _gains(self, weights: Float32, times: Float64, place: int) -> Float64:
        found = np.empty(len(times))
        gains(weights, times, self._half_lives[place], self._landmarks[place], found)
        return found

    def _to(self, now: float, place: int) -> float:
        return exp2((self._landmarks[place] - now) / self._half_lives[place])


PER_ITEM = ("short", "long", "by_segment", "first_seen")
STATE = ("short", "long", "by_segment", "totals", "first_seen", "top_short", "top_long", "top_segment")


def _longer(array: Array, size: int, empty: float) -> Array:
    """Copy into more room along the last axis; filled, so that the pages are the process's from the start."""
    longer = np.full((*array.shape[:-1], size), empty, array.dtype)
    longer[..., : array.shape[-1]] = array
    return longer
