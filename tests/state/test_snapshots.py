"""A snapshot is found whole or not at all, and the pointer only moves forward (rule 7)."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from state import snapshots
from state.keys import PART_TTL

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from state.keys import Keys

PARTS = [b"first ", b"second ", b"", b"third"]
DATA = b"".join(PARTS)


async def save(redis: Redis, keys: Keys, offset: int, data: bytes = DATA, writer: str = "w") -> bool:
    return await snapshots.save(redis, keys, offset, [data], writer, at=1.0, size=4)


async def parts(redis: Redis, keys: Keys) -> list[bytes]:
    return [key async for key in redis.scan_iter(keys.snapshot_pointer + b":*")]


async def load(redis: Redis, keys: Keys) -> tuple[tuple[int, bytes] | None, list[str]]:
    reasons: list[str] = []
    found = await snapshots.load(redis, keys, report=reasons.append)
    return found and (found.offset, bytes(found.data)), reasons


async def test_no_snapshot_is_none(redis: Redis, keys: Keys) -> None:
    assert await load(redis, keys) == (None, [])
    assert await snapshots.bound(redis, keys) == 0


async def test_a_snapshot_comes_back_as_it_went_in(redis: Redis, keys: Keys) -> None:
    assert await snapshots.save(redis, keys, 7, iter(PARTS), "w", at=2.5)
    assert await load(redis, keys) == ((7, DATA), [])
    newest = (await snapshots.pointer(redis, keys)).newest
    assert newest is not None
    assert (newest.parts, newest.bytes, newest.at) == (3, len(DATA), 2.5)


async def test_an_empty_snapshot_is_one(redis: Redis, keys: Keys) -> None:
    assert await snapshots.save(redis, keys, 7, [], "w", at=0.0)
    assert await load(redis, keys) == ((7, b""), [])


async def test_larger_parts_are_cut(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 7)
    assert all([await redis.strlen(key) <= 4 for key in await parts(redis, keys)])
    assert snapshots.PART_BYTES == 8 * 1024 * 1024


async def test_the_newest_two_stay_for_good_and_the_third_goes(redis: Redis, keys: Keys) -> None:
    bounds = []
    for offset in (3, 5, 9):
        assert await save(redis, keys, offset, b"%d" % offset)
        bounds.append(await snapshots.bound(redis, keys))
    assert bounds == [0, 3, 5]
    left = await parts(redis, keys)
    assert len(left) == 2
    assert not any(b"snapshot:3:" in key for key in left)
    assert [await redis.ttl(key) for key in left] == [-1, -1]


async def test_an_older_or_equal_offset_never_flips_the_pointer_back(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 7, b"newer")
    for offset in (6, 7):
        assert not await save(redis, keys, offset, b"older")
    assert await load(redis, keys) == ((7, b"newer"), [])
    assert len(await parts(redis, keys)) == 2


async def test_concurrent_writers_leave_the_newest_two_whole(redis: Redis, keys: Keys) -> None:
    chance = random.Random(5)
    offsets = [chance.randrange(50) for _ in range(40)]
    flipped = await asyncio.gather(*(save(redis, keys, o, b"%d" % o, f"w{n}") for n, o in enumerate(offsets)))
    best = max(offsets)
    assert await load(redis, keys) == ((best, b"%d" % best), [])
    pointer = await snapshots.pointer(redis, keys)
    named = snapshots.part_keys(keys, pointer.newest) + snapshots.part_keys(keys, pointer.previous)
    assert sorted(await parts(redis, keys)) == sorted(named)
    assert sum(flipped) == len({o for o, ok in zip(offsets, flipped, strict=True) if ok})


async def test_a_missing_part_falls_back_to_the_previous_snapshot_and_says_why(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 3, b"previous")
    await save(redis, keys, 5, b"newest one")
    lost = next(key for key in await parts(redis, keys) if b"snapshot:5:" in key)
    await redis.delete(lost)
    found, reasons = await load(redis, keys)
    assert found == (3, b"previous")
    assert len(reasons) == 1
    assert f"part {lost.decode()} is missing" in reasons[0]


@pytest.mark.parametrize("damage", [b"xxxx", b"longer than it was", b""])
async def test_changed_bytes_fall_back_likewise(redis: Redis, keys: Keys, damage: bytes) -> None:
    await save(redis, keys, 3, b"previous")
    await save(redis, keys, 5, b"newest one")
    changed = next(key for key in await parts(redis, keys) if b"snapshot:5:" in key)
    await redis.set(changed, damage)
    found, reasons = await load(redis, keys)
    assert found == (3, b"previous")
    assert "snapshot at 5 is damaged" in reasons[0]


async def test_two_damaged_snapshots_are_none_with_two_reasons(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 3)
    await save(redis, keys, 5)
    await redis.delete(*await parts(redis, keys))
    found, reasons = await load(redis, keys)
    assert found is None
    assert [reason[:13] for reason in reasons] == ["snapshot at 5", "snapshot at 3"]


async def test_a_damaged_newest_does_not_push_out_the_whole_one_before(redis: Redis, keys: Keys) -> None:
    await save(redis, keys, 3, b"whole")
    await save(redis, keys, 5, b"lost")
    await redis.delete(*[key for key in await parts(redis, keys) if b"snapshot:5:" in key])
    await save(redis, keys, 9, b"next")
    assert await snapshots.bound(redis, keys) == 3
    await redis.delete(*[key for key in await parts(redis, keys) if b"snapshot:9:" in key])
    assert (await load(redis, keys))[0] == (3, b"whole")


async def test_parts_of_a_writer_that_dies_expire(redis: Redis, keys: Keys) -> None:
    def dying() -> Any:
        yield b"abcd"
        raise KeyboardInterrupt

    await save(redis, keys, 3, b"good")
    with pytest.raises(KeyboardInterrupt):
        await snapshots.save(redis, keys, 5, dying(), "w", at=0.0)
    (left,) = [key for key in await parts(redis, keys) if b"snapshot:5:" in key]
    assert 0 < await redis.ttl(left) <= PART_TTL
    assert await load(redis, keys) == ((3, b"good"), [])


async def test_a_snapshot_whose_parts_expired_meanwhile_is_not_named(redis: Redis, keys: Keys) -> None:
    lost = snapshots.Named(9, "w-dead", parts=2, bytes=8, crc32=0, at=0.0)
    with pytest.raises(RuntimeError, match="gone before it is complete"):
        await snapshots._flip(redis, keys, [lost])
    assert await load(redis, keys) == (None, [])


async def test_a_reader_that_is_overtaken_reads_the_newer_snapshot(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await save(redis, keys, 3, b"old")
    read = snapshots.read

    async def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(snapshots, "read", read)
        for offset in (5, 9):
            await save(redis, keys, offset, b"%d" % offset)
        return await read(*arguments)

    monkeypatch.setattr(snapshots, "read", overtaken)
    assert await load(redis, keys) == ((9, b"9"), [])
