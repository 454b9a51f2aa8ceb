"""The arrays of the visits as the kernels that walk them take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined

if TYPE_CHECKING:
    from streams.models.visits import Visits

__all__ = ["Rings", "cell_of", "rarity", "rings", "visitors_of", "visits_of"]


class Rings(NamedTuple):
    """Rings of visitors per item and of visits per user; shapes as in :class:`streams.models.visits.Visits`."""

    item_users: NDArray[np.int32]
    item_positions: NDArray[np.uint16]
    item_count: NDArray[np.int64]
    user_items: NDArray[np.int32]
    user_weights: NDArray[np.float32]
    user_times: NDArray[np.float64]
    user_count: NDArray[np.int64]


def rings(visits: Visits) -> Rings:
    """Take the arrays of the visits, without a copy."""
    # Written out: this runs for every list.
    return Rings(
        visits.item_users,
        visits.item_positions,
        visits.item_count,
        visits.user_items,
        visits.user_weights,
        visits.user_times,
        visits.user_count,
    )


@inlined
def cell_of(position: int, length: int) -> Any:
    """Find the cell of a position; unsigned, for signed remainders take several times as long."""
    return np.int64(np.uint32(position) % np.uint32(length))


@inlined
def visits_of(walked: Any, item: int) -> Any:
    """Count the visits the item ever had; 0 for an item beyond the rings."""
    return walked.item_count[item] if item < walked.item_count.shape[0] else 0


@inlined
def visitors_of(walked: Any, item: int) -> Any:
    """Count the cells of the item's ring in use."""
    return min(visits_of(walked, item), walked.item_users.shape[1])


@inlined
def rarity(visits: int, users: int) -> float:
    """Weigh an item by how rare it is, the idf of VMIS-kNN: 1 + log2(users / visits), at least 0.1.

    The logarithm is the one that a float32 carries in its bits, exact at powers of two and within 0.09 between:
    the same bytes on every CPU, and a tenth of the time.
    """
    of_users, of_visits = np.float32(max(users, 1)), np.float32(max(visits, 1))
    log = (np.int64(of_users.view(np.int32)) - np.int64(of_visits.view(np.int32))) * 2.0**-23
    return max(1.0 + log, 0.1)
