"""Histories: the last events of the users a worker serves, as the recommender reads them. A cache, not a model."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from streams.models.compile import Array, ArrayLike, Float32, Float64, Int32, Int64, UInt8, column, kernel
from streams.models.query import Query
from streams.models.slots import Slots

__all__ = ["Histories"]

# Items, weights, times, whether blocked, types and timestamps.
Columns: TypeAlias = tuple[Int32, Float32, Float64, UInt8, Int32, Float64]
NAMES = ("items", "weights", "times", "blocked", "types", "stamps")


@kernel
def _push(
    slots: Int32,
    count: Int32,
    new_items: Int32,
    new_weights: Float32,
    new_times: Float64,
    new_blocked: UInt8,
    new_types: Int32,
    new_stamps: Float64,
    items: Int32,
    weights: Float32,
    times: Float64,
    blocked: UInt8,
    types: Int32,
    stamps: Float64,
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
            types[slot, place] = types[slot, place - 1]
            stamps[slot, place] = stamps[slot, place - 1]
        items[slot, 0] = new_items[n]
        weights[slot, 0] = new_weights[n]
        times[slot, 0] = new_times[n]
        blocked[slot, 0] = new_blocked[n]
        types[slot, 0] = new_types[n]
        stamps[slot, 0] = new_stamps[n]


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


class Histories(Slots):
    """The last events of up to ``slots`` users.

    Items are numbers of the worker's own, because a user may act on an item before the models know it; so are types.

    Parameters
    ----------
    slots : int
        The most users held.
    length : int
        Events kept per user.

    Attributes
    ----------
    items : int32[S, length]
        The user's items as the worker numbers them, newest first; -1 pads.
    times : float64[S, length]
        Seconds, as decay reckons with them.
    weights : float32[S, length]
        Negative for a negative signal.
    blocked : uint8[S, length]
        1 where the item must not be recommended.
    types : int32[S, length]
        What the user did, as the worker numbers event types.
    stamps : float64[S, length]
        Seconds, as they were sent.
    count : int32[S]
        Events held.

    Examples
    --------
    >>> histories = Histories(slots=4)
    >>> histories.push([2, 2], [0, 1], [1.0, 3.0], [10.0, 20.0])
    >>> query = histories.query([2, 3], [40, 50], [30.0, 30.0])
    >>> query.items, query.starts
    (array([50, 40], dtype=int32), array([0, 2, 2]))
    """

    items: Int32
    weights: Float32
    times: Float64
    blocked: UInt8
    types: Int32
    stamps: Float64
    count: Int32

    def __init__(self, *, slots: int, length: int = 100) -> None:
        dtypes = (np.int32, np.float32, np.float64, np.uint8, np.int32, np.float64)
        rows = {name: ((length,), dtype, -1.0 if name == "items" else 0.0) for name, dtype in zip(NAMES, dtypes, strict=True)}
        super().__init__(slots, count=((), np.int32, 0), **rows)

    def push(
        self,
        slots: ArrayLike,
        items: ArrayLike,
        weights: ArrayLike,
        times: ArrayLike,
        blocked: ArrayLike | None = None,
        types: ArrayLike | None = None,
        stamps: ArrayLike | None = None,
    ) -> None:
        """Record events, in order.

        Parameters
        ----------
        slots, items : int32[n]
            Who and what, as the worker numbers them.
        weights : float32[n]
            Negative for a negative signal.
        times : float64[n]
            Seconds, as decay reckons with them.
        blocked : uint8[n], optional
            1 where the item must not be recommended any more; none by default.
        types : int32[n], optional
            As the worker numbers them; 0 by default.
        stamps : float64[n], optional
            Seconds, as they were sent; ``times`` by default.

        Raises
        ------
        IndexError
            If a slot is out of range.
        ValueError
            If the columns differ in length.
        """
        events = _events(items, weights, times, blocked, types, stamps)
        slots = self.checked(slots)
        if len(slots) != len(events[0]):
            raise ValueError(f"{len(slots)} slots for {len(events[0])} events")
        _push(slots, self.count, *events, *self._held())

    def load(
        self,
        slot: int,
        items: ArrayLike,
        weights: ArrayLike,
        times: ArrayLike,
        blocked: ArrayLike | None = None,
        types: ArrayLike | None = None,
        stamps: ArrayLike | None = None,
    ) -> None:
        """Give the slot to a user with this history, newest first; what is too long for it is cut."""
        self.clear(slot)
        events: tuple[Array, ...] = _events(items, weights, times, blocked, types, stamps)
        kept = min(len(events[0]), self.items.shape[1])
        rows: tuple[Array, ...] = self._held()
        for row, values in zip(rows, events, strict=True):
            row[slot, :kept] = values[:kept]
        self.count[slot] = kept

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
        slots = self.checked(slots)
        starts = np.zeros(len(slots) + 1, np.int64)
        np.cumsum(self.count[slots], out=starts[1:])
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
        _gather(slots, starts, column(local_to_model, np.int32), *self._held()[:4], *answer)
        return query

    def numbers(self) -> tuple[Int64, Int64]:
        """Give the numbers of items and of types that stand in some history, each once and ascending."""
        held = self.items >= 0
        return _distinct(self.items[held]), _distinct(self.types[held])

    def renumber(self, items: Int32, types: Int32) -> None:
        """Take other numbers: of items and of types, each old number's new one."""
        held = self.items >= 0
        self.items[held], self.types[held] = items[self.items[held]], types[self.types[held]]

    def _held(self) -> Columns:
        return self.items, self.weights, self.times, self.blocked, self.types, self.stamps


def _distinct(numbers: Int32) -> Int64:
    """Mark instead of sorting: millions of numbers in milliseconds."""
    marks = np.zeros(int(numbers.max(initial=-1)) + 1, np.bool_)
    marks[numbers] = True
    return np.flatnonzero(marks)


def _events(
    items: ArrayLike,
    weights: ArrayLike,
    times: ArrayLike,
    blocked: ArrayLike | None,
    types: ArrayLike | None,
    stamps: ArrayLike | None,
) -> Columns:
    items, times = column(items, np.int32), column(times, np.float64)
    flags = np.full(len(items), 0, np.uint8) if blocked is None else column(blocked, np.uint8)
    kinds = np.full(len(items), 0, np.int32) if types is None else column(types, np.int32)
    sent = times if stamps is None else column(stamps, np.float64)
    events = items, column(weights, np.float32), times, flags, kinds, sent
    if len({len(values) for values in events}) > 1:
        raise ValueError(f"columns of {[len(values) for values in events]} items, weights, times, flags, types and timestamps")
    return events
