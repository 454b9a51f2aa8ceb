"""Forgetting in Redis: what of a user is left in the keys of others, and what writers that had not heard of it brought back."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from state import snapshots
from state.connection import Client, is_cluster, script, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from state.keys import Keys

__all__ = ["Swept", "chunks", "delete_older", "named_by", "names_any", "neighbors", "sweep"]

# Keys looked at in one round trip: a millisecond's work of Redis.
_AT_ONCE: Final = 500
# Of so many users a text is searched for any; for more it is decoded.
_MENTIONS: Final = 16
# The pass rests as long as it worked: it takes no more than half of a worker, and of Redis far less.
_REST: Final = 1.0


class _Near(msgspec.Struct):
    """One of a user's neighbors."""

    user_id: str
    similarity: float


_near: Final = msgspec.json.Decoder(list[_Near])


class Swept(NamedTuple):
    """How many keys a pass looked at, and how many profiles named somebody who was forgotten."""

    keys: int
    mended: int


async def sweep(redis: Client, keys: Keys, user_ids: Collection[str], below: int) -> Swept:
    """Take users out of the neighbors of all others, and snapshot parts below a log offset that no pointer names, in one pass."""
    looked = mended = 0
    mention = _mention(user_ids)
    async for names in chunks(redis, keys):
        begun = time.monotonic()
        looked += len(names)
        mended += await _mend(redis, [name for name in names if keys.user_of(name) is not None], user_ids, mention)
        parts = [name for name in names if keys.family(name) == "snapshot part"]
        if parts:
            await snapshots.unlink_unnamed(redis, keys, parts, below)
        await asyncio.sleep(_REST * (time.monotonic() - begun))
    return Swept(looked, mended)


async def chunks(redis: Client, keys: Keys) -> AsyncIterator[list[bytes]]:
    """Give the names of all keys under the prefix, some at a time; one that is there throughout is given at least once."""
    names: list[bytes] = []
    async for name in redis.scan_iter(match=keys.prefix + b"*", count=_AT_ONCE):
        names.append(name)
        if len(names) >= _AT_ONCE:
            yield names
            names = []
    if names:
        yield names


async def neighbors(redis: Client, names: Sequence[bytes]) -> list[bytes]:
    """Read the neighbors of users by the names of their hashes, as JSON; empty where there are none."""
    if not names:
        return []
    if is_cluster(redis):
        return [text or b"" for text in await send(redis, [("HGET", name, "neighbors") for name in names])]
    (found,) = await send(redis, [("EVAL", script("read_field"), len(names), *names, "neighbors")])
    return list(found)


def names_any(text: bytes, user_ids: Collection[str]) -> bool:
    """Tell whether one of these users is among neighbors."""
    return any(one.user_id in user_ids for one in _near.decode(text or b"[]"))


async def _mend(redis: Client, names: Sequence[bytes], user_ids: Collection[str], mention: re.Pattern[bytes]) -> int:
    found = zip(names, await neighbors(redis, names), strict=True)
    near = [(name, old) for name, old in found if mention.search(old)]
    stale = [(name, old, new) for name, old in near if (new := _without(old, user_ids)) != old]
    if stale:
        await send(redis, [("EVAL", script("replace_field"), 1, name, "neighbors", old, new) for name, old, new in stale])
    return len(stale)


def _mention(user_ids: Collection[str]) -> re.Pattern[bytes]:
    """Find what may name one of these users, which spares decoding all others; an escaped character may be any."""
    if len(user_ids) > _MENTIONS:
        return re.compile(b"")
    return re.compile(b"|".join(re.escape(user_id.encode()) for user_id in user_ids) + rb"|\\")


def _without(text: bytes, user_ids: Collection[str]) -> bytes:
    near = _near.decode(text or b"[]")
    others = [one for one in near if one.user_id not in user_ids]
    return text if len(others) == len(near) else msgspec.json.encode(others)


async def named_by(redis: Client, keys: Keys, user_id: str) -> dict[str, float]:
    """Give the users whose neighbors name a user, with the similarity, in a pass over all keys."""
    found: dict[str, float] = {}
    async for names in chunks(redis, keys):
        users = [name for name in names if keys.user_of(name) is not None]
        texts = await neighbors(redis, users)
        near = ((name, one) for name, text in zip(users, texts, strict=True) if text for one in _near.decode(text))
        found |= {(keys.user_of(name) or b"").decode(): one.similarity for name, one in near if one.user_id == user_id}
    return found


async def delete_older(redis: Client, keys: Keys, forgotten: Iterable[tuple[str, int, int]]) -> int:
    """Delete the hashes of users, each of them where it is older than the event (partition, offset) that made forget."""
    commands: list[tuple[Any, ...]] = [
        ("EVAL", script("forget_user"), 1, keys.user(user_id), partition, offset) for user_id, partition, offset in forgotten
    ]
    return sum(map(int, await send(redis, commands))) if commands else 0
