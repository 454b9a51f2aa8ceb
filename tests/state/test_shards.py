"""The state on a Redis Cluster of three primaries with a replica each: slots that move, primaries that die."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis import exceptions

from state import Reader, catalogue, items, segments, snapshots, trending
from state.cluster import Cluster, Replaced
from state.connection import connect, connect_cluster, open_redis, persistence_warning, send, server_identity
from state.items import CatalogueEntry
from state.keys import PART_TTL
from state.profiles import Profile, Write
from state.store import Applied, Store
from streams.embedded import RedisServer, free_port
from streams.failures import is_transient
from tests.leaks import assert_no_leaks
from tests.shards import SHARDS, SLOTS, Node, Shards
from tests.state.strategies import HOSTILE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from state.keys import Keys

USERS = [*HOSTILE, *(f"u{number}" for number in range(60))]


@pytest.fixture
async def client(shards: Shards) -> AsyncIterator[Cluster]:
    opened = connect_cluster(shards.url, timeout=5.0)
    yield opened
    await opened.aclose()


@pytest.fixture
def store(client: Cluster, keys: Keys) -> Store:
    return Store(client, keys)


def written(user_id: str, at: int) -> Write:
    return Profile(user_id, 0, {0: at}, updated_at=float(at)).write(0, b"[]", b"[]", b"")


async def at(store: Store, *users: str) -> list[int | None]:
    """How far these users are."""
    return [found and found.profile.at[0] for found in await store.load(users)]


def elsewhere(shards: Shards, keys: Keys) -> tuple[Node, str]:
    """A primary that has neither `applied` nor `safe`, and one of its users."""
    taken = {shards.owner(slot).port for slot in shards.slots_of([keys.applied, keys.safe])}
    for user in USERS:
        (slot,) = shards.slots_of([keys.user(user)])
        if (owner := shards.owner(slot)).port not in taken:
            return owner, user
    raise AssertionError("no user lives elsewhere")


async def assert_the_contract(client: Cluster, keys: Keys, url: str) -> None:
    """Every family of keys, over all shards."""
    store = Store(client, keys)
    assert await store.commit({0: [written(user, 5) for user in USERS]}, {0: Applied(None, 6)}) == {0: None}
    assert await store.commit({0: [written(user, 4) for user in USERS]}, {0: Applied(5, 5)}) == {0: 6}
    assert await at(store, *USERS) == [5] * len(USERS)
    for offset in (3, 5, 9):
        assert await snapshots.save(client, keys, offset, [b"a", b"%d" % offset], "w", at=0.0)
    assert not await snapshots.save(client, keys, 8, [b"late"], "w", at=0.0)
    found = await snapshots.load(client, keys)
    assert found is not None
    assert (found.offset, bytes(found.data)) == (9, b"a9")
    pointer = await snapshots.pointer(client, keys)
    named = snapshots.part_keys(keys, pointer.newest) + snapshots.part_keys(keys, pointer.previous)
    assert sorted([key async for key in client.scan_iter(keys.snapshot_pointer + b":*")]) == sorted(named)
    assert {await client.ttl(key) for key in snapshots.part_keys(keys, pointer.previous)} == {-1}
    assert all([0 < await client.ttl(key) <= PART_TTL for key in snapshots.part_keys(keys, pointer.newest)])
    before = await client.hgetall(keys.snapshot_pointer)
    assert await snapshots.save(client, keys, 10, [b"a"], "w", at=0.0)
    await client.delete(keys.snapshot_pointer)
    await client.hset(keys.snapshot_pointer, mapping=before)
    stay = [key async for key in client.scan_iter(keys.snapshot_pointer + b":*") if await client.ttl(key) == -1]
    assert set(stay) <= set(named), "of a flip that was lost with its primary nothing stays for good"
    await items.write_catalogue(client, keys, 0, [CatalogueEntry(user, 1, {"name": "n"}) for user in USERS])
    await items.write_statistics(client, keys, [(user, 1.0, []) for user in USERS])
    await trending.replace(client, keys, dict.fromkeys(USERS, 1.0))
    for number in range(8):
        await segments.write(
            client, keys, number, name=f"s{number}", size=1, share=0.1, growth=None, top=[], centroid=[], since=0.0, drift=0.0
        )
    await segments.keep_only(client, keys, [1, 6])
    await catalogue.begin_anew(client, keys, 2)
    await catalogue.complete(client, keys, catalogue.holder(client))
    assert await catalogue.read(client, keys) == catalogue.Mark(2, whole=True)
    with Reader(url, keys.prefix.decode()) as reader:
        assert [segment.id for segment in reader.segments()] == [1, 6]
        assert reader.applied() == {0: 6}
        assert all(reader.user(user) and reader.item(user) for user in USERS)
        assert len(reader.trending(100)) == len(USERS)
    await assert_no_leaks(client, keys, ours=True)


async def test_every_kind_of_key_is_kept_over_all_shards(client: Cluster, shards: Shards, keys: Keys) -> None:
    assert await client.ping()
    await assert_the_contract(client, keys, shards.url)
    assert {shards.owner(slot).port for slot in shards.slots_of(map(keys.user, USERS))} == {n.port for n in shards.primaries}
    assert await persistence_warning(client) is None
    assert len((await server_identity(client)).split(",")) == SHARDS


async def test_the_same_on_valkey(keys: Keys) -> None:
    with Shards() as valkey:
        async with connect_cluster(valkey.url) as client:
            await assert_the_contract(client, keys, valkey.url)


async def test_a_cluster_of_one_node_that_does_not_know_its_address_serves_as_well(
    own_redis: Callable[..., RedisServer], keys: Keys
) -> None:
    url = own_redis(cluster_enabled="yes").url
    node = connect(url)
    await send(node, [("CLUSTER ADDSLOTS", *range(SLOTS))])

    async def serves() -> bool:
        (found,) = await send(node, [("CLUSTER INFO",)])
        return bool(found["cluster_state"] == "ok")

    look: Callable[[], Awaitable[bool]] = serves
    await wait_until(look, what="the cluster serves")
    await node.aclose()
    url = url.replace("redis://", "redis+cluster://")
    async with connect_cluster(url) as client:
        await assert_the_contract(client, keys, url)
        assert await server_identity(client)


async def test_snapshots_whose_removal_was_lost_are_removed_by_the_next(client: Cluster, keys: Keys) -> None:
    for offset in (1, 2, 3, 4):
        await snapshots.save(client, keys, offset, [b"a", b"b"], "w", at=0.0)
    dropped = (await snapshots.pointer(client, keys)).dropped
    assert [one.offset for one in dropped] == [2, 1]
    for one in dropped:
        await client.set(snapshots.part_keys(keys, one)[1], b"b")
    await snapshots.save(client, keys, 5, [b"a", b"b"], "w", at=0.0)
    assert not any([await client.exists(snapshots.part_keys(keys, one)[1]) for one in dropped])
    await assert_no_leaks(client, keys, ours=True)


async def test_the_list_of_removed_snapshots_does_not_grow(client: Cluster, keys: Keys) -> None:
    for offset in range(1, snapshots.REMEMBERED + 5):
        await snapshots.save(client, keys, offset, [b"a"], "w", at=0.0)
    dropped = (await snapshots.pointer(client, keys)).dropped
    assert [one.offset for one in dropped] == [*range(snapshots.REMEMBERED + 2, 2, -1)]


async def test_a_node_that_is_away_does_not_keep_a_client_from_starting(shards: Shards, keys: Keys) -> None:
    url = f"redis+cluster://127.0.0.1:{free_port()},{shards.nodes[-1].address}"
    async with connect_cluster(url) as client:
        assert await Store(client, keys).applied() == {}
    with Reader(url) as reader:
        assert reader.user("nobody") is None


async def test_no_node_at_all_passes_and_a_redis_that_is_no_cluster_does_not(own_redis: Callable[..., RedisServer]) -> None:
    nobody = open_redis(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    with pytest.raises(exceptions.ConnectionError) as away:
        await nobody.ping()
    assert is_transient(away.value)
    single = open_redis(own_redis().url.replace("redis://", "redis+cluster://"))
    with pytest.raises(exceptions.RedisError, match="it is no Redis Cluster") as wrong:
        await single.ping()
    assert not is_transient(wrong.value)
    await nobody.aclose()
    await single.aclose()


@pytest.mark.parametrize("connections", [1, 2, 3])
async def test_a_slot_on_its_way_loses_nothing(
    client: Cluster, store: Store, shards: Shards, keys: Keys, connections: int
) -> None:
    """ASKING and the command it is for must take one connection, of however many there are."""
    known, new = "{slot}old", "{slot}new"
    (slot,) = shards.slots_of([keys.user(known)])
    await store.commit({0: [written(known, 1)]}, {0: Applied(None, 2)})
    await asyncio.gather(*(node.execute_command("PING") for node in client.get_primaries() for _ in range(connections)))
    to = next(node for node in shards.primaries if node is not shards.owner(slot))
    with shards.moving(slot, to):
        await store.commit({0: [written(new, 3), written("u1", 3)]}, {0: Applied(2, 4)})
        await store.commit({0: [written(known, 4)]}, {0: Applied(4, 5)})
        assert await at(store, known, new, "u1") == [4, 3, 3]
        assert await client.hget(keys.user(new), "at:0") == b"3"
    assert shards.owner(slot) is to
    await store.commit({0: [written(known, 5), written(new, 5)]}, {0: Applied(5, 6)})
    assert await at(store, known, new) == [5, 5]
    await store.verify()
    assert await store.applied() == {0: 6}


async def test_a_slot_may_move_to_a_node_that_the_client_has_not_met(client: Cluster, shards: Shards, keys: Keys) -> None:
    key = keys.user("{slot}")
    (slot,) = shards.slots_of([key])
    assert await client.hget(key, "at:0") is None
    to = next(node for node in shards.primaries if node is not shards.owner(slot))
    await client.nodes_manager.nodes_cache.pop(to.address).disconnect()
    with shards.moving(slot, to):
        await client.hset(key, "at:0", "7")
        assert await client.hget(key, "at:0") == b"7"


async def test_rule_6_a_replica_that_took_over_is_noticed_though_applied_lives_elsewhere(
    client: Cluster, store: Store, shards: Shards, keys: Keys
) -> None:
    victim, user = elsewhere(shards, keys)
    await store.commit({0: [written(user, 1)]}, {0: Applied(None, 2)})
    assert await store.doubtful({0: 2}) == {}
    await store.keep_safe({0: 1})
    before = client.primaries
    shards.fail_over(victim)
    with pytest.raises(exceptions.ConnectionError) as lost:
        await store.load([user])
    with pytest.raises(exceptions.ConnectionError):
        await store.verify()
    assert is_transient(lost.value)
    await store.revive()
    assert client.primaries != before
    assert await at(store, user) == [1]
    assert await store.doubtful({0: 2, 1: 9}) == {0: 1}
    await store.set_back({0: 1})
    assert await store.verify() == {0: 1}
    victim.start()
    await wait_until(shards.whole, what="the cluster is whole again")


async def test_rule_6_is_noticed_on_a_connection_that_lives(store: Store, shards: Shards, keys: Keys) -> None:
    """Once over and back again: the same process is primary, and its data may be another's."""
    victim, user = elsewhere(shards, keys)
    await store.load([user])
    heir = shards.replica(victim)
    shards.take_over(victim)
    shards.take_over(heir)
    assert victim.primary
    with pytest.raises(Replaced, match="is not the primary it was"):
        await store.load([user])
    await store.revive()
    assert await at(store, user) == [None]


async def test_rule_6_a_primary_that_began_anew_is_noticed(store: Store, shards: Shards, keys: Keys) -> None:
    victim, user = elsewhere(shards, keys)
    await store.load([user])
    victim.kill()
    victim.start()
    await wait_until(shards.whole, what="the cluster serves")
    with pytest.raises(exceptions.ConnectionError):
        await store.verify()
    with pytest.raises(Replaced):
        await store.verify()
