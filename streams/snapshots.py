"""Snapshots of the fold (rule 7): models and positions as bytes, with a versioned header; never pickle."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Taught
from streams.models.ids import Ids, Packed
from streams.models.models import Models
from streams.models.snapshot_soundness import check_arrays
from streams.models.soundness import Unsound, check_ids
from streams.pseudonyms import other_key
from streams.records import encode_knobs

__all__ = ["Frozen", "freeze", "knobs_of", "thaw", "users_of"]

# The newest that is read. In version 2 is who was active when; a fold without limits has nothing of it, and is version 1.
VERSION = 2
_MAGIC = b"ULSNAP"
# What the arrays of models are made of; all is little endian.
_DTYPES = frozenset({"|u1", "|i1", "<i2", "<i4", "<i8", "<f4", "<f8"})
_AXES, _LONGEST = 2, 1 << 40
# A byte of a zlib stream stands for at most so many.
_DENSEST = 1032
_LARGEST = 1 << 63  # what an offset stays below
_SHOWN = 40  # characters of a foreign name that tell what it is


class _Header(msgspec.Struct):
    """What stands before the arrays: positions in the events topic, and each array's name, type and shape."""

    version: int
    taught: dict[int, int]
    origins: dict[int, dict[int, int]]
    partitions: int
    knobs: bytes
    arrays: list[tuple[str, str, list[int]]]


class Frozen(msgspec.Struct):
    """A fold as it was at one offset of the log, apart from the one that goes on."""

    offset: int
    header: bytes
    arrays: list[NDArray[Any]]

    def parts(self) -> Iterator[bytes]:
        """Yield the snapshot's bytes, compressed; it takes a while and holds no GIL for most of it."""
        packer = zlib.compressobj(level=1)
        yield _MAGIC + len(self.header).to_bytes(4, "little") + self.header
        for array in self.arrays:
            yield packer.compress(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        yield packer.flush()


def freeze(fold: Fold) -> Frozen:
    """Copy the fold's arrays; call it between two folds."""
    arrays = {name: np.array(array) for name, array in fold.models.arrays().items()}
    header = _Header(
        2 if "limits" in fold.models.parameters else 1,
        fold.taught.ends,
        fold.taught.origins,
        fold.partitions,
        fold.knobs,
        [(name, array.dtype.str, list(array.shape)) for name, array in arrays.items()],
    )
    return Frozen(fold.models.version, msgspec.json.encode(header), list(arrays.values()))


def thaw(data: bytes | bytearray, parameters: Mapping[str, Mapping[str, Any]]) -> Fold:
    """Read a snapshot into a new fold; raise Refusal when it is damaged, of a newer version or does not fit the settings."""
    header, end = _begin(data)
    if header.knobs not in {b"", encode_knobs(parameters)}:
        raise _other(
            "another key of pseudonyms" if other_key(header.knobs, encode_knobs(parameters)) else "the learned log says so"
        )
    try:
        arrays = dict(_arrays(header, _inflated(header, memoryview(data)[end:])))
        check_arrays(Models(**parameters), arrays)
    except (Unsound, zlib.error) as error:
        # A program that wrote no settings cannot be told apart from one with others.
        raise (_damaged if header.knobs else _other)(str(error)) from None
    try:
        models = Models.from_arrays(arrays, **parameters)
    except (KeyError, ValueError) as error:
        raise _other(str(error)) from error
    fold = Fold(models, Taught(header.taught, header.origins))
    fold.partitions = header.partitions
    return fold


def users_of(data: bytes | bytearray) -> Ids | None:
    """Read who is known to a snapshot, also to the beginning of one whose rest is lost; None where that is lost as well."""
    header, end = _begin(data)
    try:
        body = zlib.decompressobj().decompress(memoryview(data)[end:], _whole(header) + 1)
        found = dict(_arrays(header, memoryview(body)))
        own = {name: found[f"users.{name}"] for name in ("blob", "ends") if f"users.{name}" in found}
        if len(own) < 2:
            return None
        check_ids(Packed(own["blob"], own["ends"]), "users")
    except (Unsound, zlib.error) as error:
        raise _damaged(str(error)) from None
    return Ids.from_arrays(own)


def knobs_of(data: bytes | bytearray) -> bytes:
    """Read the models' settings that a snapshot was made with, as the learned log has them."""
    return _begin(data)[0].knobs


def _begin(data: bytes | bytearray) -> tuple[_Header, int]:
    """Read what stands before the arrays, and where they begin."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise Refusal("The newest snapshot is none of Upwell's.", fix="upwell reset --models")
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _header(bytes(data[start:end]))
    if header.version > VERSION:
        raise Refusal(
            f"The newest snapshot is of version {header.version}; this program reads up to version {VERSION}.",
            fix="upgrade this worker to the version of the others",
        )
    return header, end


def _header(data: bytes) -> _Header:
    try:
        header = msgspec.json.decode(data, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(f"its header is none: {error}") from None
    places = [*header.taught.items(), *(pair for known in header.origins.values() for pair in known.items())]
    if not all(0 <= number < _LARGEST for pair in (*places, (header.partitions,), header.origins) for number in pair):
        raise _damaged("its header names places that are none")
    return header


def _inflated(header: _Header, packed: memoryview) -> memoryview:
    """Inflate the arrays that a header tells of, to their size and not a byte more."""
    whole = _whole(header)
    if whole > _DENSEST * (len(packed) + 1):
        raise Unsound("its header tells of more than its bytes can hold")
    inflate = zlib.decompressobj()
    body = memoryview(inflate.decompress(packed, whole + 1))
    if len(body) != whole or not inflate.eof or inflate.unused_data:
        raise Unsound("its bytes are more or less than its header tells of")
    return body


def _whole(header: _Header) -> int:
    return sum(_size(name, dtype, shape) for name, dtype, shape in header.arrays)


def _arrays(header: _Header, body: memoryview) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give the arrays by name, as far as they are there."""
    at = 0
    for name, dtype, shape in header.arrays:
        size = _size(name, dtype, shape)
        if at + size > len(body):
            return
        yield name, np.frombuffer(body[at : at + size], dtype).reshape(shape) if size else np.zeros(shape, dtype)
        at += size


def _size(name: str, dtype: str, shape: list[int]) -> int:
    if dtype not in _DTYPES or len(shape) > _AXES or not all(0 <= length <= _LONGEST for length in shape):
        raise Unsound(f"{name[:_SHOWN]!r} is no array")
    return np.dtype(dtype).itemsize * math.prod(shape)


def _damaged(why: str) -> Refusal:
    return Refusal(f"The newest snapshot is damaged ({why}).", fix="upwell reset --models")


def _other(why: str) -> Refusal:
    return Refusal(
        f"The newest snapshot was made with other model settings ({why}).", fix="set them back, or `upwell reset --models`"
    )
