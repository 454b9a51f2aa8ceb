"""Soak: a steady load for half an hour, with users and items that come and go; whether memory and latency stay as they are.

The models hold a tenth more users and items than are active, and the worker as many profiles, as whoever runs for long would
have it: who left makes room. Histories are full before it begins, for until they are they grow with every event.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from redis import Redis

from streams.bench.figures import Figure, Told, Wanted, percentiles
from streams.bench.filling import fill
from streams.bench.load import Listener, Sender, Sent, listening, sending
from streams.bench.memory import around
from streams.bench.panels import Lines
from streams.bench.place import Place, page, reading, wait_applied, working
from streams.bench.schedule import Answers, Schedule
from streams.bench.world import ITEMS, USERS, World
from streams.security import redis_url

if TYPE_CHECKING:
    from streams.demo_worker import Worker
    from streams.knobs.models import ModelKnobs

ROOM = 1.1  # users and items that the models hold, for each that is active at a time
CHURN = 0.01  # of the users and of the items are new each minute
EVERY = 10.0  # s between two samples, or a sixtieth of a short soak
LEAST_SAMPLES = 60
TELL = 60.0  # s between two words on how it goes
WARM = 0.1  # of the time, which is not counted: caches fill, the worker's batches find their size
SETTLE = 1.0  # s until a client has read what was published
WINDOW = 0.05  # share of the time over which the median of the memory is taken
GROWTH, STEADY = 3.0, 1.25  # promised: % over the second half; p99 of the last third in those of the first


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen since the sample before; bytes and lag are as of its end."""

    at_s: float
    answered: int
    p50_ms: float
    p99_ms: float
    worker_bytes: float
    redis_bytes: float
    lag_events: float


def run(place: Place, wanted: Wanted) -> Told:
    """Load a worker that has learned `count` events before, at `rate` for `seconds` or until Ctrl-C; once."""
    fresh = CHURN / (60 * wanted.rate)
    events = max(10, int(wanted.rate * wanted.seconds))
    with place.figure("soak", **_bounded(place.settings.models)) as settings:
        place.say(f"soak: {wanted.count:,} events are learned before")
        fill(settings, World(fresh=fresh), wanted.count)
        with reading(settings) as reader, working(settings) as worker, closing(_redis(place)) as redis:
            wait_applied(worker, reader, wanted.count, _progress(place, wanted.count))
            schedule = Schedule(wanted.rate, events, wanted.count, World(seed=1, fresh=fresh))
            with listening(settings, settings.topics.recommendations) as listener, sending(settings, schedule) as sender:
                watch = Watch(worker, redis, listener, Answers(schedule.due(sender.begin)), sender.begin)
                sent = _watched(place, watch, sender, wanted)
                wait_applied(worker, reader, wanted.count + sent.count)
                time.sleep(SETTLE)
                listener.end()
                watch.sample()
    return told(watch.samples, sent, watch.answers.left(wanted.count + sent.count - 1), wanted.rate)


def _bounded(models: ModelKnobs) -> dict[str, Any]:
    users, items = int(ROOM * USERS), int(ROOM * ITEMS)
    return {"models": models.model_copy(update={"max_users": users, "max_items": items}), "intake": {"cached_users": users}}


