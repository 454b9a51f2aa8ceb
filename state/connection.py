"""The connection to Redis: no silent reconnects, no silent retries, and what is wrong with the server's settings."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from state.cluster import Cluster, Command, named_nodes
from state.packing import Plain, Tls, Unix

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Client",
    "Command",
    "address",
    "connect",
    "connect_cluster",
    "eviction_warning",
    "is_cluster",
    "is_cluster_url",
    "open_redis",
    "persistence_warning",
    "script",
    "send",
    "server_identity",
]

Client: TypeAlias = Redis | Cluster

CONNECT_TIMEOUT: Final = 5.0
# The longest call writes 8,000 profiles; ten seconds without a byte means that the server or the way to it is gone.
TIMEOUT: Final = 10.0
CLUSTER: Final = "+cluster"
HEALTH_CHECK: Final = 30
_CLASSES: Final[dict[type[AbstractConnection], type[AbstractConnection]]] = {
    Connection: Plain,
    SSLConnection: Tls,
    UnixDomainSocketConnection: Unix,
}


class _Pool(ConnectionPool):
    """Say that a connection was lost, where redis-py's pool would replace it in silence (rule 6 needs to know)."""

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        await connection.connect()  # type: ignore[no-untyped-call]
        try:
            dirty = await connection.can_read()
        except (exceptions.ConnectionError, exceptions.TimeoutError, OSError):
            dirty = True
        if dirty:
            await connection.disconnect(nowait=True)
            await self.disconnect(inuse_connections=False)
            raise exceptions.ConnectionError("the connection to Redis was lost while it was idle")


def connect(url: str, *, timeout: float = TIMEOUT, connect_timeout: float = CONNECT_TIMEOUT) -> Redis:
    """Make a client for redis://, rediss:// or unix:// that raises at the first sign of a lost connection."""
    options: dict[str, Any] = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    defaults: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "health_check_interval": HEALTH_CHECK,
    }
    # RESP3 would switch on redis-py's maintenance notifications, and with them its silent reconnects.
    fixed: dict[str, Any] = {"protocol": 2, "decode_responses": False, "retry": Retry(NoBackoff(), 0)}
    return Redis.from_pool(_Pool(connection_class=_CLASSES[kind], **(defaults | options | fixed)))


def open_redis(url: str) -> Client:
    """Make the client that a URL asks for; ``redis+cluster://`` and ``rediss+cluster://`` name nodes of a Redis Cluster."""
    return connect_cluster(url) if is_cluster_url(url) else connect(url)


def connect_cluster(url: str, *, timeout: float = TIMEOUT, connect_timeout: float = CONNECT_TIMEOUT) -> Cluster:
    """Make a client for a Redis Cluster, of which the URL names some nodes (``host:port,host:port``); one must answer."""
    nodes, options = named_nodes(url)
    defaults: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": connect_timeout,
        "health_check_interval": HEALTH_CHECK,
    }
    return Cluster(nodes, **(defaults | options | {"protocol": 2}))


async def send(redis: Client, commands: Iterable[Command], *, steady: bool = False) -> list[Any]:
    """Send commands in one round trip, on a cluster of one key each; give the replies or raise the first error among them.

    ``steady`` is what ``Cluster.send`` says of it; the client of one Redis tells of a lost connection anyway.
    """
    if isinstance(redis, Cluster):
        return await redis.send(commands, steady=steady)
    pipeline: Any = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    # redis-py's own raising would quote the whole command, with megabytes of profiles.
    replies: list[Any] = await pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def is_cluster(redis: Client) -> bool:
    """Tell whether keys of one call may live on different servers."""
    return isinstance(redis, Cluster)


def is_cluster_url(url: str) -> bool:
    """Tell whether a URL names nodes of a Redis Cluster."""
    return url.partition("://")[0].endswith(CLUSTER)


def address(url: str) -> str:
    """Give the URL without its password, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@cache
def script(name: str) -> str:
    """Read a Lua script of this package."""
    return (files("state") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


async def _info(redis: Client, section: str) -> list[dict[str, Any]]:
    found = await (redis.info(section, target_nodes=Cluster.PRIMARIES) if isinstance(redis, Cluster) else redis.info(section))
    nodes = list(found.values())
    return nodes if nodes and all(isinstance(node, dict) for node in nodes) else [found]


async def server_identity(redis: Client) -> str:
    """Name the running server process(es): another name means a restart or a fail-over."""
    return ",".join(sorted(str(node["run_id"]) for node in await _info(redis, "server")))


async def persistence_warning(redis: Client) -> str | None:
    """Say how to make Redis keep its data through a restart, when it would not."""
    if all(node.get("aof_enabled") for node in await _info(redis, "persistence")):
        return None
    return (
        "Redis keeps no append-only file, so a restart of Redis loses profiles, and Upwell reads the events again "
        "from Kafka as far as they are still there; switch it on with `redis-cli CONFIG SET appendonly yes` "
        "and with `appendonly yes` in redis.conf."
    )


async def eviction_warning(redis: Client) -> str | None:
    """Say how to keep Redis from evicting permanent keys, when its memory policy may."""
    policies = {str(node.get("maxmemory_policy", "")) for node in await _info(redis, "memory")}
    wrong = sorted(policy for policy in policies if policy.startswith("allkeys"))
    if not wrong:
        return None
    return (
        f"Redis may evict permanent keys (maxmemory-policy {wrong[0]}), so offsets and snapshots can vanish; "
        "set `redis-cli CONFIG SET maxmemory-policy noeviction` and the same in redis.conf."
    )
