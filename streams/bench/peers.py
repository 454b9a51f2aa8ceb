"""Peers, each in a process of its own: a Faust agent that does nothing, and a plain aiokafka loop that only decodes.

`python -m streams.bench.peers faust|faust-timed|plain BROKERS TOPIC PARTITIONS EVENTS` reads a topic from its beginning,
and prints one JSON object when it has seen so many events; `faust-timed` also tells how many ms after it was due each event came.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from streams.settings import Settings

PATIENCE = 600.0  # s for a peer; Faust needs ten seconds for 100,000 events
STARTED = "started"


class PeerFailed(Exception):
    """A peer ended without a figure; the message holds its last words."""


def launched(kind: str, settings: Settings, events: int) -> subprocess.Popen[str]:
    """Start a peer on the settings' events topic."""
    command = [
        sys.executable,
        "-m",
        "streams.bench.peers",
        kind,
        settings.brokers,
        settings.topics.events,
        str(settings.partitions),
        str(events),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str], patience: float = PATIENCE) -> dict[str, Any]:
    """Wait for a peer's figures."""
    try:
        said, complaint = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise PeerFailed(f"a peer gave no figure within {patience:.0f} s: {' '.join(process.args[3:])}") from error  # type: ignore[arg-type,index]
    if process.returncode != 0:
        raise PeerFailed(f"a peer ended with status {process.returncode}: {complaint[-2000:]}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def wait_started(process: subprocess.Popen[str]) -> None:
    """Wait until a Faust peer has its partitions and waits for events."""
    lines = process.stderr or ()
    if not any(line.strip() == STARTED for line in lines):
        raise PeerFailed("a peer ended while starting")


def run(kind: str, settings: Settings, events: int) -> dict[str, Any]:
    """Let a peer read the waiting events, and give its figures."""
    return told(launched(kind, settings, events))


class _Count:
    """What a peer saw: when, and the values that tell when they were to be sent."""

    def __init__(self, events: int) -> None:
        self.wanted, self.seen = events, 0
        self.begun = 0.0
        self.delays: list[tuple[float, bytes]] = []

    def take(self, value: bytes, *, timed: bool) -> None:
        """Count one event."""
        if not self.begun:
            self.begun = time.perf_counter()
        self.seen += 1
        if timed:
            self.delays.append((time.time(), value))

    def figures(self) -> dict[str, Any]:
        """The rate does not count the first event, which begins the time."""
        seconds = time.perf_counter() - self.begun
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        milliseconds = [1000 * (at - msgspec.json.decode(value)["timestamp"]) for at, value in self.delays]
        return {
            "events": self.seen,
            "seconds": seconds,
            "events_per_s": (self.seen - 1) / seconds if seconds else 0.0,
            "bytes": memory,
            "latencies_ms": milliseconds,
        }


def _faust(brokers: str, topic: str, events: int, *, timed: bool) -> None:
    import faust
    from faust.cli.faust import cli

    count = _Count(events)
    with tempfile.TemporaryDirectory(prefix="upwell-") as datadir:
        app: Any = faust.App(
            f"bench-peer-{os.getpid()}",
            broker=[f"kafka://{broker}" for broker in brokers.split(",")],
            store="memory://",
            datadir=datadir,
            autodiscover=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            broker_session_timeout=6.0,
            broker_heartbeat_interval=1.0,
            consumer_auto_offset_reset="earliest",
            web_enabled=False,
        )
        source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        @app.agent(source)
        async def nothing(stream: Any) -> None:  # noqa: ANN401 - Faust has no types
            async for value in stream:
                count.take(value, timed=timed)
                if count.seen == count.wanted:
                    _say(json.dumps(count.figures()), sys.__stdout__)
                    os._exit(0)  # its figure is told; leaving the group in order would take seconds

        @app.task
        async def started() -> None:
            _say(STARTED, sys.__stderr__)

        app.finalize()
        app.worker_init()
        cli.main(args=["worker", "--loglevel", "error", "--without-web"], app=app, prog_name="peer", standalone_mode=False)


async def _plain(brokers: str, topic: str, partitions: int, events: int) -> None:
    from aiokafka import TopicPartition

    from streams.servers import consuming
    from streams.settings import Settings

    count, decoded = _Count(events), msgspec.json.decode
    async with consuming(Settings(brokers=brokers)) as consumer:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        count.begun = time.perf_counter()  # or the events of the first fetch would take no time
        while count.seen < events:
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                for message in messages:
                    decoded(message.value)
                    count.take(b"", timed=False)
    _say(json.dumps(count.figures()), sys.__stdout__)


def _say(line: str, to: TextIO | None) -> None:
    """Faust takes sys.stdout and sys.stderr for its log; these are the real ones."""
    if to is not None:
        to.write(f"{line}\n")
        to.flush()


def main(arguments: Sequence[str]) -> None:
    """Be a peer."""
    kind, brokers, topic, partitions, events = arguments
    if kind == "plain":
        asyncio.run(_plain(brokers, topic, int(partitions), int(events)))
    else:
        _faust(brokers, topic, int(events), timed=kind == "faust-timed")


if __name__ == "__main__":
    main(sys.argv[1:])
