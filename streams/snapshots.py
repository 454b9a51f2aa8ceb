"""Snapshots of the fold (rule 7): models and positions as bytes, with a versioned header; never pickle."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Taught
from streams.models.ids import Ids
from streams.models.models import Models
from streams.records import encode_knobs

__all__ = ["Frozen", "freeze", "thaw", "users_of"]

# The newest that is read. In version 2 is who was active when; a fold without limits has nothing of it, and is version 1.
VERSION = 2
_MAGIC = b"ULSNAP"


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
    """Read a snapshot into a new fold; raise Refusal when it is of a newer version or does not fit the settings."""
    header, end = _header(data)
    if header.knobs not in {b"", encode_knobs(parameters)}:
        raise _other("the learned log says so")
    arrays = dict(_arrays(header, zlib.decompress(memoryview(data)[end:])))
    try:
        models = Models.from_arrays(arrays, **parameters)
    except (KeyError, ValueError) as error:
        raise _other(str(error)) from error
    fold = Fold(models, Taught(header.taught, header.origins))
    fold.partitions = header.partitions
    return fold


def users_of(data: bytes | bytearray) -> Ids | None:
    """Read who is known to a snapshot, also to the beginning of one whose rest is lost; None where that is lost as well."""
    header, end = _header(data)
    found = dict(_arrays(header, zlib.decompressobj().decompress(memoryview(data)[end:])))
    own = {name: found[f"users.{name}"] for name in ("blob", "ends") if f"users.{name}" in found}
    return Ids.from_arrays(own) if len(own) == 2 else None


def _header(data: bytes | bytearray) -> tuple[_Header, int]:
    """Read what stands before the arrays, and where they begin."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise Refusal("The newest snapshot is none of Upwell's.", fix="upwell reset --models")
    start = len(_MAGIC) + 4
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = msgspec.json.decode(bytes(data[start:end]), type=_Header)
    if header.version > VERSION:
        raise Refusal(
            f"The newest snapshot is of version {header.version}; this program reads up to version {VERSION}.",
            fix="upgrade this worker to the version of the others",
        )
    return header, end


def _arrays(header: _Header, body: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give the arrays by name, as far as they are there."""
    at = 0
    for name, dtype, shape in header.arrays:
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        if at + size > len(body):
            return
        yield name, np.frombuffer(body, dtype, count, at).reshape(shape)
        at += size


def _other(why: str) -> Refusal:
    return Refusal(
        f"The newest snapshot was made with other model settings ({why}).", fix="set them back, or `upwell reset --models`"
    )
