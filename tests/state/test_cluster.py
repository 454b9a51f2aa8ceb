"""The same state on a Redis Cluster, where a script may touch one key only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from state import Reader, items, snapshots, trending
from state.connection import connect, connect_cluster, is_cluster, persistence_warning, server_identity
from state.items import CatalogueEntry
from state.keys import Keys
from state.profiles import Profile
from state.store import Applied, Store
from tests.state.strategies import HOSTILE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import RedisCluster

    from streams.embedded import RedisServer

SLOTS = 16_384


@pytest.fixture
async def cluster(own_redis: Callable[..., RedisServer]) -> AsyncIterator[tuple[str, RedisCluster]]:
    """A cluster of one node, which refuses keys of different slots in one call as larger ones do."""
    url = own_redis(cluster_enabled="yes").url
    node = connect(url)
    command: Any = node.execute_command
    await command("CLUSTER ADDSLOTS", *range(SLOTS))

    async def serves() -> bool:
        return bool((await command("CLUSTER INFO"))["cluster_state"] == "ok")

    look: Callable[[], Awaitable[bool]] = serves
    await wait_until(look, what="the cluster serves")
    await node.aclose()
    client = connect_cluster(url)
    yield url, client
    await client.aclose()


def profile(user_id: str, at: int) -> Profile:
    return Profile(user_id, 0, {0: at}, updated_at=float(at))


async def test_commit_fences_and_advances_key_by_key(cluster: tuple[str, RedisCluster]) -> None:
    url, client = cluster
    assert is_cluster(client)
    store = Store(client, Keys())
    newest = [profile(user_id, 5).write(0, b"[]", b"[]", b"") for user_id in HOSTILE]
    assert await store.commit({0: newest}, {0: Applied(None, 6)}) == {0: None}
    older = [profile(user_id, 4).write(0, b"[]", b"[]", b"") for user_id in HOSTILE]
    assert await store.commit({0: older}, {0: Applied(5, 5)}) == {0: 6}
    assert [found and found.profile.at for found in await store.load(HOSTILE)] == [{0: 5}] * len(HOSTILE)
    assert await store.applied() == {0: 6}
    with Reader(url, cluster=True) as reader:
        assert reader.user(HOSTILE[0]) is not None
        assert reader.segments() == []


async def test_snapshots_and_shared_keys_need_no_common_slot(cluster: tuple[str, RedisCluster]) -> None:
    _, client = cluster
    keys = Keys()
    for offset in (3, 5, 9):
        assert await snapshots.save(client, keys, offset, [b"a", b"%d" % offset], "w", at=0.0)
    assert not await snapshots.save(client, keys, 8, [b"late"], "w", at=0.0)
    found = await snapshots.load(client, keys)
    assert found is not None
    assert (found.offset, bytes(found.data)) == (9, b"a9")
    pointer = await snapshots.pointer(client, keys)
    named = snapshots.part_keys(keys, pointer.newest) + snapshots.part_keys(keys, pointer.previous)
    assert sorted([key async for key in client.scan_iter("*snapshot:*")]) == sorted(named)
    assert {await client.ttl(key) for key in named} == {-1}
    await items.write_catalogue(client, keys, 0, [CatalogueEntry(item_id, 1, {"name": "n"}) for item_id in HOSTILE])
    await items.write_statistics(client, keys, [(item_id, 1.0, []) for item_id in HOSTILE])
    await trending.replace(client, keys, dict.fromkeys(HOSTILE, 1.0))
    assert len(await trending.read(client, keys, 100)) == len(HOSTILE)


async def test_warnings_and_identity_read_every_node(cluster: tuple[str, RedisCluster]) -> None:
    _, client = cluster
    assert await persistence_warning(client) is None
    assert await server_identity(client)
