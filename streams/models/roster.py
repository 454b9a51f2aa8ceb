"""The roster: who of the users, or of the items, was active how lately, so that the least recently active leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streams.models.compile import Array, Int32, Int64
from streams.models.leaving import close_up, more

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Roster"]

FEWEST_ROWS = 256

# One in so many leaves at once: closing up costs a pass over all rows, which newcomers of a quarter share.
LEAVING = 4


class Roster:
    """When each was last active, on a clock that counts records of the log, so that all who fold one log agree.

    Parameters
    ----------
    limit : int
        The most that are held; 0 for no limit: then nothing is noted.

    Attributes
    ----------
    seen : int64[n]
        The clock at the last record that named each.
    numbers : int64[n]
        As the how manieth each came, counted from 0 and ascending; it stays when the index changes, and one who comes back is
        another.
    given : int
        How many ever came.

    Examples
    --------
    >>> roster = Roster(limit=4)
    >>> roster.enter(np.array([0, 1, 2, 3], np.int32))
    >>> roster.enter(np.array([0], np.int32))
    >>> roster.staying(np.array([2, -1], np.int32))
    array([0, 2, 3])
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clock = self.given = self._count = 0
        self._seen: Int64 = np.zeros(FEWEST_ROWS if limit else 0, np.int64)
        self._numbers: Int64 = np.zeros(FEWEST_ROWS if limit else 0, np.int64)

    @property
    def seen(self) -> Int64:
        """The clock at the last record that named each."""
        return self._seen[: self._count]

    @property
    def numbers(self) -> Int64:
        """As the how manieth each came; empty without a limit, where it is the index."""
        return self._numbers[: self._count]

    @property
    def left(self) -> int:
        """How many came and are no longer here."""
        return self.given - self._count

    def staying(self, named: Int32) -> Int64 | None:
        """Tell who stays, int64[n] ascending, where a record names more than there is room for; None where there is room.

        The least recently active leave, of those named by one record together who came first; but never who is named now. A
        record that alone names more than the limit is given the room that it needs.

        Parameters
        ----------
        named : int32[m]
            The indexes of those named; -1 for each newcomer.
        """
        if not self.limit:
            return None
        excess = self._count + int(np.count_nonzero(named < 0)) - self.limit
        if excess <= 0:
            return None
        seen = self.seen.copy()
        seen[named[named >= 0]] = self.clock
        free = int(np.count_nonzero(seen < self.clock))
        leaving = min(max(excess, self.limit // LEAVING), free)
        return _all_but_oldest(seen, leaving) if leaving else None

    def never(self, gone: Int64) -> None:
        """Count as if those of these indexes had never come, before :meth:`keep` leaves them out: the numbers close up too.

        Only where nobody outside knows the numbers, as of users.
        """
        if self.limit:
            numbers = np.sort(self.numbers[gone])
            self._numbers[: self._count] -= np.searchsorted(numbers, self.numbers)
            self.given -= len(gone)

    def keep(self, staying: Int64) -> None:
        """Close up over all others."""
        if not self.limit:
            return
        close_up(self._seen, staying, 0)
        close_up(self._numbers, staying, 0)
        self._count = len(staying)

    def enter(self, named: Int32) -> None:
        """Note those whom a record names, int32[m]; indexes that are new are newcomers."""
        if not self.limit:
            return
        count = max(self._count, int(named.max(initial=-1)) + 1)
        self._reserve(count)
        self._numbers[self._count : count] = np.arange(self.given, self.given + count - self._count)
        self.given += count - self._count
        self._count = count
        self._seen[named] = self.clock
        self.clock += 1

    def arrays(self) -> dict[str, Array]:
        """Copy the state; empty without a limit."""
        counters = {"counters": np.array([self.clock, self.given])}
        return counters | {"seen": self.seen.copy(), "numbers": self.numbers.copy()} if self.limit else {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take what :meth:`arrays` gave."""
        if self.limit:
            self.clock, self.given = (int(number) for number in arrays["counters"])
            self._count = len(arrays["seen"])
            self._reserve(self._count)
            self._seen[: self._count], self._numbers[: self._count] = arrays["seen"], arrays["numbers"]

    def _reserve(self, count: int) -> None:
        if count > len(self._seen):
            rows = more(count, len(self._seen), self.limit)
            self._seen, self._numbers = (_longer(array, rows) for array in (self._seen, self._numbers))


def _all_but_oldest(seen: Int64, leaving: int) -> Int64:
    """Leave out so many of the least, one or more, of equals the first."""
    last = np.partition(seen, leaving - 1)[leaving - 1]
    gone = seen < last
    equals = np.flatnonzero(seen == last)
    gone[equals[: leaving - int(np.count_nonzero(gone))]] = True
    return np.flatnonzero(~gone)


def _longer(array: Int64, rows: int) -> Int64:
    longer = np.zeros(rows, np.int64)
    longer[: len(array)] = array
    return longer
