"""Profiles and applied offsets survive any interleaving of writers, replays and losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from state.connection import connect
from state.keys import PART_TTL, USER_TTL, Keys
from state.profiles import ANEW, GONE, ONLY_STANDING, STANDING, Entry, Profile, Write
from state.store import Applied, Store
from tests.state.strategies import HOSTILE, ids
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from streams.embedded import RedisServer

NEIGHBORS = b'[{"user_id":"x","similarity":0.5}]'

# Each example flushes, so the function-scoped client is as good as new.
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def profile(user_id: str, at: int, *, partition: int = 0, events: int | None = None) -> Profile:
    return Profile(user_id, partition, {partition: at}, events=at if events is None else events, updated_at=float(at))


def write(user_id: str, at: int, *, partition: int = 0) -> Write:
    return written(profile(user_id, at, partition=partition))


def written(one: Profile) -> Write:
    history = msgspec.json.encode([Entry(one.user_id, "view", one.updated_at)])
    return one.write(one.partition, history, NEIGHBORS, b"{}")


@pytest.fixture
def store(redis: Redis, keys: Keys) -> Store:
    return Store(redis, keys, chunk=3)


async def offsets(store: Store, user_ids: list[str]) -> list[int | None]:
    return [found.profile.at[0] if found else None for found in await store.load(user_ids)]


async def test_a_profile_comes_back_as_it_went_in(store: Store) -> None:
    sent = [profile(user_id, n) for n, user_id in enumerate(HOSTILE)]
    for n, one in enumerate(sent):
        one.segment = n if n % 2 else None
        one.interest([*HOSTILE], 1.25, 1.7e9)
        one.at |= {7: n, 9: 0}
    await store.commit({0: [written(one) for one in sent]}, {})
    found = await store.load(HOSTILE)
    for one, loaded in zip(sent, found, strict=True):
        assert loaded is not None
        loaded.profile.partition = 0
        assert loaded == (one, [Entry(one.user_id, "view", one.updated_at)], NEIGHBORS, b"{}")


@PROPERTY
@given(st.lists(ids, unique=True, max_size=10))
async def test_any_id_is_found_under_its_own_name_only(store: Store, redis: Redis, user_ids: list[str]) -> None:
    await redis.flushall()
    await store.commit({0: [write(user_id, n) for n, user_id in enumerate(user_ids)]}, {})
    assert await offsets(store, [*user_ids, "\x00unknown"]) == [*range(len(user_ids)), None]


async def test_nothing_to_load_and_nothing_to_commit_are_legal(store: Store) -> None:
    assert await store.load([]) == []
    assert await store.commit({}, {}) == {}
    assert await store.commit({0: []}, {0: Applied(None, 0)}) == {0: None}


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 6), st.integers(1, 4)), max_size=25))
async def test_no_interleaving_of_two_writers_loses_the_newest_state(
    redis: Redis, keys: Keys, steps: list[tuple[str, int, int]]
) -> None:
    await redis.flushall()
    writers = {"a": Store(redis, keys, chunk=1), "b": Store(redis, keys, chunk=2)}
    newest = dict.fromkeys("uvw", -1)
    end = -1
    for name, at, users in steps:
        chosen = list(newest)[: min(users, 3)]
        # Users first, as on a cluster: what one Redis would leave out, for a later batch was written, is fenced here.
        await writers[name].commit({0: [write(user_id, at) for user_id in chosen]}, {})
        await writers[name].commit({}, {0: Applied(None, at + 1)})
        newest |= {user_id: max(newest[user_id], at) for user_id in chosen}
        end = max(end, at + 1)
    for user_id, found in zip(newest, await writers["a"].load(list(newest)), strict=True):
        stored = -1 if found is None else found.profile.at[0]
        assert stored == newest[user_id]
        assert found is None or (found.profile.events, found.profile.updated_at) == (stored, stored)
    assert (await writers["b"].applied()).get(0, -1) == end


async def test_partitions_fence_each_other_not_at_all(store: Store) -> None:
    await store.commit({0: [write("u", 9)]}, {})
    await store.commit({1: [write("u", 2, partition=1)]}, {})
    (found,) = await store.load(["u"])
    assert found is not None
    assert found.profile.at == {0: 9, 1: 2}
    assert found.profile.updated_at == 2.0


async def test_offsets_of_other_partitions_only_ever_rise(store: Store) -> None:
    for at, other in ((1, 9), (2, 5)):
        one = profile("u", at)
        one.at[4] = other
        await store.commit({0: [written(one)]}, {})
    (found,) = await store.load(["u"])
    assert found is not None
    assert found.profile.at == {0: 2, 4: 9}


async def test_a_segment_can_be_taken_back(store: Store, redis: Redis, keys: Keys) -> None:
    one = profile("u", 1)
    one.segment = 3
    await store.commit({0: [written(one)]}, {})
    assert await redis.hget(keys.user("u"), "segment") == b"3"
    one.segment, one.at[0] = None, 2
    await store.commit({0: [written(one)]}, {})
    assert await redis.hget(keys.user("u"), "segment") is None


async def test_commit_answers_with_the_offsets_stored_before(store: Store) -> None:
    assert await store.commit({}, {0: Applied(None, 5), 1: Applied(None, 7)}) == {0: None, 1: None}
    assert await store.commit({}, {0: Applied(5, 9)}) == {0: 5}
    assert await store.applied() == {0: 9, 1: 7}


async def test_applied_never_goes_back(store: Store) -> None:
    await store.commit({}, {0: Applied(None, 9)})
    assert await store.commit({}, {0: Applied(None, 5)}) == {0: 9}
    assert await store.commit({}, {0: Applied(9, 9)}) == {0: 9}
    assert await store.applied() == {0: 9}


async def test_when_redis_lost_writes_nothing_built_on_them_is_stored(store: Store, redis: Redis, keys: Keys) -> None:
    await store.commit({0: [write("u", 4)]}, {0: Applied(None, 5)})
    await redis.flushall()
    assert await store.commit({0: [write(u, 8) for u in "uvwxyz"]}, {0: Applied(5, 9)}) == {0: None}
    await redis.hset(keys.applied, "0", "3")
    assert await store.commit({0: [write(u, 8) for u in "uvwxyz"]}, {0: Applied(5, 9)}) == {0: 3}
    assert await offsets(store, list("uvwxyz")) == [None] * 6
    assert await store.applied() == {0: 3}


async def test_the_applied_offsets_come_along_with_users_and_are_told_once(store: Store) -> None:
    assert store.seen() is None
    await store.commit({0: [write("ada", 4)]}, {0: Applied(None, 5), 1: Applied(None, 7)})
    await store.load(["ada", "bob"])
    assert store.seen() == {0: 5, 1: 7}
    assert store.seen() is None


async def test_an_offset_that_redis_lost_is_not_advanced_over(store: Store) -> None:
    await store.commit({}, {0: Applied(None, 3)})
    assert await store.commit({}, {0: Applied(5, 9)}) == {0: 3}
    assert await store.applied() == {0: 3}


async def test_a_loss_in_one_partition_does_not_hold_up_another(store: Store) -> None:
    before = await store.commit({0: [write("u", 8)], 1: [write("v", 3, partition=1)]}, {0: Applied(5, 9), 1: Applied(None, 4)})
    assert before == {0: None, 1: None}
    assert await store.applied() == {1: 4}


async def test_an_offset_is_not_applied_when_one_of_its_users_cannot_be_written(store: Store, redis: Redis, keys: Keys) -> None:
    await redis.set(keys.user("bad"), "a string", ex=PART_TTL)
    writes = [write(user_id, 5) for user_id in ["a", "bad", "c", "d"]]
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.commit({0: writes}, {0: Applied(None, 6)})
    assert await store.applied() == {}
    await redis.delete(keys.user("bad"))
    await store.commit({0: writes}, {0: Applied(None, 6)})
    assert await store.applied() == {0: 6}


async def test_every_write_begins_the_ttl_again(store: Store, redis: Redis, keys: Keys) -> None:
    await store.commit({0: [write("u", 1)]}, {})
    await redis.expire(keys.user("u"), 10)
    await store.commit({0: [write("u", 2)]}, {})
    assert USER_TTL - 5 <= await redis.ttl(keys.user("u")) <= USER_TTL


async def test_a_script_flush_between_commits_is_not_noticed(store: Store, redis: Redis) -> None:
    await store.commit({0: [write("u", 1)]}, {0: Applied(None, 2)})
    await redis.script_flush()
    assert await store.commit({0: [write("u", 2)]}, {0: Applied(2, 3)}) == {0: 2}


async def test_a_restart_of_redis_raises_once_and_keeps_the_data(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis(appendfsync="always")
    client = connect(server.url)
    store = Store(client, Keys())
    await store.commit({0: [write("u", 1)]}, {0: Applied(None, 2)})
    server.kill()
    with pytest.raises(Lost):
        await store.load(["u"])
    server.start()
    assert await store.commit({0: [write("u", 2)]}, {0: Applied(2, 3)}) == {0: 2}
    await client.aclose()


async def test_a_connection_lost_while_idle_is_told_and_not_replaced_in_silence(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis(appendfsync="always")
    client = connect(server.url)
    store = Store(client, Keys())
    await store.applied()
    server.kill()
    server.start()
    (idle,) = client.connection_pool._available_connections
    assert idle._reader is not None
    await wait_until(idle._reader.at_eof)
    with pytest.raises(Lost, match="lost while it was idle"):
        await store.applied()
    assert await store.applied() == {}
    await client.aclose()


def erased(user_id: str, at: int) -> Write:
    return profile(user_id, at).write_standing(0, GONE)


async def test_who_is_forgotten_is_gone_and_whose_event_is_older_than_the_profile_is_not(store: Store) -> None:
    await store.commit({0: [write("u", 3), write("v", 9)]}, {})
    assert await store.commit({0: [erased("u", 5), erased("v", 5)]}, {0: Applied(None, 6)}) == {0: None}
    assert await offsets(store, ["u", "v"]) == [None, 9]
    assert await store.applied() == {0: 6}


async def test_a_late_write_of_an_applied_batch_brings_nobody_back(store: Store) -> None:
    await store.commit({0: [write("u", 3)]}, {0: Applied(None, 4)})
    await store.commit({0: [erased("u", 5)]}, {0: Applied(4, 6)})
    for expected in (None, 0, 4):
        await store.commit({0: [write("u", 4)]}, {0: Applied(expected, 5)})
    assert await offsets(store, ["u"]) == [None]
    await store.commit({0: [write("u", 6)]}, {0: Applied(6, 7)})
    assert await offsets(store, ["u"]) == [6]


async def test_an_offset_is_not_applied_when_one_who_is_forgotten_is_still_there(store: Store, redis: Redis, keys: Keys) -> None:
    await redis.hset(keys.user("u"), "at:0", 2)
    command = store._advance_command(0, Applied(None, 6), [[erased("u", 5)]])
    assert await redis.execute_command(*command) == -1
    assert await store.applied() == {}
    await redis.delete(keys.user("u"))
    await redis.execute_command(*command)
    assert await store.applied() == {0: 6}


async def test_of_one_who_refuses_only_that_and_the_fences_are_stored_and_consent_begins_anew(
    store: Store, redis: Redis, keys: Keys
) -> None:
    one = profile("u", 3)
    one.at[7] = 1
    await store.commit({0: [written(one)]}, {})
    one.forget()
    one.at[0], one.consent = 4, False
    await store.commit({0: [one.write_standing(0, ONLY_STANDING)]}, {})
    assert await redis.hgetall(keys.user("u")) == {b"at:0": b"4", b"at:7": b"1", b"consent": b"false"}
    assert 0 < await redis.ttl(keys.user("u")) <= USER_TTL
    one.at[0], one.consent, one.consent_from, one.events = 5, True, 5, 1
    await store.commit({0: [one.write(0, b"[]", b"[]", b"{}", ANEW)]}, {})
    (found,) = await store.load(["u"])
    assert found is not None
    assert (found.profile.consent, found.profile.consent_from, found.profile.events) == (True, 5, 1)
    assert found.profile.at == {0: 5, 7: 1}


async def test_consent_alone_leaves_the_profile_as_it_is(store: Store) -> None:
    one = profile("u", 3)
    await store.commit({0: [written(one)]}, {})
    one.at[0], one.consent = 4, True
    await store.commit({0: [one.write_standing(0, STANDING)]}, {})
    (found,) = await store.load(["u"])
    assert found is not None
    assert (found.profile.consent, found.profile.events, found.profile.at) == (True, 3, {0: 4})
    assert found.neighbors == NEIGHBORS
