"""Snapshots of the models in Redis: parts, then one pointer that is flipped; the newest two are kept (rule 7)."""

from __future__ import annotations

import logging
import secrets
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from state.connection import Client, is_cluster, script, send
from state.keys import PART_TTL, Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["PART_BYTES", "Named", "Snapshot", "bound", "load", "part_keys", "pointer", "read", "renew", "save", "unlink_unnamed"]

# Larger strings make Redis stall for other clients while it copies them (rule 7).
PART_BYTES: Final = 8 * 1024 * 1024
MISSING: Final = -1
# A reader can lose a race with two flips in a row, hardly with more.
ATTEMPTS: Final = 3
# On a cluster: how many removed snapshots are removed once more, each by every later flip that still lists it.
REMEMBERED: Final = 8

_log: Final = logging.getLogger(__name__)


class Named(msgspec.Struct, frozen=True):
    """What the pointer says of one snapshot; ``at`` in seconds."""

    offset: int
    writer: str
    parts: int
    bytes: int
    crc32: int
    at: float


class Snapshot(NamedTuple):
    """The bytes of the models as of an offset of the learned log."""

    offset: int
    data: bytearray


class Pointer(NamedTuple):
    """The pointer hash as it was read; ``raw`` is what flip_snapshot.lua compares."""

    newest: Named | None
    previous: Named | None
    dropped: list[Named]
    raw: bytes


async def pointer(redis: Client, keys: Keys) -> Pointer:
    """Read which snapshots there are, and on a cluster which ones were removed last, newest first."""
    (found,) = await send(redis, [("HMGET", keys.snapshot_pointer, "newest", "previous", "dropped")])
    newest, previous, dropped = found
    return Pointer(_named(newest), _named(previous), _listed(dropped), newest or b"")


def _named(stored: bytes | None) -> Named | None:
    return msgspec.json.decode(stored, type=Named) if stored else None


def _listed(stored: bytes | None) -> list[Named]:
    return msgspec.json.decode(stored, type=list[Named]) if stored else []


def part_keys(keys: Keys, named: Named | None) -> list[bytes]:
    """Name the parts of a snapshot."""
    if named is None:
        return []
    return [keys.snapshot_part(named.offset, named.writer, i) for i in range(named.parts)]


