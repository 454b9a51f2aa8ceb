"""Who visited what: two sets of rings that point at each other, the memory of every neighborhood model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from streams.models.compile import (
    Array,
    ArrayLike,
    Float32,
    Float64,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    column,
    inlined,
    kernel,
)
from streams.models.extent import extent
from streams.models.leaving import GONE, close_up, more, new_indexes, renumber

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["POSITION", "UNTOLD", "Remembered", "Visits", "held", "position_of"]

FEWEST_ROWS = 256

# A type of events takes half a byte; the last stands for all that are not told apart. Three segments and types in two
# bytes would hold all, for a third more.
TYPE_BITS = 4
UNTOLD = (1 << TYPE_BITS) - 1
BOTH_UNTOLD = UNTOLD << TYPE_BITS | UNTOLD

# The bits of a position that an item's ring holds: all of it would take as much memory again.
POSITION = 0xFFFF


class Remembered(NamedTuple):
    """What the ring of one user holds, oldest first.

    ``positions`` int64[n]; ``items`` int32[n], -1 for one that left; ``weights`` float32[n]; ``times`` float64[n]; ``segments``
    int16[n], -1 for none; ``kinds`` int64[n], columns of ``Habits.kinds``, ``UNTOLD`` where it is not known which.
    """

    positions: Int64
    items: Int32
    weights: Float32
    times: Float64
    segments: Int16
    kinds: Int64


@kernel
def held(user_count: Int64, user: int, position: int, length: int) -> bool:
    """Tell whether the user's ring still holds the visit at this position (at ``position % length``); never at -1."""
    return bool(max(user_count[user] - length, 0) <= position < user_count[user])


@inlined
def position_of(told: Any, count: int) -> Any:
    """Give a visit's position from the 16 bits of it that an item's ring holds: the user's last, of ``count``, that ends in them.

    Below 0 where none does. A visit that 65,536 later ones of the same user followed looks like one of those.
    """
    last = np.int64(count) - 1
    return last - ((last - np.int64(told)) & POSITION)


