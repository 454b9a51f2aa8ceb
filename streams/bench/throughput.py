"""Throughput: events wait, one worker starts; how fast all are applied and answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import TopicPartition

from streams.bench import peers
from streams.bench.figures import Figure, Page
from streams.bench.filling import fill
from streams.bench.place import BenchFailed, Place, page, reading, wait_applied
from streams.bench.world import World
from streams.demo_worker import Worker
from streams.metrics import STAGES
from streams.servers import consuming

if TYPE_CHECKING:
    from streams.settings import Settings

PROMISED = 6_000.0  # events/s
PATIENCE_MS = 10_000  # without another recommendation, after which one is missing
NEWEST = 4_000  # recommendations of each partition that are read back: a whole batch of one partition


@dataclass(slots=True)
class Drain:
    """One drain: seconds from the worker's start to the first batch, then to the end; what its metrics say."""

    start: float
    seconds: float
    rate: float
    metrics: Page


def run(place: Place, count: int) -> tuple[list[Figure], dict[str, Any]]:
    """Measure the drain of `count` waiting events beside its peers on the same topic."""
    with place.figure("throughput") as settings:
        place.say(f"throughput: {count:,} events are put into the topic")
        filled = fill(settings, World(), count)
        place.say("throughput: a plain loop that only decodes")
        plain = peers.run("plain", settings, count)["events_per_s"]
        place.say("throughput: a Faust agent that does nothing")
        faust = peers.run("faust", settings, count)["events_per_s"]
        place.say("throughput: one worker")
        drain = drained(settings, count)
        asyncio.run(_check_answered(settings, filled))
    beside = {"faust doing nothing": faust, "aiokafka decoding only": plain}
    figures = [
        Figure("drain, 1 worker", drain.rate, "events/s", at_least=PROMISED, peers=beside),
        Figure("start to first batch", drain.start, "s"),
    ]
    return figures, {"stages_us_per_event": stages(drain.metrics, count)}


def drained(settings: Settings, count: int) -> Drain:
    """Let a worker drain what waits."""
    worker, begun = Worker(settings), time.perf_counter()
    starting = threading.Thread(target=_started, args=(worker,), daemon=True)
    first: list[tuple[float, int]] = []

    def look(done: int) -> None:
        if done and not first:
            first.append((time.perf_counter(), done))

    try:
        starting.start()
        with reading(settings) as reader:
            ended = wait_applied(worker, reader, count, look)
            metrics = page(worker)
    finally:
        starting.join(worker.patience)
        worker.end()
    at, done = first[0]
    # The first batch begins the time, so its events do not count; a world of one batch counts from the start.
    counted, since = (count - done, at) if done < count else (count, begun)
    return Drain(at - begun, ended - since, counted / (ended - since), metrics)


def _started(worker: Worker) -> None:
    worker.start()


def stages(metrics: Page, count: int) -> dict[str, float]:
    """Microseconds per event of each stage, by the worker's own clock; stages overlap, so they do not add up."""
    found = {stage: metrics.value("upwell_stage_seconds_sum", stage=stage) for stage in STAGES}
    return {stage: round(1e6 * seconds / count, 1) for stage, seconds in found.items()}


class _Trigger(msgspec.Struct):
    partition: int
    offset: int


class _Answer(msgspec.Struct):
    trigger: _Trigger


async def _check_answered(settings: Settings, filled: Mapping[int, int]) -> None:
    """Every partition's last event must be the trigger of a recommendation; they were acknowledged before it was applied."""
    decode = msgspec.json.Decoder(_Answer).decode
    missing = {partition: count - 1 for partition, count in filled.items() if count}
    async with consuming(settings.brokers) as consumer:
        places = [TopicPartition(settings.topics.recommendations, partition) for partition in range(settings.partitions)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        for place, end in ends.items():
            consumer.seek(place, max(0, end - NEWEST))
        while missing and (found := await consumer.getmany(timeout_ms=PATIENCE_MS)):
            for message in (message for messages in found.values() for message in messages):
                trigger = decode(message.value).trigger
                if missing.get(trigger.partition) == trigger.offset:
                    del missing[trigger.partition]
    if missing:
        raise BenchFailed(f"applied, but not answered: the last events of the partitions {sorted(missing)}")
