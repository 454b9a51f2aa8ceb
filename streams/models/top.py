"""The best few of many, in order: keys that order by score, then by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.compile import inlined, lean

__all__ = ["index_of", "key", "offer", "score_of"]

LAST = 0xFFFFFFFF
# All bits of a float32 but its sign.
MAGNITUDE = 0x7FFFFFFF


@inlined
def key(score: float, index: int) -> Any:
    """Join a score and an index: the greater key has the higher score or, in a tie, the lower index.

    Bits of floats order as the floats do, those of negative ones the other way round.
    """
    bits = np.int64(np.float32(score + 0.0).view(np.int32))
    return ((bits if bits >= 0 else bits ^ MAGNITUDE) << 32) | np.int64(LAST - index)


@inlined
def index_of(joined: int) -> int:
    """Take the index out of a key."""
    return LAST - (joined & LAST)


@inlined
def score_of(joined: int) -> Any:
    """Take the score out of a key."""
    bits = joined >> 32
    return np.int32(bits if bits >= 0 else bits ^ MAGNITUDE).view(np.float32)


@lean
def offer(best: Any, row: int, sizes: Any, joined: int) -> Any:
    """Add a key to one row of best int64[rows, k], of which ``sizes`` int64[rows] are in use; the k greatest stay, those first.

    Returns the score that others must reach to stay, 0 while there is room. A few are kept in order sooner than a heap is, and
    most of those who stay come late enough to go in near the end.
    """
    last, at = best.shape[1] - 1, sizes[row]
    if at <= last:
        sizes[row] = at + 1
    elif joined > best[row, last]:
        at = last
    else:
        return score_of(best[row, last])
    while at > 0 and best[row, at - 1] < joined:
        best[row, at] = best[row, at - 1]
        at -= 1
    best[row, at] = joined
    return score_of(best[row, last]) if sizes[row] > last else 0.0
