"""Histories: the last events of the users a worker serves, as the recommender reads them. A cache, not a model."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from streams.models.compile import (
    Array,
    ArrayLike,
    Float16,
    Float32,
    Float64,
    Int32,
    Int64,
    UInt8,
    UInt16,
    column,
    kernel,
)
from streams.models.query import Query

__all__ = ["Histories"]

# Items, weights, times and whether blocked.
Columns: TypeAlias = tuple[Int32, Float32, Float64, UInt8]

# Rows that cost address space only until a user comes: growing later would copy hundreds of megabytes in the middle of serving.
MAPPED_SLOTS = 1 << 17
# Rows that are made ready at a time.
STEP = 256

# Bits of float32: of infinity, of the least that no float16 reaches, and of the least normal float16.
INFINITE, TOO_LARGE, SUBNORMAL = 0x7F800000, 0x47800000, 0x38800000


@kernel
def _push(
    slots: Int32,
    count: Int32,
    new_items: Int32,
    new_weights: Float32,
    new_times: Float64,
    new_blocked: UInt8,
    items: Int32,
    weights: Float32,
    times: Float64,
    blocked: UInt8,
) -> None:
    """Put every event before its user's others, in order."""
    length = items.shape[1]
    for n in range(slots.size):
        slot = slots[n]
        count[slot] = min(count[slot] + 1, length)
        for place in range(count[slot] - 1, 0, -1):
            items[slot, place] = items[slot, place - 1]
            weights[slot, place] = weights[slot, place - 1]
            times[slot, place] = times[slot, place - 1]
            blocked[slot, place] = blocked[slot, place - 1]
        items[slot, 0] = new_items[n]
        weights[slot, 0] = new_weights[n]
        times[slot, 0] = new_times[n]
        blocked[slot, 0] = new_blocked[n]


@kernel
def _half(value: np.float32) -> int:
    """Round to the nearest float16, ties to even, as its bits: compiled code knows no float16 on CPUs (Giesen 2012)."""
    bits = np.int64(np.float32(value).view(np.uint32))
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    if size >= TOO_LARGE:
        return int(sign | (0x7C00 if size <= INFINITE else 0x7E00))
    if size < SUBNORMAL:
        # Adding a half lines the bits up, and rounds them as the processor does.
        return int(sign | (np.int64(np.float32(abs(value) + np.float32(0.5)).view(np.uint32)) - (126 << 23)))
    return int(sign | ((size - (112 << 23) + 0xFFF + ((size >> 13) & 1)) >> 13))


@kernel
def _keep(slots: Int32, starts: Int64, items: Int32, features: Float32, kept_items: Int32, kept_features: UInt16) -> None:
    """Copy each user's first candidates."""
    for n in range(slots.size):
        slot, start, end = slots[n], starts[n], starts[n + 1]
        for place in range(kept_items.shape[1]):
            kept = start + place < end
            kept_items[slot, place] = items[start + place] if kept else -1
            for feature in range(features.shape[1]):
                kept_features[slot, place, feature] = _half(features[start + place, feature]) if kept else 0


@kernel
def _gather(
    slots: Int32,
    starts: Int64,
    local_to_model: Int32,
    items: Int32,
    weights: Float32,
    times: Float64,
    blocked: UInt8,
    to_items: Int32,
    to_weights: Float32,
    to_times: Float64,
    to_blocked: UInt8,
) -> None:
    """Copy the histories of these users one after another, items renumbered as the models know them."""
    for n in range(slots.size):
        for to in range(starts[n], starts[n + 1]):
            place = to - starts[n]
            local = items[slots[n], place]
            to_items[to] = local_to_model[local] if 0 <= local < local_to_model.size else -1
            to_weights[to] = weights[slots[n], place]
            to_times[to] = times[slots[n], place]
            to_blocked[to] = blocked[slots[n], place]


@kernel
def _kept(slots: Int32, targets: Int32, kept_items: Int32, found: UInt8) -> None:
    """Mark whose target is among the candidates kept."""
    for n in range(slots.size):
        for place in range(kept_items.shape[1]):
            item = kept_items[slots[n], place]
            if item < 0:
                break
            if item == targets[n]:
                found[n] = 1
                break


