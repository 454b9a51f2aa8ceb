"""The learned log's records: one envelope with version and checksum, and a body per kind.

All numbers are little endian. A body is a row of *columns*, each ``uint32 rows, uint32 width, bytes``; the order and types
of a kind's columns are that kind's format, and any change of them is a new VERSION.
A record is written in the oldest version that can say it, so that workers that are upgraded one after another go on together.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.failures import Refusal
from streams.models.catalog_change import CatalogChange
from streams.models.ids import Packed
from streams.models.lesson import Lesson
from streams.models.soundness import Unsound

__all__ = ["CatalogChange", "Centers", "Kind", "Record", "damaged", "decode", "encode"]

# The newest that is read, and what most records are. In version 3 a lesson says whom to forget.
VERSION = 3
COMMON = 2
MAGIC = b"UL"
_ENVELOPE = struct.Struct("<2sBBIQiqq")
_CHECKED_FROM = 8
_COLUMN = struct.Struct("<II")
_LITTLE = sys.byteorder == "little"


class Kind(IntEnum):
    """What a record's body is."""

    LESSON = 1
    CATALOG = 2
    CENTERS = 3
    LAYOUT = 4
    RESET = 5


@dataclass(slots=True, frozen=True)
class Record:
    """One entry of the learned log; ``partition``, ``start`` and ``end`` place a lesson in the events topic (rule 1)."""

    kind: Kind
    writer: int
    partition: int
    start: int
    end: int
    body: bytes
    version: int = COMMON


@dataclass(slots=True)
class Centers:
    """Re-solved segment centers, already matched to the old ids; taken only if their generation is above the one at hand.

    Infinity stands in the row of an id that is free; without rows, the centers at hand stay.
    """

    generation: int
    at: float
    centers: NDArray[np.float64]


def encode(record: Record) -> bytes:
    """Write a record with its checksum."""
    place = record.partition, record.start, record.end
    head = _ENVELOPE.pack(MAGIC, record.version, record.kind, 0, record.writer, *place)
    check = zlib.crc32(record.body, zlib.crc32(head[_CHECKED_FROM:], zlib.crc32(head[:4])))
    return head[:4] + check.to_bytes(4, "little") + head[_CHECKED_FROM:] + record.body


def decode(value: bytes | None, offset: int) -> Record:
    """Read the record at a log offset; raise Refusal when it is damaged or of another version."""
    if value is None or len(value) < _ENVELOPE.size or value[:2] != MAGIC:
        raise damaged(offset, "it is no record")
    _, version, kind, check, writer, partition, start, end = _ENVELOPE.unpack_from(value)
    if version > VERSION:
        raise Refusal(
            f"The learned log holds a record of version {version} at offset {offset}; "
            f"this program reads up to version {VERSION}.",
            fix="upgrade this worker to the version of the others",
        )
    if version < COMMON:
        raise Refusal(
            f"The learned log holds a record of version {version} at offset {offset}; this program reads from {COMMON} on.",
            fix="start the models over with `upwell reset --models`",
        )
    if zlib.crc32(value[_CHECKED_FROM:], zlib.crc32(value[:4])) != check:
        raise damaged(offset, "its checksum does not match")
    try:
        return Record(Kind(kind), writer, partition, start, end, value[_ENVELOPE.size :], version)
    except ValueError:
        raise damaged(offset, f"kind {kind} is unknown") from None


def damaged(offset: int, why: str) -> Refusal:
    """Say that the record at a log offset cannot be folded, and why."""
    return Refusal(
        f"The learned log is damaged at offset {offset}: {why}. A log is never skipped over.",
        fix="restore the topic from a replica, or start the models over with `upwell reset --models`",
    )


def _columns(arrays: Iterable[NDArray[Any]]) -> bytes:
    parts: list[bytes] = []
    for array in arrays:
        width = array.shape[1] if array.ndim == 2 else 1
        parts.append(_COLUMN.pack(len(array), width))
        if array.size:
            parts.append((array if _LITTLE and array.dtype.isnative else array.astype(array.dtype.newbyteorder("<"))).tobytes())
    return b"".join(parts)


class _Column(NamedTuple):
    """What a column holds, in how many bytes each; whether it is a matrix; and one that is empty, for most are."""

    dtype: np.dtype[Any]
    size: int
    matrix: bool
    empty: NDArray[Any]


def _typed(names: str) -> Sequence[_Column]:
    """Give the types of columns; a leading ``2`` marks a matrix."""
    types = [(np.dtype("<" + name.lstrip("2")), name.startswith("2")) for name in names.split()]
    return [_Column(dtype, dtype.itemsize, matrix, np.zeros(0, dtype)) for dtype, matrix in types]


def _read(body: bytes, types: Sequence[_Column], at: int = 0) -> list[NDArray[Any]]:
    """Give the columns of a body from a place on; raise Unsound where it is no such columns, or more than these."""
    columns, length = [], len(body)
    for dtype, size, matrix, empty in types:
        rows, width = _COLUMN.unpack_from(body, at) if at + _COLUMN.size <= length else (1, 0)
        count = rows * width
        at += _COLUMN.size
        if (width != 1 and not matrix) or count * size > length - at:
            raise Unsound("its columns are not those of its kind")
        # Copied: only what is whole words of its own, and may be written to, is what kernels were compiled for.
        column = np.frombuffer(body, dtype, count, at).copy() if count else empty
        at += count * size
        columns.append(column.reshape(rows, width) if matrix else column)
    if at != length:
        raise Unsound("it is longer than its columns")
    return columns


