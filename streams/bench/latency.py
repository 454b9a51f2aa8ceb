"""Latency: events arrive on a fixed schedule; from the moment each was due to its recommendation, read by another client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from streams.bench import peers
from streams.bench.figures import Figure, percentiles
from streams.bench.filling import fill
from streams.bench.listener import Arrival
from streams.bench.place import BenchFailed, Place, page, reading, wait_applied, working
from streams.bench.world import World

if TYPE_CHECKING:
    from streams.settings import Settings

RATE = 2_000.0  # events/s
WARM = 0.1  # share of the events that are sent before it counts: clients connect, the worker's batches find their size
BEFORE = 2  # events that were learned before, for each that is sent: an empty model answers faster
PROMISED_P50, PROMISED_P99 = 25.0, 100.0  # ms
PATIENCE = 60.0  # s over the schedule until a process must have ended
HISTOGRAM = "upwell_event_to_recommendation_seconds"


def run(place: Place, count: int) -> tuple[list[Figure], dict[str, Any]]:
    """Measure `count` events at RATE."""
    warm = max(1, int(WARM * count))
    harness, faust = _peers(place, max(1, count // 4), warm)
    with place.figure("latency") as settings:
        known = BEFORE * count
        place.say(f"latency: {known:,} events are learned before")
        fill(settings, World(), known)
        with reading(settings) as reader, working(settings) as worker:
            wait_applied(worker, reader, known)
            _send(settings, warm, 0)
            wait_applied(worker, reader, known + warm)
            before = page(worker)
            place.say(f"latency: {count:,} events at {RATE:,.0f}/s")
            begun, lateness, arrived = _load(settings, settings.topics.recommendations, count, warm)
            wait_applied(worker, reader, known + warm + count)
            after = page(worker)
    found = percentiles(answered(schedule(count, warm, begun), arrived))
    own = {name: 1000 * after.percentile(HISTOGRAM, share, before) for name, share in (("p50", 0.5), ("p99", 0.99))}
    promised = {"p50": PROMISED_P50, "p99": PROMISED_P99}
    figures = [
        Figure(
            f"event to recommendation, {RATE:,.0f}/s, {name}",
            found[name],
            "ms",
            at_most=promised.get(name),
            peers={"faust doing nothing": faust[name], "no worker (broker and harness)": harness[name]},
        )
        for name in ("p50", "p90", "p99", "max")
    ]
    return figures, {"worker_histogram_ms": own, "sender_ms": lateness}


def _peers(place: Place, count: int, warm: int) -> tuple[dict[str, float], dict[str, float]]:
    """The same load, read by the same client from `events` itself, and by a Faust agent."""
    with place.figure("peers") as settings:
        fill(settings, World(), 0)
        place.say("latency: the broker and this harness alone")
        _, _, arrived = _load(settings, settings.topics.events, count, 0)
        harness = percentiles([1000 * (at - due) for at, _, _, due in arrived])
    with place.figure("peers") as settings:
        fill(settings, World(), 0)
        place.say("latency: a Faust agent that does nothing")
        peer = peers.launched("faust-timed", settings, warm + count)
        peers.wait_started(peer)
        _send(settings, warm, 0)
        _send(settings, count, warm)
        return harness, percentiles(peers.told(peer, PATIENCE)["latencies_ms"][warm:])


def _send(settings: Settings, count: int, first: int) -> dict[str, float]:
    command = [sys.executable, "-m", "streams.bench.sender", settings.brokers, settings.topics.events]
    patience = count / RATE + PATIENCE
    done = subprocess.run(
        [*command, str(RATE), str(count), str(first)], capture_output=True, text=True, check=False, timeout=patience
    )
    if done.returncode != 0:
        raise BenchFailed(f"the load ended with status {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _load(settings: Settings, topic: str, count: int, first: int) -> tuple[float, dict[str, float], list[Arrival]]:
    """Send, and listen until all is read."""
    with _listening(settings, topic) as listener:
        said = _send(settings, count, first)
        time.sleep(1.0)  # what is still under way
        told, _ = listener.communicate(timeout=PATIENCE)
    begun = said.pop("begin")
    return begun, said, msgspec.json.decode(told, type=list[Arrival])


@contextmanager
def _listening(settings: Settings, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "streams.bench.listener", settings.brokers, topic, str(settings.partitions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        try:
            if listener.stdout is None or listener.stdout.readline() != b"ready\n":
                raise BenchFailed("the client that reads recommendations did not start")
            yield listener
        finally:
            if listener.poll() is None:
                listener.kill()


def schedule(count: int, first: int, begun: float) -> Iterator[tuple[int, str, float]]:
    """Number, user and due moment of each event that was sent."""
    keys = (key for chunk in World(seed=1 + first).backlog(count, 0.0) for key, _ in chunk)
    return ((first + n, key.decode(), begun + n / RATE) for n, key in enumerate(keys))


def answered(events: Iterable[tuple[int, str, float]], arrived: Iterable[Arrival]) -> list[float]:
    """Milliseconds of each event until a recommendation covers it: its user's first that this or a later event triggered."""
    waiting: dict[str, list[tuple[int, float]]] = {}
    for number, user, due in events:
        waiting.setdefault(user, []).append((number, due))
    found: list[float] = []
    for at, user, trigger, _ in arrived:
        mine = waiting.get(user, [])
        found += [1000 * (at - due) for number, due in mine if number <= trigger]
        waiting[user] = [one for one in mine if one[0] > trigger]
    if left := sum(map(len, waiting.values())):
        raise BenchFailed(f"{left} events are without an answer")
    return found