class Histories:
    """The last events of up to ``slots`` users, and the candidates each was last recommended from.

    Which user has which slot is the caller's affair. Items of histories are numbers of the worker's own, because a
    user may act on an item before the models know it; candidates are model indexes.

    Parameters
    ----------
    slots : int
        The most users held; memory grows by doubling up to it.
    length : int
        Events kept per user.
    keep : int
        Candidates kept per user.
    features : int
        Features of a candidate.

    Attributes
    ----------
    items : int32[S, length]
        The user's items as the worker numbers them, newest first; -1 pads.
    times : float64[S, length]
        Seconds.
    weights : float32[S, length]
        Negative for a negative signal.
    blocked : uint8[S, length]
        1 where the item must not be recommended.
    count : int32[S]
        Events held.
    kept_items : int32[S, keep]
        Model indexes of the last published list's candidates, in blend order; -1 pads.
    kept_features : float16[S, keep, features]
        Their features; 0 pads.

    Examples
    --------
    >>> histories = Histories(slots=4)
    >>> histories.push([2, 2], [0, 1], [1.0, 3.0], [10.0, 20.0])
    >>> query = histories.query([2, 3], [40, 50], [30.0, 30.0])
    >>> query.items, query.starts
    (array([50, 40], dtype=int32), array([0, 2, 2]))
    """

    def __init__(self, *, slots: int, length: int = 100, keep: int = 128, features: int = 20) -> None:
        self.slots = slots
        rows = min(slots, MAPPED_SLOTS)
        self.items: Int32 = np.zeros((rows, length), np.int32)
        self.times: Float64 = np.zeros((rows, length))
        self.weights: Float32 = np.zeros((rows, length), np.float32)
        self.blocked: UInt8 = np.zeros((rows, length), np.uint8)
        self.count: Int32 = np.zeros(rows, np.int32)
        self.kept_items: Int32 = np.zeros((rows, keep), np.int32)
        self.kept_features: Float16 = np.zeros((rows, keep, features), np.float16)
        self._used = 0
        self.reserve(min(slots, STEP))

    def reserve(self, slots: int) -> None:
        """Make room for this many users, up to ``self.slots``."""
        if slots > len(self.count):
            self._grow(min(max(slots, 2 * len(self.count)), self.slots))
        if slots > self._used:
            used = min(max(slots, self._used + STEP), len(self.count))
            self.items[self._used : used] = -1
            self.kept_items[self._used : used] = -1
            self._used = used

    def _grow(self, rows: int) -> None:
        for name in EMPTY:
            array = getattr(self, name)
            more = np.zeros((rows, *array.shape[1:]), array.dtype)
            more[: self._used] = array[: self._used]
            setattr(self, name, more)

    def push(
        self, slots: ArrayLike, items: ArrayLike, weights: ArrayLike, times: ArrayLike, blocked: ArrayLike | None = None
    ) -> None:
        """Record events, in order.

        Parameters
        ----------
        slots, items : int32[n]
            Who and what, as the worker numbers them.
        weights : float32[n]
            Negative for a negative signal.
        times : float64[n]
            Seconds.
        blocked : uint8[n], optional
            1 where the item must not be recommended any more; none by default.

        Raises
        ------
        IndexError
            If a slot is out of range.
        ValueError
            If the columns differ in length.
        """
        events = self._events(items, weights, times, blocked)
        slots = self._checked(slots)
        if len(slots) != len(events[0]):
            raise ValueError(f"{len(slots)} slots for {len(events[0])} events")
        _push(slots, self.count, *events, *self._held())

    def load(self, slot: int, items: ArrayLike, weights: ArrayLike, times: ArrayLike, blocked: ArrayLike | None = None) -> None:
        """Give the slot to a user with this history, newest first; what is too long for it is cut."""
        self.clear(slot)
        events: tuple[Array, ...] = self._events(items, weights, times, blocked)
        kept = min(len(events[0]), self.items.shape[1])
        rows: tuple[Array, ...] = self._held()
        for row, values in zip(rows, events, strict=True):
            row[slot, :kept] = values[:kept]
        self.count[slot] = kept

    def clear(self, slot: int) -> None:
        """Forget the user of a slot."""
        self._checked([slot])
        for name, empty in EMPTY.items():
            getattr(self, name)[slot] = empty

    def keep_candidates(self, slots: ArrayLike, starts: ArrayLike, items: ArrayLike, features: ArrayLike) -> None:
        """Keep what users were just recommended from, best first; what is too much is cut.

        Parameters
        ----------
        slots : int32[n]
            Who; each at most once.
        starts : int64[n + 1]
            User i owns ``starts[i]:starts[i + 1]`` of the next two.
        items : int32[c]
            Model indexes.
        features : float32[c, F]
            Their features.

        Raises
        ------
        IndexError
            If a slot is out of range.
        ValueError
            If the lengths do not fit together.
        """
        slots, starts = self._checked(slots), column(starts, np.int64)
        items, features = column(items, np.int32), column(features, np.float32)
        if len(starts) != len(slots) + 1 or not starts[-1] <= len(items) == len(features):
            raise ValueError(f"{len(starts)} starts up to {starts[-1:]} for {len(slots)} users, {len(items)} candidates")
        _keep(slots, starts, items, features, self.kept_items, self.kept_features.view(np.uint16))

    def kept(self, slots: ArrayLike, targets: ArrayLike) -> Array:
        """Tell whose item (model index, int32[n]) is among the candidates kept for the user of the slot: bool[n]."""
        checked = self._checked(slots)
        found = np.zeros(len(checked), np.uint8)
        _kept(checked, column(targets, np.int32), self.kept_items, found)
        return found.view(np.bool_)

    def query(self, slots: ArrayLike, local_to_model: ArrayLike, now: ArrayLike, users: ArrayLike | None = None) -> Query:
        """Ask for these users.

        Parameters
        ----------
        slots : int32[n]
            Who.
        local_to_model : int32[...]
            Model index of each item as the worker numbers them; -1, or past its end: not yet in the models.
        now : float64[n]
            Each user's reference time in seconds.
        users : int32[n], optional
            Model indexes of the users; -1 by default.

        Returns
        -------
        Query
            Fresh arrays, which later events do not change.

        Raises
        ------
        IndexError
            If a slot is out of range.
        """
        slots = self._checked(slots)
        starts = np.concatenate(([0], np.cumsum(self.count[slots], dtype=np.int64)))
        events = int(starts[-1])
        query = Query(
            users=np.full(len(slots), -1, np.int32) if users is None else np.array(users, np.int32),
            now=np.array(now, np.float64),
            starts=starts,
            items=np.empty(events, np.int32),
            times=np.empty(events, np.float64),
            weights=np.empty(events, np.float32),
            blocked=np.empty(events, np.uint8),
        )
        answer = query.items, query.weights, query.times, query.blocked
        _gather(slots, starts, column(local_to_model, np.int32), *self._held(), *answer)
        return query

    def _held(self) -> Columns:
        return self.items, self.weights, self.times, self.blocked

    def _checked(self, slots: ArrayLike) -> Int32:
        slots = column(slots, np.int32)
        if len(slots):
            if slots.min() < 0 or slots.max() >= self.slots:
                raise IndexError(f"slots {slots.min()} to {slots.max()} are not all within 0 to {self.slots - 1}")
            self.reserve(int(slots.max()) + 1)
        return slots

    @staticmethod
    def _events(items: ArrayLike, weights: ArrayLike, times: ArrayLike, blocked: ArrayLike | None) -> tuple[Array, ...]:
        items = column(items, np.int32)
        flags = np.full(len(items), 0, np.uint8) if blocked is None else column(blocked, np.uint8)
        events = items, column(weights, np.float32), column(times, np.float64), flags
        if len({len(values) for values in events}) > 1:
            raise ValueError(f"columns of {[len(values) for values in events]} items, weights, times and flags")
        return events


EMPTY = {"items": -1, "times": 0, "weights": 0, "blocked": 0, "count": 0, "kept_items": -1, "kept_features": 0}
