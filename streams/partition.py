"""Which partition a user's events belong to: the choice that Kafka's Java client makes for a key (rule 8).

Every client whose partitioner is `murmur2` agrees with it; librdkafka's default does not, so such events are re-keyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streams.models.compile import kernel
from streams.models.ids import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["murmur2", "partition_for", "partitions_for"]

# Constants of MurmurHash2 (Appleby 2008) and the seed that org.apache.kafka.common.utils.Utils gives it.
SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
SHIFT = 24
LOW = 0xFFFFFFFF
POSITIVE = 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """Hash a key as Kafka's Java client does; unsigned, where Java's is signed."""
    state = SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * MULTIPLIER & LOW
        state = (state * MULTIPLIER & LOW) ^ ((word ^ word >> SHIFT) * MULTIPLIER & LOW)
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & LOW
    state = (state ^ state >> 13) * MULTIPLIER & LOW
    return state ^ state >> 15


def partition_for(key: bytes, count: int) -> int:
    """Give the partition, out of ``count``, that holds a key."""
    return (murmur2(key) & POSITIVE) % count


def partitions_for(keys: Sequence[bytes], count: int) -> NDArray[np.int32]:
    """Give the partition of every key, int32[n]; equal to :func:`partition_for` of each."""
    blob, ends = pack(keys)
    partitions = np.empty(len(ends), np.int32)
    _partitions(blob, ends, count, partitions)
    return partitions


@kernel
def _partitions(blob: NDArray[Any], ends: NDArray[Any], count: int, partitions: NDArray[Any]) -> None:
    """Hash key after key; 32-bit arithmetic done in 64 bits, because numba widens a product of uint32."""
    multiplier, low = np.uint64(MULTIPLIER), np.uint64(LOW)
    start = 0
    for n in range(ends.size):
        end = ends[n]
        state = np.uint64(SEED) ^ np.uint64(end - start)
        at = start
        while at + 4 <= end:
            word = np.uint64(0)
            for byte in range(4):
                word |= np.uint64(blob[at + byte]) << np.uint64(8 * byte)
            word = (word * multiplier) & low
            word = ((word ^ (word >> np.uint64(SHIFT))) * multiplier) & low
            state = ((state * multiplier) & low) ^ word
            at += 4
        if at < end:
            for byte in range(end - at):
                state ^= np.uint64(blob[at + byte]) << np.uint64(8 * byte)
            state = (state * multiplier) & low
        state = ((state ^ (state >> np.uint64(13))) * multiplier) & low
        state ^= state >> np.uint64(15)
        partitions[n] = np.int32((state & np.uint64(POSITIVE)) % np.uint64(count))
        start = end
