"""Changes of ratings, as deltas that add."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.models.compile import Array, Int32, Int64

__all__ = ["Delta", "keys_of"]


@dataclass(slots=True)
class Delta:
    """What changes, by user and item in ascending order, each pair of them once.

    ``users``, ``items`` int32[n]; ``counts`` int64[n]: 1 a new rating, -1 a withdrawn one, 0 a changed one; ``values``
    int64[n]: by how many steps the rating rises, one that is not there being 0.
    """

    users: Int32
    items: Int32
    counts: Int64
    values: Int64

    def __add__(self, other: Delta) -> Delta:
        """Say what both say, one after the other."""
        joined = (np.concatenate(columns) for columns in zip(self.columns(), other.columns(), strict=True))
        users, items, counts, values = joined
        keys, first, inverse = np.unique(keys_of(users, items), return_index=True, return_inverse=True)
        count, value = np.zeros((2, len(keys)), np.int64)
        np.add.at(count, inverse, counts)
        np.add.at(value, inverse, values)
        some = (count != 0) | (value != 0)
        return Delta(users[first[some]], items[first[some]], count[some], value[some])

    def columns(self) -> tuple[Array, ...]:
        """Give the four arrays."""
        return self.users, self.items, self.counts, self.values


def keys_of(users: Int32, items: Int32) -> Int64:
    """Join user and item, in an order by user, then item."""
    keys: Int64 = users.astype(np.int64) << 32 | items
    return keys