def _cut(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    for part in parts:
        for first in range(0, len(part), size):
            yield part[first : first + size]


async def save(
    redis: Client, keys: Keys, offset: int, parts: Iterable[bytes], writer: str, *, at: float, size: int = PART_BYTES
) -> bool:
    """Write a snapshot and make it the newest; False: one of this or a later offset is there already."""
    return await _save(redis, keys, [await _written(redis, keys, _begun(offset, writer, at), _cut(parts, size))])


async def renew(
    redis: Client, keys: Keys, offset: int, parts: Sequence[bytes], writer: str, *, at: float, size: int = PART_BYTES
) -> bool:
    """Write a snapshot twice, in place of both that there are; False: one of a later offset is there already.

    For what is before it in the log, nothing is needed any more: of two that are alike, one may be lost.
    """
    copies = [await _written(redis, keys, _begun(offset, writer, at), _cut(parts, size)) for _ in range(2)]
    return await _save(redis, keys, copies)


async def unlink_unnamed(redis: Client, keys: Keys, names: Iterable[bytes], below: int) -> None:
    """Remove parts, of these, that no pointer names and that are of offsets below this: somebody ended before a flip."""
    current = await pointer(redis, keys)
    named = {*part_keys(keys, current.newest), *part_keys(keys, current.previous)}
    await _unlink(redis, [name for name in names if name not in named and keys.snapshot_offset(name) < below])


def _begun(offset: int, writer: str, at: float) -> Named:
    # A writer's second attempt at an offset must not touch the parts of its first one.
    return Named(offset, f"{writer}-{secrets.token_hex(4)}", parts=0, bytes=0, crc32=0, at=at)


async def _save(redis: Client, keys: Keys, copies: Sequence[Named]) -> bool:
    flipped = await _flip(redis, keys, copies)
    if not flipped:
        # Not after an error: a flip whose answer was lost may have happened, and TTLs clear away what it left.
        await _unlink(redis, [name for one in copies for name in part_keys(keys, one)])
    return flipped


async def _written(redis: Client, keys: Keys, named: Named, parts: Iterable[bytes]) -> Named:
    count = size = crc = 0
    for part in parts:
        await redis.set(keys.snapshot_part(named.offset, named.writer, count), part, ex=PART_TTL)
        count, size, crc = count + 1, size + len(part), zlib.crc32(part, crc)
    return msgspec.structs.replace(named, parts=count, bytes=size, crc32=crc)


async def _flip(redis: Client, keys: Keys, copies: Sequence[Named]) -> bool:
    while True:
        current = await pointer(redis, keys)
        # In place of both, one of the same offset may be: it is as good.
        if current.newest and current.newest.offset >= copies[0].offset + (len(copies) > 1):
            return False
        flip = _flip_cluster if is_cluster(redis) else _flip_once
        if await flip(redis, keys, current, copies):
            return True


async def _kept(redis: Client, keys: Keys, current: Pointer, copies: Sequence[Named]) -> tuple[Named | None, list[Named]]:
    """Choose the one before the newest, and what is dropped."""
    if len(copies) > 1:
        return copies[1], [one for one in (current.newest, current.previous) if one]
    kept, dropped = await _whole(redis, keys, current)
    return kept, [dropped] if dropped else []


async def _whole(redis: Client, keys: Keys, current: Pointer) -> tuple[Named | None, Named | None]:
    # A newest snapshot with lost parts must not push out a previous one that is whole.
    names = part_keys(keys, current.newest)
    present = sum([await redis.exists(name) for name in names])
    whole = present == len(names) or current.previous is None
    return (current.newest, current.previous) if whole else (current.previous, current.newest)


async def _flip_once(redis: Client, keys: Keys, current: Pointer, copies: Sequence[Named]) -> bool:
    named = copies[0]
    kept, dropped = await _kept(redis, keys, current, copies)
    new = [name for one in copies for name in part_keys(keys, one)]
    names = [keys.snapshot_pointer, *new, *(name for one in dropped for name in part_keys(keys, one))]
    values = (current.raw, msgspec.json.encode(named), _told(kept), len(new), b"")
    (answer,) = await send(redis, [("EVAL", script("flip_snapshot"), len(names), *names, *values)])
    if answer == MISSING:
        message = f"parts of the snapshot at {named.offset} are gone before it is complete: Redis is slow or evicts keys"
        raise RuntimeError(message)
    return bool(answer)


async def _flip_cluster(redis: Client, keys: Keys, current: Pointer, copies: Sequence[Named]) -> bool:
    """Flip where the keys live on several servers: a death between the steps costs one snapshot, never both.

    The flip may be lost with its primary, and its parts would stay for good though nothing names them. So those of the newest
    stay for good only when the next is there, and go in an hour before; the older of the two is there for good. What was
    removed is removed once more by the next few flips: a worker may die before it does so, and a shard may lose it.
    """
    kept, dropped = await _kept(redis, keys, current, copies)
    removed = [*dropped, *current.dropped][:REMEMBERED]
    values = (current.raw, msgspec.json.encode(copies[0]), _told(kept), 0, msgspec.json.encode(removed) if removed else b"")
    (flipped,) = await send(redis, [("EVAL", script("flip_snapshot"), 1, keys.snapshot_pointer, *values)])
    if not flipped:
        return False
    await send(redis, [("PERSIST", name) for name in part_keys(keys, kept)])
    await _unlink(redis, [name for one in removed for name in part_keys(keys, one)])
    return True


def _told(named: Named | None) -> bytes:
    return msgspec.json.encode(named) if named else b""


async def _unlink(redis: Client, names: Iterable[bytes]) -> None:
    for name in names:
        await redis.unlink(name)


async def load(redis: Client, keys: Keys, *, report: Callable[[str], object] = _log.warning) -> Snapshot | None:
    """Read the newest whole snapshot; None: there is none. Each damaged one is reported in a sentence."""
    for _ in range(ATTEMPTS):
        current = await pointer(redis, keys)
        damages: list[str] = []
        for named in (current.newest, current.previous):
            if named is None:
                continue
            found = await read(redis, keys, named)
            if isinstance(found, Snapshot):
                for damage in damages:
                    report(damage)
                return found
            damages.append(found)
        if (await pointer(redis, keys)).raw == current.raw:
            for damage in damages:
                report(damage)
            return None
    message = "the snapshots in Redis change faster than they can be read; raise snapshot.seconds"
    raise RuntimeError(message)


async def read(redis: Client, keys: Keys, named: Named) -> Snapshot | str:
    """Read one snapshot, or say in a sentence how it is damaged."""
    data = bytearray()
    crc = 0
    for name in part_keys(keys, named):
        part: Any = await redis.get(name)
        if part is None:
            return f"snapshot at {named.offset} is damaged: part {name.decode(errors='replace')} is missing"
        data += part
        crc = zlib.crc32(part, crc)
    if len(data) != named.bytes or crc != named.crc32:
        return (
            f"snapshot at {named.offset} is damaged: {len(data)} bytes with checksum {crc:08x} "
            f"instead of {named.bytes} bytes with {named.crc32:08x}"
        )
    return Snapshot(named.offset, data)


async def bound(redis: Client, keys: Keys) -> int:
    """Give the log offset that must be kept: the older of the last two snapshots', 0 until there are two."""
    current = await pointer(redis, keys)
    return current.previous.offset if current.newest and current.previous else 0
