"""The client of a Redis Cluster: it follows slots that move, and tells when a primary is not the server it was (rule 6).

redis-py's own client would not do, for three things it does with what was lost or moved:

- it connects again in silence, so that a replica that took over, without the last writes, answers as if nothing had happened;
- its pipelines and commands may send ASKING over one connection and the command over another, whereupon the node that a slot
  moves to sends it back, again and again;
- it asks a node that an ASK names and that it has not met yet by a name it does not know, which is an AttributeError.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from redis import exceptions
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from state.packing import Plain, Tls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Cluster", "Command", "Replaced", "named_nodes"]

Command = tuple[Any, ...]

# Redirections of one command: a slot moves once, and the moment between two nodes' views of it is short.
TURNS: Final = 16
PAUSE: Final = 0.05  # s until a node that said TRYAGAIN, or two that sent a command to each other, are asked again
_STALE: Final = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ClusterDownError, OSError)


class Replaced(exceptions.ConnectionError):
    """A primary is not the server it was: another took over, or it began anew, perhaps without the last writes."""


@dataclass(slots=True)
class _Call:
    """A command on its way to a node; ``asking``: the node takes it though the slot is not its own yet."""

    command: PipelineCommand
    node: ClusterNode
    asking: bool = False

    @property
    def packed(self) -> list[PipelineCommand]:
        return [PipelineCommand(0, "ASKING"), self.command] if self.asking else [self.command]


class Cluster(RedisCluster):
    """A client for the Redis Cluster that any of some named nodes belongs to; it retries nothing but what a moved slot needs."""

    def __init__(self, nodes: Sequence[tuple[str, int]], *, tls: bool = False, **options: Any) -> None:  # noqa: ANN401
        """Take host and port of some nodes, of which one must answer, and redis-py's options."""
        asked = [ClusterNode(*node) for node in nodes]
        # What is named in the URL is asked again when all that was found in the cluster is gone: redis-py would forget it.
        own = {"retry": Retry(NoBackoff(), 0), "dynamic_startup_nodes": False}
        super().__init__(startup_nodes=asked, ssl=tls, **(options | own))
        self.connection_kwargs["connection_class"] = kind = Tls if tls else Plain
        self._named = dict(self.nodes_manager.startup_nodes)
        for node in self._named.values():
            node.connection_class = kind
        self._histories: dict[str, str] = {}
        self.primaries = ""

    async def initialize(self, *args: Any, **kwargs: Any) -> Cluster:  # noqa: ANN401 - redis-py's signature
        """Learn which node has which slots, unless that is known.

        Raises redis-py's ConnectionError while no node answers or slots have no primary, AuthenticationError, and
        RedisError where it is no cluster.
        """
        if self._initialize:
            try:
                await super().initialize(*args, **kwargs)
            except exceptions.RedisClusterException as error:
                raise _told(error) from error
            self.nodes_manager.startup_nodes = self.nodes_manager.nodes_cache | self._named
        return self

    async def __aenter__(self) -> Self:
        """Connect."""
        await super().__aenter__()
        return self

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - redis-py's signature
        """Send one command where its key lives, or to the nodes it is meant for."""
        await self.initialize()
        return await super().execute_command(*args, **kwargs)

    async def ping(self, **kwargs: Any) -> bool:  # noqa: ANN401 - redis-py's signature
        """Ask all primaries for an answer."""
        await self.execute_command("PING", **({"target_nodes": self.PRIMARIES} | kwargs))
        return True

    async def aclose(self) -> None:
        """Close all connections; redis-py would leave those of a client that has to learn the slots again."""
        self._initialize = False
        await super().aclose()

    async def learn_primaries(self) -> None:
        """Take the primaries of this moment for those that hold what was written: ``send(steady=True)`` keeps to them.

        ``primaries`` then names their data: it changes when a replica takes over and when a server begins anew.
        """
        self._initialize = True
        await self.initialize()
        calls = [_Call(PipelineCommand(0, "INFO", "replication"), node) for node in self.get_primaries()]
        await self._settle(calls, steady=False)
        self._histories = {call.node.name: _history(call.node, call.command.result) for call in calls}
        self.primaries = blake2b("".join(sorted(self._histories.values())).encode(), digest_size=8).hexdigest()

    async def verify(self) -> None:
        """Raise ``Replaced``, or what keeps a primary from answering, unless all primaries are those that were learned."""
        known = [node for node in self.get_nodes() if node.name in self._histories]
        if len(known) < len(self._histories):
            raise Replaced("a primary has left the Redis Cluster")
        await self._settle([_Call(PipelineCommand(0, "PING"), node) for node in known], steady=True)

    async def send(self, commands: Iterable[Command], *, steady: bool = False) -> list[Any]:
        """Send commands of one key each, to all nodes at once; give the replies, or raise the first error among them.

        With ``steady`` each node is asked in the same breath whether it is the primary that was learned; else ``Replaced`` is
        raised, and no reply is given. Commands may have been done all the same, and some of them twice or none.
        """
        await self.initialize()
        if steady and not self._histories:
            await self.learn_primaries()
        calls = [self._call(number, command) for number, command in enumerate(commands)]
        await self._settle(calls, steady=steady)
        return [call.command.result for call in calls]

    def _call(self, number: int, command: Command) -> _Call:
        key = command[3] if command[0] == "EVAL" else command[1]
        return _Call(PipelineCommand(number, *command), self.nodes_manager.get_node_from_slot(self.keyslot(key)))

    async def _execute_command(self, target_node: ClusterNode, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        call = _Call(PipelineCommand(0, *args, **kwargs), target_node)
        await self._settle([call], steady=False)
        return call.command.result

    async def _settle(self, calls: Sequence[_Call], *, steady: bool) -> None:
        """Send calls, and those that are sent elsewhere again, until each has its answer."""
        waiting = list(calls)
        try:
            for turn in range(TURNS):
                await self._round(waiting, steady=steady)
                waiting = [call for call in waiting if await self._elsewhere(call)]
                if not waiting:
                    return _raise_first(calls)
                if turn:
                    await asyncio.sleep(PAUSE)
        except _STALE:
            # The next call asks the cluster anew who has which slots.
            self._initialize = True
            raise
        self._initialize = True
        raise exceptions.ClusterError(f"the nodes of the Redis Cluster sent a command to each other {TURNS} times")

    async def _round(self, calls: Sequence[_Call], *, steady: bool) -> None:
        nodes: dict[str, list[_Call]] = {}
        for call in calls:
            nodes.setdefault(call.node.name, []).append(call)
        # All are waited for: none may write to a node any more when the caller goes back.
        done = await asyncio.gather(*(self._exchange(some, steady=steady) for some in nodes.values()), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure

    async def _exchange(self, calls: Sequence[_Call], *, steady: bool) -> None:
        """Send calls to one node over one connection."""
        node = calls[0].node
        look = [PipelineCommand(0, "INFO", "replication")] if steady else []
        await node.execute_pipeline([*look, *(command for call in calls for command in call.packed)])
        if steady and _history(node, look[0].result) != self._histories.get(node.name):
            raise Replaced(f"{node.name} is not the primary it was")

    async def _elsewhere(self, call: _Call) -> bool:
        """Tell whether a call has to be sent once more, and where."""
        said = call.command.result
        if not isinstance(said, exceptions.AskError):  # MOVED is one as well
            return isinstance(said, exceptions.TryAgainError)
        call.asking = not isinstance(said, exceptions.MovedError)
        # A node that does not know its own address leaves it out.
        said.host = said.host or call.node.host
        if not call.asking:
            await self.nodes_manager.move_slot(said)
        call.node = self._node(said.host, said.port)
        return True

    def _node(self, host: str, port: int) -> ClusterNode:
        known = self.nodes_manager.get_node(host=host, port=port)
        if known is None:
            known = ClusterNode(host, port, **self.connection_kwargs)
            self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {known.name: known})
        return known


def named_nodes(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Split ``redis+cluster://user:password@host:port,host:port?option=value`` into its nodes and the client's options.

    ``redis://`` is taken as well. The port is 6379 where none is given. Raises ValueError for what is no such URL.
    """
    scheme, _, rest = url.partition("://")
    parts = urlsplit(f"{scheme.removesuffix('+cluster')}://{rest}")
    login, at, hosts = parts.netloc.rpartition("@")
    nodes = [(node.hostname or "", node.port or 6379) for node in (urlsplit(f"//{host}") for host in hosts.split(","))]
    options: dict[str, Any] = dict(parse_url(parts._replace(netloc=login + at + hosts.split(",")[0]).geturl()))
    tls = options.pop("connection_class", None) is SSLConnection
    if options.get("db"):
        raise ValueError("a Redis Cluster has one database only, 0")
    return nodes, {name: value for name, value in options.items() if name not in {"host", "port", "db"}} | {"tls": tls}


def _history(node: ClusterNode, info: Any) -> str:  # noqa: ANN401 - whatever a server answered
    """Name the data of a primary: the id changes when a replica takes over and when a server begins anew."""
    if isinstance(info, Exception):
        raise info
    if info.get("role") != "master":
        raise Replaced(f"{node.name} is no primary any more")
    return str(info["master_replid"])


def _raise_first(calls: Iterable[_Call]) -> None:
    for call in calls:
        if isinstance(call.command.result, Exception):
            raise call.command.result


def _told(error: exceptions.RedisClusterException) -> exceptions.RedisError:
    """Say in redis-py's other words what its cluster client says in one only."""
    cause = error.__cause__
    if isinstance(cause, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return cause
    if str(cause).startswith("Cluster mode is not enabled"):
        return exceptions.RedisError("it is no Redis Cluster; write redis:// instead of redis+cluster://")
    return exceptions.ConnectionError(str(error))
