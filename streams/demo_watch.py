"""What the demo sees from outside, as any client would: recommendations in Kafka, figures in Redis."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

    from state.model import Model
    from state.reader import Reader
    from state.segments import Segment

POLL = 0.25  # s between two looks into Redis; the worker writes its figures once a second
RECENT = 5_000  # latencies in the picture's percentiles
REMEMBERED = 200_000  # events whose moment of sending is kept until their recommendation comes
RATE_SECONDS = 5.0  # the events/s of the picture are a mean over this


class _Trigger(msgspec.Struct, gc=False):
    partition: int
    offset: int


class _Answer(msgspec.Struct, gc=False):
    """The part of a recommendation that every one is looked at for."""

    trigger: _Trigger


class Stopwatch:
    """From the sending of an event to the arrival of the recommendation it triggered; either may be told first."""

    def __init__(self) -> None:
        self._sent: dict[tuple[int, int], float] = {}
        self._early: dict[tuple[int, int], float] = {}
        self.all = array("d")
        self.recent: deque[float] = deque(maxlen=RECENT)

    def sent(self, partition: int, offset: int, at: float) -> None:
        """An event was acknowledged at its place; it was handed over at `at`."""
        arrived = self._early.pop((partition, offset), None)
        if arrived is not None:
            self._measured(arrived - at)
            return
        self._sent[partition, offset] = at
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def arrived(self, partition: int, offset: int, at: float) -> None:
        """A recommendation with this trigger arrived."""
        sent = self._sent.pop((partition, offset), None)
        if sent is not None:
            self._measured(at - sent)
        elif len(self._early) < REMEMBERED:
            self._early[partition, offset] = at

    def _measured(self, seconds: float) -> None:
        self.all.append(seconds * 1000)
        self.recent.append(seconds * 1000)


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float] | None:
    """The median and the 99th percentile; none of nothing."""
    if not len(milliseconds):
        return None
    p50, p99 = np.percentile(np.asarray(milliseconds, np.float64), [50, 99])
    return float(p50), float(p99)


class Answers:
    """Follows the recommendations: how far each partition of events is answered, how fast, and the newest ones."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._decoder = msgspec.json.Decoder(_Answer)
        self._reached: dict[int, int] = {}
        self._counts: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self.newest: deque[bytes] = deque(maxlen=3)
        self.last = time.monotonic()

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read until cancelled."""
        while True:
            for messages in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                self.take([message.value for message in messages], time.monotonic())
                await asyncio.sleep(0)

    def take(self, values: Sequence[bytes], now: float) -> None:
        """Count recommendations that arrived at `now`."""
        for value in values:
            trigger = self._decoder.decode(value).trigger
            self._reached[trigger.partition] = max(trigger.offset + 1, self._reached.get(trigger.partition, 0))
            self._stopwatch.arrived(trigger.partition, trigger.offset, now)
        if values:
            self.newest.append(values[-1])
            self.last = now

    def answered(self) -> int:
        """Events that a recommendation covers: of each partition all up to the last trigger."""
        return sum(self._reached.values())

    def rate(self, now: float) -> float:
        """Events answered per second of late."""
        self._counts.append((now, self.answered()))
        while len(self._counts) > 2 and self._counts[1][0] < now - RATE_SECONDS:
            self._counts.popleft()
        (begin, first), (end, last) = self._counts[0], self._counts[-1]
        return (last - first) / (end - begin) if end > begin else 0.0


@dataclass(slots=True)
class Figures:
    """What the worker writes to Redis, and what it wrote when the events to be counted began."""

    counted_from: int = 0
    model: Model | None = None
    begin: Model | None = None
    segments: Sequence[Segment] = field(default_factory=list)
    grew: float = 0.0

    def look(self, reader: Reader, now: float) -> None:
        """Read once."""
        model = reader.model()
        if model is not None:
            self.take(model, now)
        self.segments = reader.segments()

    def take(self, model: Model, now: float) -> None:
        """Remember the newest figures, and the first ones at which the warm-up is over."""
        if model.events > self.events:
            self.grew = now
        self.model = model
        if self.begin is None and model.events >= self.counted_from:
            self.begin = model

    @property
    def events(self) -> int:
        """How many events were taught."""
        return self.model.events if self.model else 0

    def hit_rates(self) -> dict[str, float]:
        """Hits per judged event after the warm-up, of the blend and each source."""
        if self.model is None:
            return {}
        counted = self.begin if self.begin is not None and self.begin.judged < self.model.judged else None
        return rates(self.model, counted)


def rates(end: Model, begin: Model | None) -> dict[str, float]:
    """Hit rates between two moments, or from the first event; the blend comes first."""
    before: Mapping[str, int] = begin.hits if begin else {}
    judged = end.judged - (begin.judged if begin else 0)
    found = {name: (hits - before.get(name, 0)) / judged if judged else 0.0 for name, hits in end.hits.items()}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "blend", -found[name], name))}
