"""Leaving: rows that go, those after them that close up, and what refers to rows by their indexes."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Array, Int32, Int64, kernel

__all__ = ["GONE", "close_up", "more", "new_indexes", "renumber"]

GONE = -1


@kernel
def _move(rows: Array, staying: Int64) -> None:
    """Move rows down, each to a place at or above none of those still to be moved."""
    for n in range(staying.size):
        old = staying[n]
        if old != n:
            for word in range(rows.shape[1]):
                rows[n, word] = rows[old, word]


@kernel
def _renumber(cells: Int32, indexes: Int32) -> int:
    """Put new indexes for old ones; count those that are gone."""
    gone = 0
    for n in range(cells.size):
        if cells[n] >= 0:
            cells[n] = indexes[cells[n]]
            gone += cells[n] < 0
    return gone


def close_up(rows: Array, staying: Int64, empty: float) -> None:
    """Move the rows that stay to the front of an array of any type, in their order; those behind them hold ``empty`` again.

    Parameters
    ----------
    rows : array[R, ...]
        Contiguous; changed in place, for a copy would take as much memory again.
    staying : int64[n]
        Ascending, below R.

    Examples
    --------
    >>> rows = np.array([5, 6, 7, 8])
    >>> close_up(rows, np.array([1, 3]), 0)
    >>> rows
    array([6, 8, 0, 0])
    """
    _move(_words(rows), staying)
    rows[len(staying) :] = empty


def _words(rows: Array) -> Array:
    """See rows as the widest words that fit: byte by byte, moving would take six times as long."""
    size = rows[:1].nbytes
    word = next(word for word in (np.uint64, np.uint32, np.uint16, np.uint8) if size % np.dtype(word).itemsize == 0)
    return rows.reshape(len(rows), -1).view(word)


def new_indexes(staying: Int64, count: int) -> Int32:
    """Give the new index of each of ``count`` rows, int32[count]; -1 where it is gone."""
    indexes = np.full(count, GONE, np.int32)
    indexes[staying] = np.arange(len(staying), dtype=np.int32)
    return indexes


def renumber(cells: Int32, indexes: Int32) -> int:
    """Put the new index for each old one in an array of any shape; -1 stands for none. Give how many are gone."""
    return _renumber(cells.reshape(-1), indexes)


def more(rows: int, held: int, most: int) -> int:
    """Say how many rows an array should grow to that must hold ``rows``: at least double, but no more than ``most`` (0: any)."""
    doubled = 2 * held if most == 0 else min(2 * held, most)
    return max(rows, doubled)
