"""Ids as dense numbers: byte strings to int32 in order of first appearance, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from streams.models.compile import Array, Int32, Int64, UInt8, UInt64, column, kernel
from streams.models.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Ids", "Looked", "Packed", "pack", "unpack"]

FEWEST_IDS = 1024
FEWEST_BYTES = 16 * 1024

# Ids looked up together, step by step: each asks for its memory one step early, and what they ask for fits the caches.
BLOCK = 256

# An entry of the table: the upper half of the hash above, index + 1 below; 0 is empty.
INDEX = np.uint64(0xFFFFFFFF)
TAG = np.uint64(0xFFFFFFFF00000000)
NOTHING = np.uint64(0)

# Multipliers and shifts of MurmurHash3's 64-bit finalizer (Appleby 2011).
FIRST = np.uint64(0xFF51AFD7ED558CCD)
SECOND = np.uint64(0xC4CEB9FE1A85EC53)
HALF = np.uint64(33)
EIGHT = np.uint64(8)


class Packed(NamedTuple):
    """Many byte strings as two arrays, so that one kernel call sees the whole batch.

    ``blob`` uint8: all the bytes; ``ends`` int64[n]: where each string ends; it starts where the one before ends.
    """

    blob: UInt8
    ends: Int64


_NOBODY = Packed(np.full(0, 0, np.uint8), np.full(0, 0, np.int64))


class Looked(NamedTuple):
    """What a look at the ids found: ``hashes`` uint64[n], and ``found`` int32[n], the index of each, -1 where unknown."""

    hashes: UInt64
    found: Int32


def pack(ids: Sequence[bytes]) -> Packed:
    """Pack byte strings for :class:`Ids`."""
    if not ids:
        return _NOBODY
    ends = np.fromiter(map(len, ids), np.int64, len(ids)).cumsum()
    # A bytearray, because a read-only array would be another type to the kernels.
    return Packed(np.frombuffer(bytearray().join(ids), np.uint8), ends)


def unpack(packed: Packed) -> list[bytes]:
    """Give the byte strings that were packed."""
    text, ends = packed.blob.tobytes(), packed.ends.tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@kernel
def _word(blob: UInt8, at: int, size: int) -> np.uint64:
    """Read up to 8 bytes, little end first on every machine; written so that 8 become one load."""
    word = NOTHING
    # Unsigned places cannot be negative, which spares a test at each byte.
    place = np.uint64(at)
    if size == 8:
        for byte in range(np.uint64(8)):
            word |= np.uint64(blob[place + byte]) << (EIGHT * byte)
    else:
        for byte in range(np.uint64(size)):
            word |= np.uint64(blob[place + byte]) << (EIGHT * byte)
    return word


@kernel
def _hash(blob: UInt8, start: int, end: int) -> np.uint64:
    """Hash 8 bytes at a time; the last 8 overlap those before unless the string is shorter."""
    state = np.uint64(end - start) * FIRST
    for at in range(start, end - 8, 8):
        state = (state ^ _word(blob, at, 8)) * FIRST
        state ^= state >> HALF
    last = max(start, end - 8)
    state = (state ^ _word(blob, last, end - last)) * FIRST
    state ^= state >> HALF
    state *= SECOND
    return state ^ (state >> HALF)


@kernel
def _same(blob: UInt8, start: int, others: UInt8, other: int, size: int) -> bool:
    """Compare two strings of one size, 8 bytes at a time; the last 8 overlap those before."""
    for byte in range(0, size - 8, 8):
        if _word(blob, start + byte, 8) != _word(others, other + byte, 8):
            return False
    last = max(0, size - 8)
    return bool(_word(blob, start + last, size - last) == _word(others, other + last, size - last))


@kernel
def _place(table: UInt64, hashed: np.uint64, blob: UInt8, ends: Int64, ids: UInt8, start: int, end: int) -> int:
    """Find where in the table this id is, or the empty cell where it belongs."""
    mask = np.uint64(table.size - 1)
    place = hashed & mask
    while table[place] != NOTHING:
        if (table[place] ^ hashed) & TAG == NOTHING:
            index = np.int64(table[place] & INDEX) - 1
            first = ends[index - 1] if index > 0 else 0
            if ends[index] - first == end - start and _same(blob, first, ids, start, end - start):
                break
        place = (place + np.uint64(1)) & mask
    return int(place)


@kernel
def _find(blob: UInt8, ends: Int64, table: UInt64, ids: UInt8, id_ends: Int64, hashes: UInt64, found: Int32) -> None:
    """Hash and look up every id; -1 where unknown."""
    mask = np.uint64(table.size - 1)
    for begin in range(0, id_ends.size, BLOCK):
        until = min(begin + BLOCK, id_ends.size)
        start = id_ends[begin - 1] if begin > 0 else 0
        for n in range(begin, until):
            hashes[n] = _hash(ids, start, id_ends[n])
            prefetch(table, np.int64(hashes[n] & mask), 0)
            start = id_ends[n]
        for n in range(begin, until):
            found[n] = np.int64(table[hashes[n] & mask] & INDEX) - 1
            prefetch(ends, max(found[n], 0), 0)
        for n in range(begin, until):
            prefetch(blob, ends[found[n] - 1] if found[n] > 0 else 0, 0)
        start = id_ends[begin - 1] if begin > 0 else 0
        for n in range(begin, until):
            place = _place(table, hashes[n], blob, ends, ids, start, id_ends[n])
            found[n] = np.int64(table[place] & INDEX) - 1
            start = id_ends[n]


@kernel
def _add(
    count: int,
    blob: UInt8,
    ends: Int64,
    table: UInt64,
    ids: UInt8,
    id_ends: Int64,
    hashes: UInt64,
    found: Int32,
    begin: int,
) -> tuple[int, int]:
    """Give ids not found the next indexes, from ``begin`` on; stop where there is no room for one.

    Returns the number of ids now held and the place in the batch where it stopped.
    """
    for n in range(begin, id_ends.size):
        if found[n] >= 0:
            continue
        start, end = id_ends[n - 1] if n > 0 else 0, id_ends[n]
        # Looked up again, because an id new to the table can be in a batch more than once.
        place = _place(table, hashes[n], blob, ends, ids, start, end)
        if table[place] == NOTHING:
            used = ends[count - 1] if count > 0 else 0
            if count == ends.size or used + end - start > blob.size:
                return count, n
            for byte in range(end - start):
                blob[used + byte] = ids[start + byte]
            ends[count] = used + end - start
            count += 1
            table[place] = (hashes[n] & TAG) | np.uint64(count)
        found[n] = np.int64(table[place] & INDEX) - 1
    return count, id_ends.size


@kernel
def _copy(blob: UInt8, ends: Int64, staying: Int64, to_blob: UInt8, to_ends: Int64) -> None:
    """Write the names of those who stay one after another."""
    at = 0
    for n in range(staying.size):
        index = staying[n]
        for byte in range(ends[index - 1] if index > 0 else 0, ends[index]):
            to_blob[at] = blob[byte]
            at += 1
        to_ends[n] = at


@kernel
def _index(count: int, blob: UInt8, ends: Int64, table: UInt64) -> None:
    """Fill an empty table with ids that are all different."""
    mask = np.uint64(table.size - 1)
    start = 0
    for index in range(count):
        hashed = _hash(blob, start, ends[index])
        place = hashed & mask
        while table[place] != NOTHING:
            place = (place + np.uint64(1)) & mask
        table[place] = (hashed & TAG) | np.uint64(index + 1)
        start = ends[index]


class Ids:
    """Byte strings, numbered densely in order of first appearance.

    Open addressing with linear probing at a load of at most one half; the table keeps 32 bits of the hash beside
    the index, and bytes are always compared in full. Bytes live in one arena, so kernels can read names too.

    Attributes
    ----------
    blob : uint8[capacity]
        The bytes of all ids, one after another.
    ends : int64[capacity]
        Where each id ends in ``blob``, valid up to ``len(self)``.

    Examples
    --------
    >>> ids = Ids()
    >>> ids.add(pack([b"ada", b"bob", b"ada"]))
    array([0, 1, 0], dtype=int32)
    >>> ids.find(pack([b"bob", b"eve"]))
    array([ 1, -1], dtype=int32)
    >>> ids.name(1), len(ids)
    (b'bob', 2)
    """

    def __init__(self) -> None:
        self._count = 0
        self.blob: UInt8 = np.full(FEWEST_BYTES, 0, np.uint8)
        self.ends: Int64 = np.full(FEWEST_IDS, 0, np.int64)
        self._table: UInt64 = np.full(2 * FEWEST_IDS, 0, np.uint64)

    def __len__(self) -> int:
        """Count the ids."""
        return self._count

    def find(self, packed: Packed) -> Int32:
        """Give the index of every id, int32[n]; -1 where unknown."""
        return self._find(*_columns(packed))[1]

    def look(self, packed: Packed) -> Looked:
        """Look every id up, for :meth:`add` not to do so again."""
        return Looked(*self._find(*_columns(packed)))

    def add(self, packed: Packed, looked: Looked | None = None) -> Int32:
        """Give the index of every id, int32[n]; new ids get the next indexes, in order."""
        ids, id_ends = _columns(packed)
        hashes, found = looked or self._find(ids, id_ends)
        done = 0
        while True:
            state = self._count, self.blob, self.ends, self._table
            self._count, done = _add(*state, ids, id_ends, hashes, found, done)
            if done == len(id_ends):
                return found
            size = int(id_ends[done] - (id_ends[done - 1] if done else 0))
            self.reserve(self._count + 1, self._bytes() + size)

    def name(self, index: int) -> bytes:
        """Give the id with this index.

        Raises
        ------
        IndexError
            If no id has it.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"index {index} is not one of {self._count} ids")
        start = self.ends[index - 1] if index else 0
        return self.blob[start : self.ends[index]].tobytes()

    def has(self, index: int, name: bytes) -> bool:
        """Tell whether the id with this index, 0 or more, is this one."""
        return index < self._count and self.name(index) == name

    def names(self, indexes: Iterable[int]) -> list[bytes]:
        """Give the ids with these indexes."""
        return [self.name(index) for index in indexes]

    def reserve(self, ids: int, size: int = 0) -> None:
        """Make room for this many ids of this many bytes in all, at least doubling what there is."""
        if size > len(self.blob):
            self.blob = _longer(self.blob, size)
        if ids > len(self.ends):
            self.ends = _longer(self.ends, ids)
            self._rebuild()

    def only(self, staying: Int64) -> Self:
        """Give these ids alone, int64[n] ascending, numbered anew in the same order.

        It is another object: who keeps indexes sees by that that they are no longer true.
        """
        lengths = np.diff(self.ends[: self._count], prepend=0)[staying]
        blob, ends = np.empty(int(lengths.sum()), np.uint8), np.empty(len(staying), np.int64)
        _copy(self.blob, self.ends, column(staying, np.int64), blob, ends)
        return self.from_arrays({"blob": blob, "ends": ends})

    def arrays(self) -> dict[str, Array]:
        """Copy the state: ``blob`` uint8, ``ends`` int64, both without spare room."""
        return {"blob": self.blob[: self._bytes()].copy(), "ends": self.ends[: self._count].copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """Restore what :meth:`arrays` gave."""
        ids = cls()
        blob, ends = arrays["blob"], arrays["ends"]
        ids.reserve(len(ends), len(blob))
        ids.blob[: len(blob)] = blob
        ids.ends[: len(ends)] = ends
        ids._count = len(ends)
        ids._rebuild()
        return ids

    def _find(self, ids: UInt8, id_ends: Int64) -> tuple[UInt64, Int32]:
        hashes, found = np.empty(len(id_ends), np.uint64), np.empty(len(id_ends), np.int32)
        _find(self.blob, self.ends, self._table, ids, id_ends, hashes, found)
        return hashes, found

    def _bytes(self) -> int:
        return int(self.ends[self._count - 1]) if self._count else 0

    def _rebuild(self) -> None:
        self._table = np.full(2 * len(self.ends), 0, np.uint64)
        _index(self._count, self.blob, self.ends, self._table)


def _columns(packed: Packed) -> tuple[UInt8, Int64]:
    return column(packed.blob, np.uint8), column(packed.ends, np.int64)


def _longer(array: Array, size: int) -> Array:
    """Copy into at least twice the room, kept a power of two."""
    longer = np.full(1 << (max(size, 2 * len(array)) - 1).bit_length(), 0, array.dtype)
    longer[: len(array)] = array
    return longer
