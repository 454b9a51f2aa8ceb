"""Chance without a state: a draw is a function of what it is drawn for, so it can be drawn again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import column, inlined, kernel

__all__ = ["GOLDEN", "draw", "mix", "seeds"]

# splitmix64 (Steele, Lea, Flood 2014).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
A, B, C = np.uint64(30), np.uint64(27), np.uint64(31)

# The bits of a draw that a float64 holds, and what makes them a number below 1.
SPARE, UNIT = np.uint64(11), 2.0**-53


@inlined
def mix(state: Any) -> Any:
    """Turn a counter into 64 bits that look like chance."""
    mixed = (state ^ (state >> A)) * FIRST
    mixed = (mixed ^ (mixed >> B)) * SECOND
    return mixed ^ (mixed >> C)


@inlined
def draw(seed: Any, number: int, most: int) -> int:
    """Give draw ``number`` of a seed: a whole number from 0 to below ``most``, all as likely."""
    return int(np.float64(mix(seed + np.uint64(number + 1) * GOLDEN) >> SPARE) * UNIT * most)


@kernel
def _seeds(seed: int, partitions: NDArray[np.int64], offsets: NDArray[np.int64], found: NDArray[np.uint64]) -> None:
    for n in range(found.shape[0]):
        state = mix(np.uint64(seed) + GOLDEN)
        state = mix((state ^ np.uint64(partitions[n])) + GOLDEN)
        found[n] = mix((state ^ np.uint64(offsets[n])) + GOLDEN)


def seeds(seed: int, partitions: Any, offsets: Any) -> NDArray[np.uint64]:
    """Give each of n events, known by partition and offset, a seed of its own, uint64[n]; ``seed`` is from 0 to below 2**63.

    Examples
    --------
    >>> seeds(0, [3, 3], [7, 8]) == seeds(0, [3, 3], [7, 9])
    array([ True, False])
    """
    found = np.zeros(len(partitions), np.uint64)
    _seeds(seed, column(partitions, np.int64), column(offsets, np.int64), found)
    return found
