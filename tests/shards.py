"""A Redis Cluster of the tests' own: three primaries with a replica each, to be killed, and slots to be moved."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.embedded import RedisServer
from streams.watched import HOST
from tests.secured import Certificates, issued, redis_tls
from tests.waiting import wait_until_sync

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SLOTS = 16_384
SHARDS = 3
# Ports by which nodes speak to each other: no server's own.
BUSES = range(10_000, 15_000)
NODE_TIMEOUT = 1_500  # ms: a replica takes over after about two of these, and none does because a machine is busy


def _free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


class Node(RedisServer):
    """One server of a cluster."""

    title = "a node of the Redis Cluster"

    def __init__(self, binary: str | None, bus: int, certificates: Certificates | None) -> None:
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT),
            "cluster-port": str(bus),
            # Else a replica would wait for others before its first copy.
            "repl-diskless-sync-delay": "0",
            # The harder case: the other shards serve on, as if nothing had happened.
            "cluster-require-full-coverage": "no",
            # A replica as old as the test may take over.
            "cluster-replica-validity-factor": "0",
        }
        super().__init__(settings, binary)
        self.bus = bus
        self.secure = {} if certificates is None else issued(certificates, "redis")
        self.settings |= redis_tls(self.secure) | {"tls-cluster": "yes", "tls-replication": "yes"} if self.secure else {}
        own = {"ssl": True, **self.secure} if self.secure else {}
        self.client: Any = redis.Redis(HOST, self.port, socket_timeout=5.0, retry=Retry(NoBackoff(), 0), **own)
        self.client.response_callbacks.clear()

    def _command(self) -> Sequence[str]:
        # There is one port: of TLS, or of what is not.
        return [*super()._command(), *(["--port", "0", "--tls-port", str(self.port)] if self.secure else [])]

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            info = dict(line.split(":", 1) for line in self.ask("INFO").decode().splitlines() if ":" in line)
            return int(info["process_id"]) == self.pid and info["loading"] == "0"
        return False

    def ask(self, *command: object) -> Any:
        """Send a command to this node alone; the answer is what the server said."""
        return self.client.execute_command(*command)

    @property
    def id(self) -> bytes:
        """Its name in the cluster."""
        name: bytes = self.ask("CLUSTER MYID")
        return name

    @property
    def primary(self) -> bool:
        """Whether it is a primary now."""
        return bool(self.ask("ROLE")[0] == b"master")

    @property
    def written(self) -> int:
        """How many bytes of writes it has, its own or its primary's."""
        role = self.ask("ROLE")
        return int(role[1] if role[0] == b"master" else role[4])