def _progress(place: Place, count: int) -> Callable[[int], None]:
    """Tell now and then how many of the events before are learned."""
    told = time.monotonic()

    def look(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL:
            told = time.monotonic()
            place.say(f"soak: {done:,} of {count:,} events learned")

    return look


def _redis(place: Place) -> Redis:
    return Redis.from_url(redis_url(place.settings))


def _watched(place: Place, watch: Watch, sender: Sender, wanted: Wanted) -> Sent:
    """Sample until the load has ended, or somebody ends it."""
    told = -math.inf  # the first sample is told at once
    try:
        place.say(f"soak: {wanted.rate:,.0f} events/s for {wanted.seconds:,.0f} s; Ctrl-C ends it with what was measured")
        while not sender.wait(min(EVERY, wanted.seconds / LEAST_SAMPLES)):
            watch.sample()
            if time.monotonic() - told >= TELL:
                told = time.monotonic()
                place.say(f"soak: {_words(watch.samples[-1])}")
    except KeyboardInterrupt:
        place.say("soak: ended early; what was measured so far follows")
        return sender.end()
    return sender.told()


def _words(last: Sample) -> str:
    sizes = f"worker {last.worker_bytes / 2**20:,.0f} MiB, Redis {last.redis_bytes / 2**20:,.0f} MiB"
    return f"{last.at_s / 60:.0f} min: p50 {last.p50_ms:.1f} ms, p99 {last.p99_ms:.1f} ms, lag {last.lag_events:,.0f}, {sizes}"


class Watch:
    """Takes samples, and keeps of each window only its percentiles."""

    def __init__(self, worker: Worker, redis: Redis, listener: Listener, answers: Answers, begin: float) -> None:
        self._worker, self._redis, self._listener = worker, redis, listener
        self.answers, self._begin = answers, begin
        self.samples: list[Sample] = []

    def sample(self) -> None:
        """Look at all there is to see."""
        milliseconds = [ms for at, user, number, _ in self._listener.taken() for ms in self.answers.take(at, user, number)]
        found, metrics = percentiles(milliseconds), page(self._worker)
        self.samples.append(
            Sample(
                time.time() - self._begin,
                len(milliseconds),
                found["p50"],
                found["p99"],
                metrics.value("process_resident_memory_bytes"),
                float(self._redis.info("memory")["used_memory"]),
                sum(metrics.by("upwell_lag_events", "partition").values()),
            )
        )


def told(samples: Sequence[Sample], sent: Sent, unanswered: int, rate: float) -> Told:
    """The figures, the series for `--json`, and the picture."""
    figures = list(_figures(samples, sent.invalid, f"soak, {rate:,.0f}/s"))
    figures.append(Figure("soak, events without an answer", unanswered, "", at_most=0.0))
    series = [asdict(sample) for sample in samples]
    return Told(figures, {"soak": {"sender": sent.told(), "series": series}}, list(_panels(samples)))


def _figures(samples: Sequence[Sample], invalid: str, name: str) -> Iterator[Figure]:
    end = samples[-1].at_s
    steady = [one for one in samples if one.at_s >= WARM * end and one.answered] or samples[-1:]
    third = max(1, len(steady) // 3)
    slow = [one.p99_ms for one in steady]
    first, last = median(slow[:third]), median(slow[-third:])
    sizes = [(one.at_s, one.worker_bytes) for one in samples]
    half, whole = (around(sizes, share * end, WINDOW * end) for share in (0.5 + WINDOW, 1.0 - WINDOW))
    yield Figure(f"{name}, p50", [one.p50_ms for one in steady], "ms", invalid=invalid)
    yield Figure(f"{name}, p99", slow, "ms", invalid=invalid)
    thirds = {"first third": first, "last third": last}
    yield Figure("soak, p99 of the last third : the first", last / first, "times", at_most=STEADY, peers=thirds, invalid=invalid)
    growth = 100 * (whole / half - 1)
    yield Figure("soak, growth of memory over the second half", growth, "%", at_most=GROWTH)
    yield Figure("soak, worker's memory at the end", whole / 2**20, "MiB", peers={"half-way": half / 2**20})
    yield Figure("soak, Redis' memory at the end", samples[-1].redis_bytes / 2**20, "MiB")


def _panels(samples: Sequence[Sample]) -> Iterator[Lines]:
    minutes = [one.at_s / 60 for one in samples]
    latency = {"p50": [one.p50_ms for one in samples], "p99": [one.p99_ms for one in samples]}
    memory = {"worker": [one.worker_bytes / 2**20 for one in samples], "Redis": [one.redis_bytes / 2**20 for one in samples]}
    lag = {"events not applied": [one.lag_events for one in samples]}
    for title, unit, values in (("latency", "ms", latency), ("memory", "MiB", memory), ("lag", "events", lag)):
        yield Lines(f"soak: {title}", "minutes", unit, {name: (minutes, row) for name, row in values.items()})
