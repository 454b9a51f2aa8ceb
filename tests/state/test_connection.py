"""The client says what is wrong with the connection and with the server's settings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import TimeoutError as Late

from state.connection import address, connect, eviction_warning, persistence_warning, server_identity
from streams.embedded import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from streams.embedded import RedisServer


async def test_persistence_warning_names_the_fix(own_redis: Callable[..., RedisServer], redis: Redis) -> None:
    client = connect(own_redis(appendonly="no").url)
    assert "CONFIG SET appendonly yes" in str(await persistence_warning(client))
    assert await persistence_warning(redis) is None
    await client.aclose()


async def test_eviction_warning_names_the_fix(own_redis: Callable[..., RedisServer], redis: Redis) -> None:
    client = connect(own_redis(maxmemory_policy="allkeys-lru").url)
    assert "maxmemory-policy noeviction" in str(await eviction_warning(client))
    assert await eviction_warning(redis) is None
    await client.aclose()


async def test_identity_is_that_of_the_process(own_redis: Callable[..., RedisServer], redis: Redis) -> None:
    other = connect(own_redis().url)
    assert await server_identity(redis) == await server_identity(redis)
    assert await server_identity(redis) != await server_identity(other)
    await other.aclose()


async def test_a_unix_socket_serves_as_well(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis(unixsocket="redis.sock")
    client = connect(f"unix://{server.folder}/redis.sock?db=0")
    assert await client.ping()
    await client.aclose()


async def test_nobody_at_the_address_raises_at_once() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Lost):
        await client.ping()
    await client.aclose()


async def test_a_server_that_does_not_answer_raises_after_the_timeout(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    client = connect(server.url, timeout=0.2)
    await client.ping()
    server.pause()
    with pytest.raises(Late):
        await client.ping()
    server.resume()
    await client.aclose()


async def test_many_commands_at_once_share_the_pool(redis: Redis) -> None:
    assert await asyncio.gather(*(redis.echo(b"%d" % n) for n in range(50))) == [b"%d" % n for n in range(50)]


def test_addresses_are_shown_without_passwords() -> None:
    assert address("redis://me:secret@host:1/2?password=x") == "redis://host:1/2"
    assert address("unix:///run/redis.sock?password=x") == "unix:///run/redis.sock"


def test_unknown_schemes_are_refused() -> None:
    with pytest.raises(ValueError, match="rediss://"):
        connect("http://localhost")
