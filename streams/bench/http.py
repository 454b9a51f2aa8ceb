"""Reads over HTTP: how many a second one process of `upwell serve` answers over kept connections, and how fast."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.request import urlopen

import msgspec
from redis import Redis

from state.keys import Keys
from state.reader import Reason, Recommendation, Recommended, Trigger
from streams.bench.figures import Figure, Told, Wanted, bars, percentiles
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
UNLIMITED = 1e6


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
    """Read `count` recommendations over 16 connections, some times over, and each time as many from Redis itself."""
    count = wanted.count
    rates: list[float] = []
    redis: list[float] = []
    times: list[list[float]] = []
    with place.figure("http") as settings:
        message = _filled(settings)
        place.say(f"http: {count:,} recommendations of {len(message):,} bytes over {CONNECTIONS} connections")
        with closing(_Server(settings).start()) as server:
            for _ in range(wanted.runs):
                took, answers = asyncio.run(_load(server.port, count, message))
                rates.append(count / took)
                times.append([1000 * one for one in answers])
                redis.append(count / _redis(settings, count))
    reads = Figure("reads over HTTP, 1 process", rates, "/s", at_least=PER_SECOND, peers={"Redis itself, one by one": redis})
    found = [percentiles(one) for one in times]
    slow = Figure("reads over HTTP, p90", [one["p90"] for one in found], "ms", at_most=P90_MS)
    figures = [reads, slow, Figure("reads over HTTP, p99", [one["p99"] for one in found], "ms")]
    times_of = Distribution("reads over HTTP", "ms", {"upwell serve": [ms for one in times for ms in one]})
    return Told(figures, panels=(bars(reads, "upwell serve"), times_of))


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


async def _load(port: int, count: int, message: bytes) -> tuple[float, list[float]]:
    times: list[float] = []
    numbers = iter(range(count))
    begun = time.perf_counter()
    await asyncio.gather(*(_client(port, numbers, message, times) for _ in range(CONNECTIONS)))
    return time.perf_counter() - begun, times


async def _client(port: int, numbers: Iterator[int], message: bytes, times: list[float]) -> None:
    """Ask again and again over one connection; by hand, for an HTTP client would take longer than what it measures."""
    answers, asks = await asyncio.open_connection(HOST, port)
    for n in numbers:
        begun = time.perf_counter()
        asks.write(b"GET /v1/users/user-%d/recommendations HTTP/1.1\r\nHost: upwell\r\n\r\n" % (n % USERS))
        head = await answers.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 ") or await answers.readexactly(len(message)) != message:
            raise BenchFailed(f"the HTTP API answered {head[:60]!r}")
        times.append(time.perf_counter() - begun)
    asks.close()
