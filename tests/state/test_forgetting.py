"""What of a forgotten user is left in the keys of others goes; what others know of each other stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from state import snapshots
from state.forgetting import chunks, delete_older, named_by, sweep
from state.keys import PART_TTL
from tests.state.strategies import HOSTILE

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from state.keys import Keys


def near(*user_ids: str) -> bytes:
    return msgspec.json.encode([{"user_id": user_id, "similarity": 0.1234} for user_id in user_ids])


async def keep(redis: Redis, keys: Keys, user_id: str, text: bytes, at: int = 1) -> None:
    await redis.hset(keys.user(user_id), mapping={"neighbors": text, "at:0": at})
    await redis.expire(keys.user(user_id), 100)


@pytest.mark.parametrize("crowd", [1, 40])
async def test_a_forgotten_user_is_nobodys_neighbor_any_more(redis: Redis, keys: Keys, crowd: int) -> None:
    for user_id in HOSTILE:
        await keep(redis, keys, f"of {user_id}", near("first", user_id, "last"))
    await keep(redis, keys, "none", b"[]")
    await redis.hset(keys.user("refuses"), mapping={"consent": "false", "at:0": 1})
    await redis.expire(keys.user("refuses"), 100)
    gone = {*HOSTILE, *(f"unknown {n}" for n in range(crowd))}
    swept = await sweep(redis, keys, gone, 0)
    assert swept == (len(HOSTILE) + 2, len(HOSTILE))
    for user_id in HOSTILE:
        assert await redis.hget(keys.user(f"of {user_id}"), "neighbors") == near("first", "last")
        assert await named_by(redis, keys, user_id) == {}
    assert len(await named_by(redis, keys, "first")) == len(HOSTILE)
    assert await sweep(redis, keys, gone, 0) == (len(HOSTILE) + 2, 0)


async def test_nothing_but_keys_under_the_prefix_is_looked_at(redis: Redis, keys: Keys) -> None:
    await redis.hset("other:user:a", "neighbors", near("x"))
    await keep(redis, keys, "a", near("x"))
    assert [name async for names in chunks(redis, keys) for name in names] == [keys.user("a")]
    assert (await sweep(redis, keys, {"x"}, 0)).mended == 1
    assert await redis.hget("other:user:a", "neighbors") == near("x")
    await redis.delete("other:user:a")


async def test_only_a_hash_that_is_older_than_the_wish_is_deleted(redis: Redis, keys: Keys) -> None:
    for user_id, at in (("older", 4), ("refuses", 5), ("back", 6)):
        await keep(redis, keys, user_id, b"[]", at)
    wishes = [(user_id, 0, 5) for user_id in ("older", "refuses", "back", "unknown")]
    assert await delete_older(redis, keys, wishes) == 1
    assert await delete_older(redis, keys, []) == 0
    assert [await redis.exists(keys.user(user_id)) for user_id, _, _ in wishes] == [0, 1, 1, 0]


async def save(redis: Redis, keys: Keys, offset: int, how=snapshots.save) -> bool:
    return await how(redis, keys, offset, [b"%d" % offset, b"rest"], "w", at=1.0, size=3)


async def test_both_snapshots_are_renewed_by_one_flip(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 5)
    await save(redis, keys, 8)
    assert await save(redis, keys, 8, snapshots.renew)
    current = await snapshots.pointer(redis, keys)
    assert current.newest is not None
    assert current.previous is not None
    assert current.newest.offset == current.previous.offset == await snapshots.bound(redis, keys) == 8
    assert current.newest.writer != current.previous.writer
    named = {*snapshots.part_keys(keys, current.newest), *snapshots.part_keys(keys, current.previous)}
    assert {name async for name in redis.scan_iter(keys.snapshot_pointer + b":*")} == named
    await redis.delete(*snapshots.part_keys(keys, current.newest))
    told: list[str] = []
    found = await snapshots.load(redis, keys, report=told.append)
    assert found == (8, b"8rest")
    assert len(told) == 1
    assert not await save(redis, keys, 7, snapshots.renew), "a later one is there"
    assert {name async for name in redis.scan_iter(keys.snapshot_pointer + b":*")} < named


async def test_parts_that_a_dead_writer_left_go_with_the_pass(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 5)
    for offset in (3, 9):
        await redis.set(keys.snapshot_part(offset, "dead", 0), b"half", ex=PART_TTL)
    await sweep(redis, keys, {"x"}, 6)
    assert not await redis.exists(keys.snapshot_part(3, "dead", 0))
    assert await redis.exists(keys.snapshot_part(9, "dead", 0)), "somebody writes it now"
    assert await snapshots.load(redis, keys) == (5, b"5rest")
