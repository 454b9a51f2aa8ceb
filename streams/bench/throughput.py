"""Throughput: events wait, one worker starts; how fast all are applied and answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import msgspec
from aiokafka import TopicPartition

from streams.bench import peers, writing
from streams.bench.figures import Figure, Page, Told, Wanted, bars
from streams.bench.filling import fill
from streams.bench.place import BenchFailed, Drained, Place, page, reading, wait_applied
from streams.bench.world import World
from streams.demo_worker import Worker
from streams.metrics import STAGES
from streams.servers import consuming

if TYPE_CHECKING:
    from streams.settings import Settings

PROMISED = 10_000.0  # events/s
PATIENCE_MS = 10_000  # without another recommendation, after which one is missing
NEWEST = 4_000  # recommendations of each partition that are read back: a whole batch of one partition


@dataclass(slots=True)
class Drain:
    """One drain: seconds from the worker's start to the first batch, then events/s; what its metrics say."""

    start: float
    rate: float
    metrics: Page


def run(place: Place, wanted: Wanted) -> Told:
    """Measure the drain of `count` waiting events, some times over, each time beside its peers on the same topic."""
    count, rates, starts, stages_of = wanted.count, Rates(), [], []
    with place.figure("throughput") as shared:
        place.say(f"throughput: {count:,} events are put into the topic")
        filled = fill(shared, World(), count)
        for turn in range(wanted.runs):
            place.say(f"throughput: run {turn + 1} of {wanted.runs}: a loop that only decodes, a Faust agent that does nothing")
            rates.decoding.append(peers.run("plain", shared, count)["events_per_s"])
            rates.faust.append(peers.run("faust", shared, count)["events_per_s"])
            with place.figure("drain", events=shared.topics.events) as settings:
                place.say(f"throughput: run {turn + 1} of {wanted.runs}: one worker, then Redis alone")
                drain = drained(settings, count)
                asyncio.run(_check_answered(settings, filled))
                rates.redis.append(writing.limit(settings, drain.metrics))
            rates.own.append(drain.rate)
            starts.append(drain.start)
            stages_of.append(stages(drain.metrics, count))
    return _told(rates, starts, stages_of)


@dataclass(slots=True)
class Rates:
    """Events/s of each run, by whose they are."""

    own: list[float] = field(default_factory=list)
    faust: list[float] = field(default_factory=list)
    decoding: list[float] = field(default_factory=list)
    redis: list[float] = field(default_factory=list)


def _told(rates: Rates, starts: Sequence[float], stages_of: Sequence[Mapping[str, float]]) -> Told:
    beside = {"faust doing nothing": rates.faust, "Redis' own limit": rates.redis, "aiokafka decoding only": rates.decoding}
    bar = max(PROMISED, median(rates.faust))  # who does something for each event is to be no slower than who does nothing
    drain = Figure("drain, 1 worker", rates.own, "events/s", at_least=bar, peers=beside)
    figures = [drain, Figure("start to first batch", starts, "s")]
    middles = {stage: round(median(one[stage] for one in stages_of), 1) for stage in STAGES}
    return Told(figures, {"stages_us_per_event": middles}, [bars(drain, "Upwell, 1 worker")])


def drained(settings: Settings, count: int) -> Drain:
    """Let a worker drain what waits."""
    worker, begun = Worker(settings), time.perf_counter()
    starting = threading.Thread(target=_started, args=(worker,), daemon=True)
    watch = Drained(count, begun)
    try:
        starting.start()
        with reading(settings) as reader:
            ended = wait_applied(worker, reader, count, watch.look)
            metrics = page(worker)
    finally:
        starting.join(worker.patience)
        worker.end()
    return Drain(watch.first - begun, watch.rate(ended), metrics)


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
    async with consuming(settings) as consumer:
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
