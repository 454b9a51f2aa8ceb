"""The check after every test: a key in Redis has a TTL, or is on the list of permanent keys in state/keys.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from state import snapshots

if TYPE_CHECKING:
    from state.connection import Client
    from state.keys import Keys

NO_TTL = -1


async def leaked_keys(redis: Client, keys: Keys, *, ours: bool = False) -> list[str]:
    """List the keys that would stay for ever without being meant to, or that do not carry the prefix, unless only ``ours``."""
    pointer = await snapshots.pointer(redis, keys)
    # A shard may have lost a removal after the last flip of a test: what the next one would remove is no leak.
    listed = [pointer.newest, pointer.previous, *pointer.dropped]
    named = {part for one in listed for part in snapshots.part_keys(keys, one)}
    leaked = []
    async for key in redis.scan_iter(keys.prefix + b"*" if ours else None, count=1000):
        meant = keys.permanent(key) or key in named
        if not meant and (keys.family(key) is None or await redis.ttl(key) == NO_TTL):
            leaked.append(repr(key))
    return sorted(leaked)


async def assert_no_leaks(redis: Client, keys: Keys, *, ours: bool = False) -> None:
    """Fail with the names of the leaked keys."""
    leaked = await leaked_keys(redis, keys, ours=ours)
    assert not leaked, f"keys without TTL that state/keys.py does not name permanent: {', '.join(leaked)}"
