"""Redis over TLS with certificates on both sides, one server and a cluster; a wrong certificate is no outage."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from redis import exceptions

from state import Reader, trending
from state.cluster import Replaced
from state.connection import open_redis
from state.keys import Keys
from state.profiles import Profile
from state.reader import StateUnavailable
from state.store import Applied, Store
from streams.admission import refusal
from streams.failures import is_transient
from streams.security import redis_url
from streams.settings import Settings
from tests.secured import Certificates, SecuredRedis
from tests.shards import Shards
from tests.waiting import wait_until

USERS = [f"u{number}" for number in range(40)]


@pytest.fixture(scope="module")
def secured_shards(certificates: Certificates) -> Iterator[Shards]:
    """A Redis Cluster whose nodes speak TLS, with clients and with each other."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("TLS needs a Redis that knows it: apt install redis-server")
    with Shards(binary, certificates) as nodes:
        yield nodes


@pytest.fixture
def settings(client_files: dict[str, str]):
    """Settings with the client's certificates, for a URL that has none."""
    return lambda url, **over: Settings(redis=url, **({f"redis_{name}": file for name, file in client_files.items()} | over))


async def write_and_read(url: str, keys: Keys) -> None:
    """Do what a worker and a reader do."""
    client = open_redis(url)
    try:
        store = Store(client, keys)
        writes = [Profile(user, 0, {0: 5}, updated_at=5.0).write(0, b"[]", b"[]", b"") for user in USERS]
        await store.commit({0: writes}, {0: Applied(None, 6)})
        await trending.replace(client, keys, {"tea": 2.0})
        assert [found and found.profile.at[0] for found in await store.load(USERS)] == [5] * len(USERS)
    finally:
        await client.aclose()
    with Reader(url, keys.prefix.decode()) as reader:
        assert reader.applied() == {0: 6}
        assert [one.item_id for one in reader.trending()] == ["tea"]


async def test_one_server_is_written_and_read(secured_redis: SecuredRedis, settings, keys: Keys):
    await write_and_read(redis_url(settings(secured_redis.bare)), keys)


async def test_a_cluster_is_written_and_read(secured_shards: Shards, settings, keys: Keys):
    await write_and_read(redis_url(settings(secured_shards.bare)), keys)


async def test_a_replica_that_took_over_is_noticed_over_tls_too(secured_shards: Shards, settings, keys: Keys):
    client = open_redis(redis_url(settings(secured_shards.bare)))
    await client.learn_primaries()
    primary = secured_shards.primaries[0]
    replica = secured_shards.replica(primary)
    primary.kill()
    await wait_until(lambda: replica.primary, within=60, what="the replica took over")
    with pytest.raises((Replaced, exceptions.ConnectionError)):
        await client.verify()
    await client.aclose()
    primary.start()
    await wait_until(secured_shards.whole, within=60, what="the cluster is whole")
    await write_and_read(redis_url(settings(secured_shards.bare)), keys)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"redis_ca_file": None}, "shows a certificate that does not hold"),
        ({"redis_cert_file": None, "redis_key_file": None}, "refuses this client's certificate"),
    ],
)
@pytest.mark.parametrize("kind", ["secured_redis", "secured_shards"])
async def test_a_wrong_certificate_is_refused_not_waited_for(request, settings, kind, over, said):
    url = redis_url(settings(request.getfixturevalue(kind).bare, **over))
    told: list[Exception] = []

    async def asked() -> bool:
        """With TLS 1.3 a server may hang up before the client could read why, and then it is asked again."""
        client = open_redis(url)
        with pytest.raises(exceptions.RedisError) as raised:
            await client.ping()
        await client.aclose()
        told.append(raised.value)
        return not is_transient(raised.value)

    await wait_until(asked, what="the server says why")
    assert said in str(refusal(told[-1]))
    with pytest.raises(StateUnavailable), Reader(url) as reader:
        reader.applied()


async def test_a_name_that_the_certificate_is_not_for_is_refused(secured_redis: SecuredRedis, settings):
    url = redis_url(settings(secured_redis.bare.replace("127.0.0.1", "localhost")))
    client = open_redis(url)
    with pytest.raises(exceptions.RedisError) as raised:
        await client.ping()
    await client.aclose()
    assert "does not hold" in str(refusal(raised.value))
