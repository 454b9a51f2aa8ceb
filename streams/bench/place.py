"""Where figures are measured: the servers, given or started here, and for each figure topics, keys and a group of its own."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from state.connection import connect
from state.reader import Reader
from streams.bench.figures import Page
from streams.demo_worker import Worker
from streams.embedded import ApacheKafka, Broker, EmbeddedError, RedisServer
from streams.security import kafka_client, redis_url

if TYPE_CHECKING:
    from streams.settings import Settings

JARS = Path(__file__).parents[2] / "deploy" / "broker" / "jars.sh"
HEAP = "1g"  # of Apache Kafka: a million events and their answers pass through it
POLL = 0.01  # s between two looks at what is applied
STALLED = 120.0  # s without progress after which a figure is given up; compiling may take most of it
SESSION_MS = 6_000  # the embedded broker lets a group wait for half of this whenever a member joins

Say = Callable[[str], None]


class BenchFailed(Exception):
    """A figure cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Servers that answer, what they are, and the settings of whoever asked for the figures."""

    settings: Settings
    servers: str
    say: Say = field(default=lambda _: None)

    @contextmanager
    def figure(
        self, name: str, *, events: str = "", intake: Mapping[str, int] | None = None, **over: object
    ) -> Iterator[Settings]:
        """Settings on topics and keys of their own, which are removed when the figure is measured; `events` may be another's."""
        own = f"bench-{name}-{secrets.token_hex(3)}"
        topics = {role: f"{own}.{role}" for role in ("events", "items", "recommendations", "segments", "dead", "learned")}
        names = topics | ({"events": events} if events else {})
        settings = self.settings.model_copy(
            update={
                "group": own,
                "prefix": f"{own}:",
                "topics": self.settings.topics.model_copy(update=names),
                "intake": self.settings.intake.model_copy(update={"session_timeout_ms": SESSION_MS, **(intake or {})}),
            }
            | over
        )
        try:
            yield settings
        finally:
            asyncio.run(_removed(settings, list(topics.values())))


def own_servers(stack: ExitStack, *, brokers: bool, redis: bool) -> tuple[dict[str, str], str]:
    """Start what was not given: Apache Kafka where Java is, else the embedded broker; a Redis with its log on disk."""
    given, kinds = {}, []
    if brokers:
        kafka, kind = _kafka()
        given["brokers"] = stack.enter_context(kafka).address
        kinds.append(kind)
    if redis:
        binary = shutil.which("redis-server")
        given["redis"] = stack.enter_context(RedisServer(binary=binary)).url
        kinds.append(f"{'Redis' if binary else 'Valkey'} with AOF every second")
    return given, ", ".join(kinds)


def _kafka() -> tuple[Broker | ApacheKafka, str]:
    if shutil.which("java") is None or not JARS.exists():
        return Broker(), "the embedded broker (Apache Kafka needs Java 17)"
    found = subprocess.run(["sh", str(JARS)], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return Broker(), f"the embedded broker ({found.stderr.strip()})"
    jars = Path(found.stdout.strip())
    return ApacheKafka(jars, heap=HEAP, brief=False), f"Apache Kafka {jars.name.rpartition('-')[2]}"


@contextmanager
def working(settings: Settings) -> Iterator[Worker]:
    """A worker that is ready, stopped when the block ends."""
    worker = Worker(settings)
    try:
        yield worker.start()
    finally:
        worker.end()


@contextmanager
def reading(settings: Settings) -> Iterator[Reader]:
    """The public reader on the figure's keys."""
    with Reader(redis_url(settings), settings.prefix) as reader:
        yield reader


def applied(reader: Reader) -> int:
    """How many events Redis has applied."""
    return sum(reader.applied().values())


def wait_applied(worker: Worker, reader: Reader, count: int, look: Callable[[int], None] = lambda _: None) -> float:
    """Wait until so many events are applied; give the moment. `look` is told at every look."""
    last, moved = -1, time.perf_counter()
    while True:
        done, now = applied(reader), time.perf_counter()
        look(done)
        if done >= count:
            return now
        if done > last:
            last, moved = done, now
        if now - moved > STALLED or (worker.starts and not worker.alive):
            raise BenchFailed(f"{done} of {count} events were applied; the worker's last words: {worker.last_words()}")
        time.sleep(POLL)


@dataclass(slots=True)
class Drained:
    """How fast waiting events were applied: the first batch begins the time, so its events do not count."""

    count: int
    begun: float
    first: float = 0.0
    before: int = 0

    def look(self, done: int) -> None:
        """Notice the first batch."""
        if done and not self.before:
            self.first, self.before = time.perf_counter(), done

    def rate(self, ended: float) -> float:
        """Events/s; a world of one batch counts from the start."""
        if self.before < self.count:
            return (self.count - self.before) / (ended - self.first)
        return self.count / (ended - self.begun)


def page(worker: Worker) -> Page:
    """The worker's metrics now."""
    with urllib.request.urlopen(f"http://{worker.address}/metrics", timeout=30.0) as answer:
        return Page(answer.read().decode())


async def _removed(settings: Settings, names: list[str]) -> None:
    """Delete topics and keys; a broker that cannot keeps them, under names that nobody else uses."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    admin = AIOKafkaAdminClient(**kafka_client(settings))
    try:
        await admin.start()
        await admin.delete_topics(names)
    except (KafkaError, EmbeddedError, NotImplementedError, OSError) as error:
        logging.getLogger(__name__).debug("topics stay: %s", error)
    finally:
        await admin.close()
    async with connect(redis_url(settings)) as redis:
        async for key in redis.scan_iter(match=f"{settings.prefix}*", count=1000):
            await redis.unlink(key)
