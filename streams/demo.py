"""`upwell demo`: a worker of its own, a year of real purchases, and a look at what comes out, as any client sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.live import Live

from state.reader import Reader, Recommendation
from streams import sample, topics
from streams.commands.output import console, say
from streams.commands.reading import reader as reader_of
from streams.commands.recommend import why
from streams.demo_feed import Feed
from streams.demo_view import ITEMS, Scene, Shown, Suggestion, line, render
from streams.demo_watch import POLL, Answers, Figures, Stopwatch, percentiles
from streams.demo_worker import Worker
from streams.ends import ends_of
from streams.failures import Refusal
from streams.send import Sender
from streams.servers import consuming, kafka_or_failed, producing

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.settings import Settings

OUTSTANDING = 4_000  # events without an answer at full speed: more would only wait longer
FETCH = 20  # ms; the embedded broker answers a waiting fetch when its time is up, not when a message comes
WARMUP = 0.2  # the first share of the events is learned, but not counted
STALLED = 60.0  # s without progress after which a run that was to end says what is missing
FRAME = 0.25  # s between two pictures
LINE = 2.0  # s between two lines where there is no terminal
DWELL = 2.0  # s a recommendation stays on the screen, so that it can be read


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """How to run: a `speed` of none is as fast as the worker takes it; `ends` when all events are applied."""

    events: int | None
    speed: float | None
    ends: bool
    live: bool
    hints: Sequence[tuple[str, str]]


class Demo:
    """One run on a broker and a Redis that answer."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self._settings, self._run = settings, run
        self._worker = Worker(settings)
        self._stopwatch = Stopwatch()
        self._answers = Answers(self._stopwatch)
        self._figures = Figures()
        self._scene = Scene(of=run.events)
        self._catalogue: Mapping[int, dict[str, Any]] = {}
        self._begun = time.monotonic()
        self._shown_at = 0.0
        self._dead = 0

    async def run(self) -> dict[str, Any]:
        """Run until all events are applied, or until it is cancelled; then tell what came of it."""
        async with AsyncExitStack() as stack:
            with kafka_or_failed(self._settings):
                await topics.ensure(self._settings)
            reader = stack.enter_context(reader_of(self._settings))
            results = await stack.enter_async_context(consuming(self._settings, fetch_max_wait_ms=FETCH))
            looker = await stack.enter_async_context(consuming(self._settings))
            await self._refuse_used(looker, reader)
            await _from_here(results, self._settings.topics.recommendations)
            stack.callback(self._worker.end)
            jobs = [self._screen(), self._answers.follow(results), self._look(reader), self._work(looker)]
            await _until_one_ends(jobs)
        return self.summary()

    async def _refuse_used(self, looker: AIOKafkaConsumer, reader: Reader) -> None:
        """The demo's households must not mix with anybody's users."""
        names = self._settings.topics
        held = await _held(looker, names.events)
        if not held and reader.model() is None and not reader.applied():
            return
        taken = f"topic {names.events} holds {held} events" if held else f"Redis has keys under {self._settings.prefix}"
        others = " ".join(f"--set topics.{name}=demo.{name}" for name in sorted(_TOPICS))
        raise Refusal(
            f"The {taken} already, and the demo's data would mix with them.",
            fix=f"name other ones: upwell demo --group demo --prefix demo: {others}",
        )

    async def _work(self, looker: AIOKafkaConsumer) -> None:
        """Load the data beside the worker's start, then feed; returns when a run that ends has ended."""
        self._scene.status = "the worker starts"
        worker = asyncio.create_task(asyncio.to_thread(self._worker.start))
        try:
            purchases = await asyncio.to_thread(sample.purchases, self._run.events)
            self._catalogue = await asyncio.to_thread(sample.catalogue)
            await asyncio.shield(worker)
        except asyncio.CancelledError:
            self._worker.end()  # or its thread would wait for it, and the interpreter for the thread
            raise
        self._scene.of = len(purchases) if self._run.events or self._run.ends else None
        self._figures.counted_from = round(WARMUP * len(purchases))
        await self._feed(purchases)
        await self._applied(looker, len(purchases))

    async def _feed(self, purchases: sample.Purchases) -> None:
        names = self._settings.topics
        async with producing(self._settings) as producer:
            items = Sender(producer, names.items)
            events = Sender(producer, names.events, speed=self._run.speed, on_ack=self._stopwatch.sent)
            self._begun = time.monotonic()
            self._scene.status = "running"
            await Feed(purchases, self._catalogue, items, events, lambda: self._room(events)).run()

    def _room(self, events: Sender) -> bool:
        return self._run.speed is not None or events.sent - self._answers.answered() < OUTSTANDING

    async def _applied(self, looker: AIOKafkaConsumer, count: int) -> None:
        self._scene.status = "all events are sent"
        while self._figures.events + self._dead < count:
            quiet = time.monotonic() - max(self._figures.grew, self._answers.last)
            if quiet > STALLED:
                raise DemoFailed(
                    f"{self._figures.events} of {count} events were applied, and none for {quiet:.0f} s; "
                    f"the worker's last words: {self._worker.last_words()}"
                )
            await asyncio.sleep(POLL)
            self._dead = await _held(looker, self._settings.topics.dead)
        if not self._run.ends:
            self._scene.status = "all events are applied; Ctrl-C ends it"
            await asyncio.Event().wait()

    async def _look(self, reader: Reader) -> None:
        """Look into Redis and after the worker, until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            await asyncio.to_thread(self._figures.look, reader, time.monotonic())
            if self._worker.starts and not self._worker.alive:
                raise DemoFailed(f"the worker ended; its last words: {self._worker.last_words()}")

    async def _screen(self) -> None:
        """A live picture, or lines where there is no terminal, until cancelled."""
        screen = console()
        if not (self._run.live and screen.is_terminal):
            await self._refresh(lambda: say(line(self._scene)), LINE)
        with Live(console=screen, auto_refresh=False, transient=False) as live:
            await self._refresh(lambda: live.update(render(self._scene, screen.height), refresh=True), FRAME)

    async def _refresh(self, show: Callable[[], None], pause: float) -> None:
        while True:
            self._compose(time.monotonic())
            show()
            await asyncio.sleep(pause)

    def _compose(self, now: float) -> None:
        scene, found = self._scene, percentiles(self._stopwatch.recent)
        scene.hints = [*self._run.hints, ("worker's log", str(self._worker.log))]
        scene.events = self._answers.answered()
        scene.rate = self._answers.rate(now)
        scene.p50, scene.p99 = found or (None, None)
        scene.hit_rate = self._figures.hit_rates()
        scene.segments = [(f"{one.id}  {one.name}", one.size) for one in self._figures.segments]
        if now - self._shown_at > DWELL and self._answers.newest:
            self._shown_at = now
            scene.newest = [self._shown(message) for message in reversed(self._answers.newest)]

    def _shown(self, message: bytes) -> Shown:
        found = msgspec.json.decode(message, type=Recommendation)
        known = _Names(self._catalogue)
        items = [Suggestion(known[one.item_id], why(one.reasons, known)) for one in found.items[:ITEMS]]
        return Shown(found.user_id, items)

    def summary(self) -> dict[str, Any]:
        """What came of it, as `--json` prints it."""
        seconds = self._answers.last - self._begun
        found = percentiles(self._stopwatch.all)
        p50, p99 = (round(value, 3) for value in found) if found else (None, None)
        return {
            "events": self._figures.events,
            "events_per_s": round(self._answers.answered() / seconds, 1) if seconds > 0 else 0.0,
            "latency_ms": {"p50": p50, "p99": p99},
            "hr@10": {name: round(rate, 4) for name, rate in self._figures.hit_rates().items()},
            "segments": len(self._figures.segments),
            "dead": self._dead,
        }


class _Names(dict[str, str]):
    """Names of products by id; the id where there is none."""

    def __init__(self, catalogue: Mapping[int, dict[str, Any]]) -> None:
        super().__init__()
        self._catalogue = catalogue

    def __missing__(self, item: str) -> str:
        entry = self._catalogue.get(int(item)) if item.isdecimal() else None
        return str(entry["name"]) if entry else item


_TOPICS = ("events", "items", "recommendations", "segments", "dead", "learned")


async def _held(consumer: AIOKafkaConsumer, topic: str) -> int:
    """How many messages a topic ever held."""
    places = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
    return sum((await ends_of(consumer, places)).values())


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer.topics()
    return set(consumer.partitions_for_topic(topic) or ())


async def _from_here(consumer: AIOKafkaConsumer, topic: str) -> None:
    places = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)


async def _until_one_ends(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run jobs together until the first ends; what it raised is raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
