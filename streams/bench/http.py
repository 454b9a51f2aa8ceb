"""Reads over HTTP: how many a second one process of `upwell serve` answers over kept connections, and how fast on a schedule."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.request import urlopen

import msgspec
from redis import Redis

from state.keys import Keys
from state.reader import Reason, Recommendation, Recommended, Trigger
from streams.bench.figures import Figure, Told, Wanted, bars, percentiles
from streams.bench.load import Sent
from streams.bench.panels import Distribution
from streams.bench.place import BenchFailed, Place
from streams.demo_worker import Worker
from streams.security import redis_url
from streams.watched import HOST

if TYPE_CHECKING:
    from streams.settings import Settings

USERS = 1_000
CONNECTIONS = 16
PER_SECOND, P90_MS = 2_000.0, 5.0  # promised
STEADY, AS_FAST = f"{PER_SECOND:,.0f} reads/s over HTTP", "as fast as they can"
UNLIMITED = 1e6


@dataclass(slots=True)
class Reads:
    """Reads that were asked for and answered: seconds of all, and ms of each from when it was due.

    ``late`` ms that the load itself was late, where a connection waited for the moment. Without a rate a read is due at once.
    """

    rate: float | None = None
    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    @property
    def sent(self) -> Sent:
        """What the load says of itself."""
        found = percentiles(self.late or [0.0])
        return Sent(0.0, len(self.milliseconds), found["p50"], found["p99"], found["max"])


class _Server(Worker):
    """The process `upwell serve`."""

    title = "the HTTP API"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._settings |= {"UPWELL_SERVE_HTTP": self.address, "UPWELL_SERVE_RATE": str(UNLIMITED), "UPWELL_SERVE_TOKEN": ""}

    def _command(self) -> Sequence[str]:
        return [sys.executable, "-m", "streams.cli", "serve"]

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{self.address}/health", timeout=5.0) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False


def run(place: Place, wanted: Wanted) -> Told:
    """Read `count` recommendations over 16 connections, as fast as they can and on a schedule, and as many from Redis itself."""
    count = wanted.count
    fast, steady, redis = list[Reads](), list[Reads](), list[float]()
    with place.figure("http") as settings:
        message = _filled(settings)
        place.say(f"http: {count:,} times {len(message):,} bytes on {CONNECTIONS} connections; then {PER_SECOND:,.0f} a second")
        with closing(_Server(settings).start()) as server:
            for _ in range(wanted.runs):
                fast.append(asyncio.run(_load(server.port, count, message, Reads())))
                steady.append(asyncio.run(_load(server.port, count, message, Reads(PER_SECOND))))
                redis.append(count / _redis(settings, count))
    rates = [count / one.seconds for one in fast]
    reads = Figure("reads over HTTP, 1 process", rates, "/s", at_least=PER_SECOND, peers={"Redis itself, one by one": redis})
    said = {"readers": [one.sent.told() for one in steady]}
    return Told([reads, *_figures(steady, fast)], said, (bars(reads, "upwell serve"), _panel(steady, fast)))


def _figures(steady: Sequence[Reads], fast: Sequence[Reads]) -> Iterator[Figure]:
    valid = [one for one in steady if not one.sent.invalid]
    invalid = "" if valid else steady[0].sent.invalid
    found, full = ([percentiles(one.milliseconds) for one in runs] for runs in (valid or steady, fast))
    for share, promised in (("p50", None), ("p90", P90_MS), ("p99", None)):
        peers = {AS_FAST: [one[share] for one in full]}
        yield Figure(f"{STEADY}, {share}", [one[share] for one in found], "ms", None, promised, peers, invalid)


def _panel(steady: Sequence[Reads], fast: Sequence[Reads]) -> Distribution:
    times = {STEADY: steady, AS_FAST: fast}
    return Distribution(
        "reads over HTTP", "ms", {name: [ms for one in runs for ms in one.milliseconds] for name, runs in times.items()}
    )


def _filled(settings: Settings) -> bytes:
    """Give some users a recommendation of the usual size."""
    reasons = [Reason("path", 0.5, ["item-1", "item-2"]), Reason("covisit", 0.25, ["item-1"])]
    items = [Recommended(f"item-{n}", 1.0 / (1 + n), reasons) for n in range(10)]
    message = msgspec.json.encode(Recommendation("0-0", "user", 1.7e9, Trigger(0, 0), items))
    keys = Keys(settings.prefix)
    with closing(Redis.from_url(redis_url(settings))) as redis:
        for user in range(USERS):
            redis.hset(keys.user(f"user-{user}"), "recommendations", message)
    return message


def _redis(settings: Settings, count: int) -> float:
    keys = Keys(settings.prefix)
    with closing(Redis.from_url(redis_url(settings))) as redis:
        begun = time.perf_counter()
        for n in range(count):
            redis.hget(keys.user(f"user-{n % USERS}"), "recommendations")
        return time.perf_counter() - begun


async def _load(port: int, count: int, message: bytes, reads: Reads) -> Reads:
    numbers, begun = iter(range(count)), time.perf_counter()
    await asyncio.gather(*(_client(port, numbers, begun, message, reads) for _ in range(CONNECTIONS)))
    reads.seconds = time.perf_counter() - begun
    return reads


async def _client(port: int, numbers: Iterator[int], begun: float, message: bytes, reads: Reads) -> None:
    """Ask again and again over one connection; by hand, for an HTTP client would take longer than what it measures.

    On a schedule whoever is free takes the next moment, and a read that finds no connection free waits, and that counts.
    """
    answers, asks = await asyncio.open_connection(HOST, port)
    for n in numbers:
        due = await _due(begun + n / reads.rate, reads.late) if reads.rate else time.perf_counter()
        asks.write(b"GET /v1/users/user-%d/recommendations HTTP/1.1\r\nHost: upwell\r\n\r\n" % (n % USERS))
        head = await answers.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or await answers.readexactly(len(message)) != message:
            raise BenchFailed(f"the HTTP API answered {head[:60]!r}")
        reads.milliseconds.append(1000 * (time.perf_counter() - due))
    asks.close()


async def _due(moment: float, late: list[float]) -> float:
    """Wait for a moment, and note how late that ended; give the moment."""
    if (ahead := moment - time.perf_counter()) > 0:
        await asyncio.sleep(ahead)
        late.append(1000 * (time.perf_counter() - moment))
    return moment
