"""The leak check finds what it is there for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from state import snapshots
from tests.leaks import assert_no_leaks, leaked_keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from state.keys import Keys


async def test_a_user_without_ttl_leaks_and_one_with_ttl_does_not(redis: Redis, keys: Keys) -> None:
    await redis.hset(keys.user("u"), "events", "1")
    with pytest.raises(AssertionError, match="user:u"):
        await assert_no_leaks(redis, keys)
    await redis.expire(keys.user("u"), 60)
    await assert_no_leaks(redis, keys)


async def test_a_key_of_no_family_leaks_even_with_ttl(redis: Redis, keys: Keys) -> None:
    await redis.set("stray", "x", ex=60)
    assert await leaked_keys(redis, keys) == ["b'stray'"]
    await redis.delete("stray")


async def test_a_part_may_stay_only_when_the_pointer_names_it(redis: Redis, keys: Keys) -> None:
    await snapshots.save(redis, keys, 5, [b"x"], "w", at=0.0)
    await assert_no_leaks(redis, keys)
    await redis.set(keys.snapshot_part(6, "w", 0), b"x")
    assert len(await leaked_keys(redis, keys)) == 1
    await redis.delete(keys.snapshot_part(6, "w", 0))