@kernel
def _visit(
    users: Int32,
    items: Int32,
    weights: Float32,
    times: Float64,
    segments: Int16,
    kinds: Int32,
    item_users: Int32,
    item_positions: UInt16,
    item_count: Int64,
    user_items: Int32,
    user_weights: Float32,
    user_times: Float64,
    user_segments: Int8,
    user_kinds: UInt8,
    user_count: Int64,
) -> int:
    """Write every visit, in order, into its item's and its user's ring; count the users who had none before."""
    visitors, length, first = item_users.shape[1], user_items.shape[1], 0
    for n in range(users.size):
        user, item = users[n], items[n]
        position = user_count[user]
        first += position == 0
        user_count[user] = position + 1
        cell = position % length
        user_items[user, cell] = item
        user_weights[user, cell] = weights[n]
        user_times[user, cell] = times[n]
        user_segments[user, cell] = segments[n]
        shift = TYPE_BITS * (cell % 2)
        others = user_kinds[user, cell // 2] & ~(UNTOLD << shift)
        user_kinds[user, cell // 2] = others | min(kinds[n], UNTOLD) << shift
        cell = item_count[item] % visitors
        item_count[item] += 1
        item_users[item, cell] = user
        item_positions[item, cell] = position & POSITION
    return first


@kernel
def _forget(item_users: Int32, item_positions: UInt16, item_count: Int64, indexes: Int32) -> None:
    """Put new indexes for old ones, and empty the cells of those who are gone."""
    for item in range(item_users.shape[0]):
        # Most items have few visits, and cells beyond are empty.
        for cell in range(min(item_count[item], item_users.shape[1])):
            user = item_users[item, cell]
            user = indexes[user] if user >= 0 else user
            item_users[item, cell] = user
            if user < 0:
                item_positions[item, cell] = 0


@kernel
def _tell(item_users: Int32, item_positions: UInt16, item_count: Int64, user_count: Int64, positions: Int32) -> None:
    """Write the whole positions of the visits in items' rings, one ring after another; GONE for a user who left."""
    at = 0
    for item in range(item_count.size):
        for cell in range(min(item_count[item], item_users.shape[1])):
            user = item_users[item, cell]
            positions[at] = position_of(item_positions[item, cell], user_count[user]) if user >= 0 else GONE
            at += 1


class Visits:
    """The last visitors of every item and the last items of every user.

    The index of VMIS-kNN (Kersbergen, Sprangers & Schelter, "Serenade", SIGMOD 2022) made incremental: a visit costs
    two ring writes, and nothing is ever searched or moved. A cell of an item's ring is valid only while the ring
    of its user still holds that position: see :func:`held`.

    Parameters
    ----------
    visitors : int
        M, visits kept per item.
    length : int
        L, visits kept per user.

    Attributes
    ----------
    item_users : int32[I, M]
        Users of an item's last visits; visit number ``c`` of the item is at ``c % M``; -1 where empty.
    item_positions : uint16[I, M]
        Which of that user's visits it was, counted from 0: the last 16 bits (:func:`position_of`).
    item_count : int64[I]
        Visits of the item ever.
    user_items : int32[U, L]
        Items of a user's last visits; position ``p`` is at ``p % L``; -1 where empty.
    user_weights : float32[U, L]
        Their weights.
    user_times : float64[U, L]
        Their times in seconds.
    user_segments : int8[U, L]
        The segment of the user at each visit, -1 for none: what erasing takes back (:mod:`streams.models.erasing`).
    user_kinds : uint8[U, (L + 1) // 2]
        The type of each visit's event, for the same: columns of ``Habits.kinds``, two in a byte, the lower half first; 15 for
        all from the sixteenth on.
    user_count : int64[U]
        Visits of the user ever, so the user's next position.
    population : int
        Users who ever visited anything, also those who left: an item's visits count theirs too.

    Examples
    --------
    >>> visits = Visits(visitors=2, length=2)
    >>> visits.apply([0, 1, 1], [5, 5, 5], [1, 1, 3], [10, 20, 30])
    >>> visits.item_users[5], visits.item_positions[5], int(visits.item_count[5])
    (array([1, 1], dtype=int32), array([1, 0], dtype=uint16), 3)
    """

    def __init__(self, *, visitors: int = 256, length: int = 64) -> None:
        self.visitors = visitors
        self.length = length
        self._users = self._items = self.population = 0
        self.item_users: Int32 = np.full((0, visitors), -1, np.int32)
        self.item_positions: UInt16 = np.full((0, visitors), 0, np.uint16)
        self.item_count: Int64 = np.full(0, 0, np.int64)
        self.user_items: Int32 = np.full((0, length), -1, np.int32)
        self.user_weights: Float32 = np.full((0, length), 0, np.float32)
        self.user_times: Float64 = np.full((0, length), 0, np.float64)
        self.user_segments: Int8 = np.full((0, length), -1, np.int8)
        self.user_kinds: UInt8 = np.full((0, (length + 1) // 2), BOTH_UNTOLD, np.uint8)
        self.user_count: Int64 = np.full(0, 0, np.int64)
        self.reserve(FEWEST_ROWS, FEWEST_ROWS)

    def reserve(self, users: int, items: int, most_users: int = 0, most_items: int = 0) -> None:
        """Make room for this many users and items, at least doubling what there is, but for room past the most (0: any)."""
        if items > len(self.item_count):
            rows = more(items, len(self.item_count), most_items)
            for name, empty in ITEM_ROWS.items():
                setattr(self, name, _longer(getattr(self, name), rows, empty))
        if users > len(self.user_count):
            rows = more(users, len(self.user_count), most_users)
            for name, empty in USER_ROWS.items():
                setattr(self, name, _longer(getattr(self, name), rows, empty))

    def keep_users(self, staying: Int64) -> None:
        """Forget all users but these, int64[n] ascending, who get the indexes from 0 on in their order."""
        rings = self.item_users[: self._items], self.item_positions[: self._items]
        _forget(*rings, self.item_count, new_indexes(staying, len(self.user_count)))
        for name, empty in USER_ROWS.items():
            close_up(getattr(self, name), staying, empty)
        self._users = int(np.searchsorted(staying, self._users))

    def vacate(self, gone: Int64) -> None:
        """Empty the rows of these users, whom no item's ring names any more."""
        for name, empty in USER_ROWS.items():
            getattr(self, name)[gone] = empty

    def keep_items(self, staying: Int64) -> None:
        """Forget all items but these, as :meth:`keep_users`; a visit to one that is gone leaves its cell empty."""
        renumber(self.user_items[: self._users], new_indexes(staying, len(self.item_count)))
        for name, empty in ITEM_ROWS.items():
            close_up(getattr(self, name), staying, empty)
        self._items = int(np.searchsorted(staying, self._items))

    def forget(self, segments: Int64) -> None:
        """Note none for visits of these segments: their counts are gone, and their ids will stand for others."""
        self.user_segments[np.isin(self.user_segments, segments)] = -1

    def of(self, user: int) -> Remembered:
        """Give what the user's ring holds."""
        count = int(self.user_count[user])
        positions = np.arange(max(count - self.length, 0), count)
        cells = positions % self.length
        kinds = self.user_kinds[user, cells // 2] >> (TYPE_BITS * (cells % 2)) & UNTOLD
        items, weights, times = (ring[user, cells] for ring in (self.user_items, self.user_weights, self.user_times))
        return Remembered(positions, items, weights, times, self.user_segments[user, cells].astype(np.int16), kinds)

    def apply(
        self,
        users: ArrayLike,
        items: ArrayLike,
        weights: ArrayLike,
        times: ArrayLike,
        segments: ArrayLike | None = None,
        kinds: ArrayLike | None = None,
    ) -> None:
        """Learn visits, in order.

        Parameters
        ----------
        users, items : int32[n]
            Indexes.
        weights : float32[n]
            How much each visit says.
        times : float64[n]
            Seconds.
        segments : int16[n]
            Segment of the user, below 128; -1, the default, for none.
        kinds : int32[n]
            Column of the event's type in ``Habits.kinds``; by default one not told.

        Raises
        ------
        ValueError
            If the columns differ in length or an index is negative; nothing is learned then.
        """
        users, items = column(users, np.int32), column(items, np.int32)
        weights, times = column(weights, np.float32), column(times, np.float64)
        of = np.full(len(users), -1, np.int16) if segments is None else column(segments, np.int16)
        types = np.full(len(users), UNTOLD, np.int32) if kinds is None else column(kinds, np.int32)
        if not len(users) == len(items) == len(weights) == len(times) == len(of) == len(types):
            raise ValueError(
                f"columns of {len(users)} users, {len(items)} items, {len(weights)} weights, {len(times)} times, "
                f"{len(of)} segments, {len(types)} kinds"
            )
        if not len(users):
            return
        (user, last_user), (item, last_item) = extent(users), extent(items)
        if user < 0 or item < 0:
            raise ValueError("a visit needs a known user and a known item, not -1")
        self._users, self._items = max(self._users, last_user + 1), max(self._items, last_item + 1)
        self.reserve(self._users, self._items)
        self.population += _visit(users, items, weights, times, of, types, *self._rings())

    def arrays(self) -> dict[str, Array]:
        """Copy the state: the rings' lengths, counts per row, and the cells in use of all rows, one after another."""
        counts = {
            "item_count": self.item_count[: self._items].copy(),
            "user_count": self.user_count[: self._users].copy(),
        }
        lengths = {"lengths": np.array([self.visitors, self.length])}
        # Told only where it cannot be counted: users left.
        ever = {} if self.population == np.count_nonzero(counts["user_count"]) else {"population": np.array([self.population])}
        cells = {name: rows[used] for name, rows, used in self._cells(**counts)}
        cells["item_positions"] = np.empty(len(cells["item_users"]), np.int32)
        _tell(self.item_users, self.item_positions, counts["item_count"], self.user_count, cells["item_positions"])
        return lengths | counts | ever | cells

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, visitors: int = 256, length: int = 64) -> Self:
        """Restore what :meth:`arrays` gave.

        Raises
        ------
        ValueError
            If ``visitors`` or ``length`` are not those the arrays were made with.
        """
        if arrays["lengths"].tolist() != [visitors, length]:
            raise ValueError(f"rings of {arrays['lengths']} visitors and length, not of {visitors} and {length}")
        visits = cls(visitors=visitors, length=length)
        visits._users, visits._items = len(arrays["user_count"]), len(arrays["item_count"])
        visits.reserve(visits._users, visits._items)
        visits.item_count[: visits._items] = arrays["item_count"]
        visits.user_count[: visits._users] = arrays["user_count"]
        visits.population = int(arrays["population"][0] if "population" in arrays else np.count_nonzero(arrays["user_count"]))
        for name, rows, used in visits._cells(arrays["item_count"], arrays["user_count"]):
            if name in arrays:  # snapshots of before did not say of which segment and type visits are
                rows[used] = np.maximum(arrays[name], 0) & POSITION if name == "item_positions" else arrays[name]
        return visits

    def _cells(self, item_count: Int64, user_count: Int64) -> Iterator[tuple[str, Array, Array]]:
        """Give each ring array's name, its rows and which of their cells are in use."""
        used = np.arange(self.visitors) < item_count[:, None]
        for name in ("item_users", "item_positions"):
            yield name, getattr(self, name)[: self._items], used
        used = np.arange(self.length) < user_count[:, None]
        for name in ("user_items", "user_weights", "user_times", "user_segments"):
            yield name, getattr(self, name)[: self._users], used
        yield "user_kinds", self.user_kinds[: self._users], np.arange(0, self.length, 2) < user_count[:, None]

    def _rings(self) -> tuple[Array, ...]:
        items = self.item_users, self.item_positions, self.item_count
        users = self.user_items, self.user_weights, self.user_times, self.user_segments, self.user_kinds
        return *items, *users, self.user_count


ITEM_ROWS = {"item_users": -1, "item_positions": 0, "item_count": 0}
USER_ROWS = {
    "user_items": -1,
    "user_weights": 0,
    "user_times": 0,
    "user_segments": -1,
    "user_kinds": BOTH_UNTOLD,
    "user_count": 0,
}


def _longer(array: Array, rows: int, empty: float) -> Array:
    """Copy into more rows; filled, so that the pages are the process's from the start."""
    longer = np.full((rows, *array.shape[1:]), empty, array.dtype)
    longer[: len(array)] = array
    return longer
