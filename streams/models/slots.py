"""Rows of arrays for the users a worker serves: memory that is there when a user comes, and never copied while serving."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from streams.models.compile import Array, ArrayLike, Int32, column
from streams.models.extent import extent

__all__ = ["Column", "Slots"]

Column: TypeAlias = tuple[tuple[int, ...], Any, float]
"""What a row holds under a name: its shape, its type, and what an empty cell holds."""

# Rows that cost address space only until a user comes: growing later would copy hundreds of megabytes in the middle of serving.
MAPPED_SLOTS = 1 << 17
# Rows that are made ready at a time.
STEP = 256


class Slots:
    """Columns of up to ``slots`` rows, each an attribute; which user has which row is the caller's affair.

    Parameters
    ----------
    slots : int
        The most rows; memory grows by doubling up to it.
    columns
        What each row holds.
    """

    def __init__(self, slots: int, **columns: Column) -> None:
        self.slots = slots
        self._columns = columns
        self._used = self._mapped = 0
        self._map(min(slots, MAPPED_SLOTS))
        self.reserve(min(slots, STEP))

    def reserve(self, slots: int) -> None:
        """Make this many rows ready, up to ``self.slots``."""
        if slots > self._mapped:
            self._map(min(max(slots, 2 * self._mapped), self.slots))
        if slots > self._used:
            used = min(max(slots, self._used + STEP), self._mapped)
            for name, (_, _, empty) in self._columns.items():
                if empty:
                    getattr(self, name)[self._used : used] = empty
            self._used = used

    def clear(self, slot: int) -> None:
        """Forget the user of a slot."""
        self.checked([slot])
        for name, (_, _, empty) in self._columns.items():
            getattr(self, name)[slot] = empty

    def checked(self, slots: ArrayLike) -> Int32:
        """Give the slots as int32[n], their rows ready.

        Raises
        ------
        IndexError
            If a slot is out of range.
        """
        slots = column(slots, np.int32)
        if len(slots):
            least, most = extent(slots)
            if least < 0 or most >= self.slots:
                raise IndexError(f"slots {least} to {most} are not all within 0 to {self.slots - 1}")
            self.reserve(most + 1)
        return slots

    def _map(self, rows: int) -> None:
        for name, (shape, dtype, _) in self._columns.items():
            more: Array = np.zeros((rows, *shape), dtype)
            if self._used:
                more[: self._used] = getattr(self, name)[: self._used]
            setattr(self, name, more)
        self._mapped = rows