class Shards:
    """Three primaries and their replicas; ``url`` names all of them."""

    def __init__(self, binary: str | None = None, certificates: Certificates | None = None) -> None:
        free = filter(_free, random.SystemRandom().sample(BUSES, len(BUSES)))
        self.nodes = [Node(binary, bus, certificates) for bus in itertools.islice(free, 2 * SHARDS)]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """URL of the settings, with what a client needs."""
        secure = self.nodes[0].secure
        return f"{self.bare}?{urlencode(secure)}" if secure else self.bare

    @property
    def bare(self) -> str:
        """The same without certificates."""
        return f"redis{'s' if self.nodes[0].secure else ''}+cluster://" + ",".join(node.address for node in self.nodes)

    @property
    def primaries(self) -> list[Node]:
        """The nodes that are primaries now."""
        return [node for node in self.nodes if node.alive and node.primary]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            for node in self.nodes:
                opened.enter_context(node)
                opened.callback(node.client.close)
            self._form()
            self._stack = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stop(self) -> None:
        """End all nodes in order."""
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """End all nodes at once, as a power cut would."""
        for node in self.nodes:
            node.kill()

    def start(self) -> None:
        """Start all nodes again with what they had."""
        for node in self.nodes:
            node.start()
        wait_until_sync(self.whole, within=60, what="the cluster serves again")

    def _form(self) -> None:
        first, *others = self.nodes
        for epoch, node in enumerate(self.nodes, 1):
            node.ask("CLUSTER SET-CONFIG-EPOCH", epoch)
        for node in others:
            first.ask("CLUSTER MEET", HOST, node.port, node.bus)
        bounds = [SLOTS * number // SHARDS for number in range(SHARDS + 1)]
        for node, (begin, end) in zip(self.nodes, itertools.pairwise(bounds), strict=False):
            node.ask("CLUSTER ADDSLOTS", *range(begin, end))
        wait_until_sync(self._all_met, what="all nodes know each other")
        for primary, replica in zip(self.nodes[:SHARDS], self.nodes[SHARDS:], strict=True):
            replica.ask("CLUSTER REPLICATE", primary.id)
        wait_until_sync(self.whole, what="the cluster serves, with its replicas in step")

    def _all_met(self) -> bool:
        return all(node.ask("CLUSTER NODES").count(b"connected") == 2 * SHARDS for node in self.nodes)

    def whole(self) -> bool:
        """Whether all living nodes serve, agree on who has which slots, and every replica follows its primary."""
        living = [node for node in self.nodes if node.alive]
        states = [b"cluster_state:ok" in node.ask("CLUSTER INFO") for node in living]
        views = {str(sorted([*row[:2], row[2][1]] for row in node.ask("CLUSTER SLOTS"))) for node in living}
        roles = [node.ask("ROLE") for node in living]
        followed = [role[0] == b"master" or role[3] == b"connected" for role in roles]
        return all(states) and len(views) == 1 and all(followed) and len(self.primaries) == SHARDS

    def fail_over(self, primary: Node) -> None:
        """Kill a primary as a power cut would, and wait until its replica serves in its place."""
        before = len(self.primaries)
        primary.kill()
        wait_until_sync(lambda: len(self.primaries) == before, what="a replica took over")
        wait_until_sync(self.whole, what="the cluster serves again")

    def cut_off(self, primary: Node) -> Node:
        """Keep a primary's replica from following it; what is written from now on is lost when it takes over."""
        replica = self.replica(primary)
        replica.ask("CONFIG SET", "masterauth", "of nobody")
        primary.ask("CLIENT KILL", "TYPE", "replica")
        wait_until_sync(lambda: replica.ask("ROLE")[3] != b"connected", what="the replica is cut off")
        return replica

    def take_over(self, primary: Node) -> None:
        """Let a primary's replica take its place, without a vote; it lives on as the replica."""
        heir = self.replica(primary)
        heir.ask("CLUSTER FAILOVER", "TAKEOVER")
        wait_until_sync(lambda: not primary.primary and self.whole(), what="the replica took over")

    def replica(self, primary: Node) -> Node:
        """The replica of a primary."""
        followers = [node for node in self.nodes if node.alive and not node.primary]
        return next(node for node in followers if node.ask("ROLE")[2] == primary.port)

    def owner(self, slot: int) -> Node:
        """The primary that has a slot."""
        for begin, end, primary, *_ in self.primaries[0].ask("CLUSTER SLOTS"):
            if begin <= slot <= end:
                return next(node for node in self.nodes if node.port == primary[1])
        raise AssertionError(f"nobody has slot {slot}")

    def slots_of(self, keys: Iterable[bytes]) -> list[int]:
        """The slots of some keys, each once."""
        return sorted({int(self.nodes[0].ask("CLUSTER KEYSLOT", key)) for key in keys})

    @contextlib.contextmanager
    def moving(self, slot: int, to: Node) -> Iterator[Node]:
        """Between the beginning of a move and its end: what is not there any more, or not yet, is answered with ASK."""
        source = self.owner(slot)
        to.ask("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", to.id)
        yield source
        while keys := source.ask("CLUSTER GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", HOST, to.port, "", 0, 5_000, "KEYS", *keys)
        for node in (to, source, *self.primaries):
            node.ask("CLUSTER SETSLOT", slot, "NODE", to.id)

    def move(self, slot: int, to: Node) -> None:
        """Move a slot with its keys."""
        with self.moving(slot, to):
            pass
