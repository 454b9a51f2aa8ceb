"""The pool: every item that some source has scored for the user at hand, and what each source gave it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.sources import CONTENT, COVISIT, NEIGHBORS, NEXT, PATH, REPEAT

__all__ = [
    "BARRED",
    "CONTENT_AT",
    "COVISIT_AT",
    "FIRST_PART",
    "LIKED",
    "MET",
    "NEIGHBORS_AT",
    "NEXT_AT",
    "OWN",
    "PATH_AT",
    "PLACE_AT",
    "POOLED",
    "REPEAT_AT",
    "SEEN",
    "SHOWN_AT",
    "SINCE_AT",
    "TIMES_AT",
    "Pool",
    "drain",
    "new_pool",
    "place",
]

# Bits of a pooled item's flags: not to be recommended; met in the user's history; its newest entry there is positive;
# compared by `content`; in the user's history at all.
BARRED, MET, LIKED, SEEN, OWN = 1, 2, 4, 8, 16

# Columns of a row: scores, then the parts of covisit and next by query item. With five of these it is one cache line.
POOLED = (NEIGHBORS, PATH, COVISIT, NEXT, CONTENT, REPEAT)
NEIGHBORS_AT, PATH_AT, COVISIT_AT, NEXT_AT, CONTENT_AT, REPEAT_AT = range(len(POOLED))
FIRST_PART = len(POOLED)
# What an item is to the user, in the order of the traits.
PLACE_AT, TIMES_AT, SINCE_AT, SHOWN_AT = range(4)
OWN_TRAITS = 4


# Floats in a cache line of 64 bytes.
LINE = 16


class Pool(NamedTuple):
    """Scratch of one user, emptied by touching only what was used: scoring allocates nothing.

    ``slots`` int32[I]: the item's row, -1 outside; ``size`` int64[1]; ``items`` int32[C]; ``flags`` uint8[C];
    ``rows`` float32[C, 6 + parts], see ``POOLED``; ``own`` float32[C, 4]: traits of the rows whose flags say ``OWN``.
    """

    slots: NDArray[np.int32]
    size: NDArray[np.int64]
    items: NDArray[np.int32]
    flags: NDArray[np.uint8]
    rows: NDArray[np.float32]
    own: NDArray[np.float32]


def new_pool(items: int, capacity: int, parts: int) -> Pool:
    """Make an empty pool for this many items, of which a user can touch ``capacity``."""
    room = min(items, capacity)
    each = (
        np.zeros(room, np.int32),
        np.zeros(room, np.uint8),
        lined_up(room, FIRST_PART + parts),
        np.zeros((room, OWN_TRAITS), np.float32),
    )
    return Pool(np.full(items, -1, np.int32), np.zeros(1, np.int64), *each)


def lined_up(rows: int, columns: int) -> NDArray[np.float32]:
    """Make zeros that start with a cache line."""
    cells = np.zeros(rows * columns + LINE, np.float32)
    skip = -cells.ctypes.data // cells.itemsize % LINE
    return cells[skip : skip + rows * columns].reshape(rows, columns)


@inlined
def place(pool: Any, item: int) -> Any:
    """Find the item's row, a row of zeros if it is new."""
    row = pool.slots[item]
    if row < 0:
        row = pool.size[0]
        pool.size[0] = row + 1
        pool.slots[item] = row
        pool.items[row] = item
        pool.flags[row] = 0
        for column in range(pool.rows.shape[1]):
            pool.rows[row, column] = 0.0
    return row


@lean
def drain(pool: Any) -> None:
    """Empty the pool."""
    for row in range(pool.size[0]):
        pool.slots[pool.items[row]] = -1
    pool.size[0] = 0
