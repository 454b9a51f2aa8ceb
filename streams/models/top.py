"""The best few of many: bounded heaps of keys that order by score, then by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.compile import inlined, lean

__all__ = ["best_first", "index_of", "key", "offer", "score_of"]

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


@inlined
def _sink(heap: Any, row: int, size: int) -> None:
    """Restore the order of a heap (least on top) below its top."""
    at, moved = 0, heap[row, 0]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[row, child + 1] < heap[row, child]:
            child += 1
        if heap[row, child] >= moved:
            break
        heap[row, at] = heap[row, child]
        at = child
    heap[row, at] = moved


@lean
def offer(heap: Any, row: int, sizes: Any, joined: int) -> Any:
    """Add a key to one row of heaps int64[rows, k], of which ``sizes`` int64[rows] are in use; the k greatest stay.

    Returns the score that others must reach to stay, 0 while there is room.
    """
    at = sizes[row]
    if at == heap.shape[1]:
        if joined > heap[row, 0]:
            heap[row, 0] = joined
            _sink(heap, row, at)
        return score_of(heap[row, 0])
    sizes[row] = at + 1
    while at > 0 and heap[row, (at - 1) // 2] > joined:
        heap[row, at] = heap[row, (at - 1) // 2]
        at = (at - 1) // 2
    heap[row, at] = joined
    return score_of(heap[row, 0]) if sizes[row] == heap.shape[1] else 0.0


@lean
def best_first(heap: Any, row: int, size: int) -> None:
    """Order one heap in place, the greatest key first; it is no heap afterwards."""
    for end in range(size - 1, 0, -1):
        heap[row, 0], heap[row, end] = heap[row, end], heap[row, 0]
        _sink(heap, row, end)
