"""The world of a run: Apache Kafka, a Redis with a replica, and workers, each with links of its own to both."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.embedded import ApacheKafka, RedisServer
from streams.watched import HOST, free_port
from tests.chaos.load import Load
from tests.chaos.proxy import Link, Network
from tests.outside import Outside
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
TOPICS = {"events": "events", "items": "items", "recommendations": "recommendations"}
TOPICS |= {"segments": "segments", "dead": "events.dead", "learned": "upwell.learned"}
# Longer than what any fault lets Redis lose: two snapshots must not be lost at once, for the log ends below the older.
SNAPSHOT_SECONDS = 10
READY = 120.0  # seconds a worker may take to start
ENDING = 30.0  # seconds a worker may take to stop in order


class Worker(WorkerProcess):
    """A worker with a wrong clock where that is wanted, which tells what its models are."""

    patience = READY

    def __init__(self, number: int, settings: dict[str, Any], tree: Path = ROOT) -> None:
        super().__init__(settings)
        self.number = number
        self.tree = tree
        self.expected = True  # whether it is meant to run

    def launch(self) -> Worker:
        """Start it, with a right clock."""
        self._prepare()
        self.set_clock(0)
        super().launch()
        self.expected = True
        return self

    def kill(self) -> None:
        """End it at once."""
        self.expected = False
        super().kill()

    def end(self) -> int:
        """End it in order, as an orchestrator does; gives its exit status."""
        self.expected = False
        self._running().send_signal(signal.SIGTERM)
        self._running().wait(ENDING)
        super().kill()
        assert self.exit_code is not None
        return self.exit_code

    def set_clock(self, wrong: float) -> None:
        """Let its clock be wrong by so many seconds."""
        (self.folder / "clock").write_text(str(wrong))

    @property
    def asked(self) -> Path:
        """Where a question to it is put; the answer stands beside."""
        return self.folder / "ask"

    def _command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).parent / "hooked.py"), "worker"]

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"PYTHONPATH": os.pathsep.join([str(self.tree), os.environ.get("PYTHONPATH", "")])}


class Pair:
    """A Redis and its replica, which change their roles; clients reach the primary by links that are led to it."""

    def __init__(self, network: Network, stack: ExitStack) -> None:
        binary = shutil.which("redis-server")
        settings = {"repl-diskless-sync-delay": "0", "client-output-buffer-limit": "replica 1gb 1gb 0"}
        self.primary, self.replica = (stack.enter_context(RedisServer(settings, binary)) for _ in range(2))
        self._network = network
        self._replication = network.link("replication", self.primary.port)
        self._links: list[Link] = []
        self.follow()

    def link(self, name: str) -> Link:
        """A link to the primary, whichever server that is."""
        link = self._network.link(name, self.primary.port)
        self._links.append(link)
        return link

    def ask(self, server: RedisServer, *command: str) -> Any:
        """Send a command to one of the two."""
        with redis.Redis(HOST, server.port, socket_timeout=10.0, retry=Retry(NoBackoff(), 0)) as client:
            return client.execute_command(*command)

    def follow(self) -> None:
        """Let the replica follow the primary, and wait until it does."""
        self._network.lead(self._replication, self.primary.port)
        self.ask(self.replica, "REPLICAOF", HOST, str(self._replication.port))
        wait_until_sync(self._in_step, within=60, what="the replica follows")

    def _in_step(self) -> bool:
        """Whether the replica has the data of this very primary, all of it."""
        one, other = (self.ask(server, "INFO", "replication") for server in (self.primary, self.replica))
        same = one["master_replid"] == other["master_replid"] and other["master_link_status"] == "up"
        return same and other["slave_repl_offset"] >= one["master_repl_offset"]

    def lagging(self) -> contextlib.AbstractContextManager[None]:
        """While this lasts, the replica gets nothing."""
        return self._network.hung(self._replication)

    def promote(self) -> None:
        """Make the replica the primary; the clients do not know yet."""
        self.ask(self.replica, "REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary

    def lead(self, *links: Link) -> None:
        """Lead clients to the primary, all if none are named."""
        for link in links or self._links:
            self._network.lead(link, self.primary.port)

    def rejoin(self) -> None:
        """Let the server that was the primary follow the new one; what it alone has is lost."""
        if not self.replica.alive:
            self.replica.start()
        self.follow()

    @property
    def log(self) -> Path:
        """The part of the primary's append-only file that grows."""
        parts = [file for file in self.primary.folder.rglob("*.aof") if not file.name.endswith(".base.aof")]
        return max(parts, key=lambda file: file.stat().st_mtime_ns)


