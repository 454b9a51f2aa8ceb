"""Ranks: where an item stood in the list of every source and of the blend."""

from __future__ import annotations

from streams.models.compile import Float32, Int32, UInt8, kernel
from streams.models.sources import SOURCES

__all__ = ["ranks"]

_S = len(SOURCES)


@kernel
def _ranks(items: Int32, candidates: Int32, features: Float32, target: int, sources: int, found: UInt8) -> None:
    found[:] = 0
    for rank in range(items.size):
        if items[rank] == target:
            found[sources] = rank + 1
            break
    for row in range(candidates.size):
        if candidates[row] == target:
            for source in range(sources):
                share = features[row, sources + source]
                rank = int(1.0 / share + 0.5) if share > 0 else 0
                found[source] = rank if rank <= items.size else 0
            break


def ranks(items: Int32, candidates: Int32, features: Float32, target: int, found: UInt8) -> None:
    """Write an item's rank in every source and, last, in the blend; 0 where it is not within the length of the blend's list.

    Parameters
    ----------
    items : int32[d]
        The blend's list, best first; d is below 256.
    candidates, features : int32[c], float32[c, F]
        As in :class:`streams.models.query.Ranked`, for one user; ``c`` holds all that any source ranks within d.
    target : int
        Index of the item; below 0: not in the models.
    found : uint8[S + 1]
        The ranks, from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from streams.models.sources import FEATURES, POPULAR
    >>> features, found = np.zeros((2, FEATURES), np.float32), np.zeros(_S + 1, np.uint8)
    >>> features[1, _S + POPULAR] = 1 / 3
    >>> ranks(np.array([7, 9], np.int32), np.array([7, 9], np.int32), features, 9, found)
    >>> int(found[POPULAR]), int(found[-1])
    (0, 2)
    """
    if target < 0:
        found[:] = 0
    else:
        _ranks(items, candidates, features, target, _S, found)