def _scalars(kinds: struct.Struct, body: bytes) -> tuple[Any, ...]:
    """Read the numbers that a body begins with."""
    if len(body) < kinds.size:
        raise Unsound("it is too short for its kind")
    return kinds.unpack_from(body)


_LESSON_SCALARS = struct.Struct("<QQ")
_LESSON = _typed("u1 u4 i2 u1 u4 u1 u4 u4 u4 f4 f8 u1 i2 f8 2f8 f8 2f4 i2 i8 2f8 2f4 i8 2i8")
_FORGOTTEN = _typed("u1 u4 i8")


def with_lesson(record: Record, lesson: Lesson) -> Record:
    """Give the record that carries a lesson, in the version that it needs."""
    return replace(record, body=encode_lesson(lesson), version=VERSION if len(lesson.forgotten.ends) else COMMON)


def encode_lesson(lesson: Lesson) -> bytes:
    """Write a lesson's body; whom to forget comes last, and only where there is somebody."""
    return _LESSON_SCALARS.pack(lesson.events, lesson.judged) + _columns(
        (
            *_ids(lesson.user_ids),
            lesson.user_segments,
            *_ids(lesson.item_ids),
            *_ids(lesson.types),
            lesson.users,
            lesson.items,
            lesson.weights,
            lesson.times,
            lesson.kinds,
            lesson.segments,
            lesson.counts,
            lesson.sums,
            lesson.sse,
            lesson.sample,
            lesson.blend_segments,
            lesson.blend_events,
            lesson.gradient,
            lesson.hidden,
            lesson.hits,
            lesson.origins,
            *((*_ids(lesson.forgotten), lesson.forgotten_at) if len(lesson.forgotten.ends) else ()),
        )
    )


def decode_lesson(body: bytes, version: int = COMMON) -> Lesson:
    """Read a lesson's body; raise Unsound where it is none."""
    events, judged = _scalars(_LESSON_SCALARS, body)
    columns = _read(body, [*_LESSON, *(_FORGOTTEN if version >= VERSION else ())], _LESSON_SCALARS.size)
    user_blob, user_ends, user_segments, item_blob, item_ends, type_blob, type_ends, *rest = columns
    (
        users,
        items,
        weights,
        times,
        kinds,
        segments,
        counts,
        sums,
        sse,
        sample,
        blend_segments,
        blend_events,
        gradient,
        hidden,
        hits,
        origins,
        *forgotten,
    ) = rest
    lesson = Lesson(
        events=events,
        judged=judged,
        user_ids=_packed(user_blob, user_ends),
        user_segments=user_segments,
        item_ids=_packed(item_blob, item_ends),
        types=_packed(type_blob, type_ends),
        users=users,
        items=items,
        weights=weights,
        times=times,
        kinds=kinds,
        segments=segments,
        counts=counts,
        sums=sums,
        sse=sse,
        sample=sample,
        blend_segments=blend_segments,
        blend_events=blend_events,
        gradient=gradient,
        hidden=hidden,
        hits=hits,
        origins=origins,
    )
    if forgotten:
        ids, ends, lesson.forgotten_at = forgotten
        lesson.forgotten = _packed(ids, ends)
    return lesson


def encode_catalog(change: CatalogChange) -> bytes:
    """Write a catalogue change's body."""
    return _columns(
        (
            *_ids(change.item_ids),
            change.offsets,
            change.gone,
            change.available,
            change.token_starts,
            *_ids(change.tokens),
        )
    )


_CATALOG = _typed("u1 u4 i8 u1 u1 i8 u1 u4")


def decode_catalog(body: bytes) -> CatalogChange:
    """Read a catalogue change's body; raise Unsound where it is none."""
    blob, ends, offsets, gone, available, starts, tokens, token_ends = _read(body, _CATALOG)
    return CatalogChange(_packed(blob, ends), offsets, gone, available, starts, _packed(tokens, token_ends))


_CENTERS_SCALARS = struct.Struct("<Qd")


def encode_centers(centers: Centers) -> bytes:
    """Write the body of re-solved centers."""
    return _CENTERS_SCALARS.pack(centers.generation, centers.at) + _columns([centers.centers])


def decode_centers(body: bytes) -> Centers:
    """Read the body of re-solved centers; raise Unsound where it is none."""
    generation, at = _scalars(_CENTERS_SCALARS, body)
    (centers,) = _read(body, _typed("2f8"), _CENTERS_SCALARS.size)
    return Centers(generation, at, centers)


def _ids(packed: Packed) -> tuple[NDArray[Any], NDArray[Any]]:
    return packed.blob, packed.ends.astype(np.uint32)


def _packed(blob: NDArray[Any], ends: NDArray[Any]) -> Packed:
    return Packed(blob.astype(np.uint8, copy=False), ends.astype(np.int64))


def encode_knobs(parameters: Mapping[str, Mapping[str, object]]) -> bytes:
    """Write the models' settings, which all followers of a log must share, so that equal settings give equal bytes."""
    return msgspec.json.encode(parameters, order="deterministic")