class World:
    """All servers of a run, started and ended together."""

    def __init__(self, jars: Path, seed: int, workers: int, trees: Sequence[Path] = (ROOT,)) -> None:
        """Take where the workers' code is, which they take in turn."""
        self._jars, self._seed, self._count, self._trees = jars, seed, workers, trees
        self._stack = ExitStack()
        self.ended = threading.Event()
        self.workers: list[Worker] = []
        self.to_kafka: list[Link] = []
        self.to_redis: list[Link] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.network = opened.enter_context(Network())
            self.to_kafka = [self.network.link(f"kafka {number}", free_port()) for number in range(self._count)]
            self.kafka = opened.enter_context(self._broker())
            self.redis = Pair(self.network, opened)
            self.to_redis = [self.redis.link(f"redis {number}") for number in range(self._count)]
            self.tree: dict[str, Any] = self._settings(self.kafka.address, self.redis.link("outside").address)
            self.workers = [self._worker(number, opened) for number in range(self._count)]
            self.workers[0].launch().wait_until_ready()  # it makes the topics
            for worker in self.workers[1:]:
                worker.launch()
            for worker in self.workers:
                worker.wait_until_ready()
            self.outside = Outside(self.tree)
            opened.callback(self._disconnect)
            self.load = opened.enter_context(Load(self.kafka.address, TOPICS, self._seed))
            self._stack = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for worker in self.workers:  # at once: they would wait for each other's partitions
            worker.kill()
        self._stack.close()

    def _broker(self) -> ApacheKafka:
        """A broker with one more listener for each worker's link, which it names to who comes by it."""
        broker = ApacheKafka(self._jars, {"group.min.session.timeout.ms": "1000", "inter.broker.listener.name": "PLAINTEXT"})
        for number, link in enumerate(self.to_kafka):
            broker.settings["listeners"] += f",WORKER{number}://{HOST}:{link.server}"
            broker.settings["advertised.listeners"] += f",WORKER{number}://{link.address}"
            broker.settings["listener.security.protocol.map"] += f",WORKER{number}:PLAINTEXT"
        return broker

    def _settings(self, brokers: str, address: str) -> dict[str, Any]:
        own = {"snapshot": {"seconds": SNAPSHOT_SECONDS}, "intake": {"session_timeout_ms": 6_000}}
        return {"brokers": brokers, "redis": f"redis://{address}/0", "prefix": "chaos:", "group": "chaos", "topics": TOPICS} | own

    def _worker(self, number: int, stack: ExitStack) -> Worker:
        settings = self._settings(self.to_kafka[number].address, self.to_redis[number].address)
        worker = Worker(number, settings, self._trees[number % len(self._trees)])
        stack.callback(worker.close)
        return worker

    def _disconnect(self) -> None:
        self.outside.__exit__()

    def renew(self) -> None:
        """Take new clients, which know nothing of topics that are gone."""
        self._disconnect()
        self.outside = Outside(self.tree)

    def hold(self, seconds: float) -> None:
        """Let a fault last, unless the run is ended."""
        self.ended.wait(seconds)

    def keep_logs(self, folder: Path) -> None:
        """Copy what workers and servers said, and where the workers' tasks waited when they were asked last."""
        servers = {f"worker-{worker.number}": worker for worker in self.workers}
        for name, server in (
            servers | {"kafka": self.kafka, "redis-a": self.redis.primary, "redis-b": self.redis.replica}
        ).items():
            if server.log.exists():
                shutil.copy(server.log, folder / f"{name}.log")
            if (server.folder / "answer").exists():
                shutil.copy(server.folder / "answer", folder / f"{name}.json")
