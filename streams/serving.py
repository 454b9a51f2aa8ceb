"""The data plane as one service: it opens the parts in order, runs them together, and closes them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from mode import Service

from state import snapshots
from state.connection import eviction_warning, open_redis, persistence_warning
from state.keys import Keys
from state.store import Store
from streams import topics
from streams.admission import refusal
from streams.agents.stock import Stock
from streams.closing import close
from streams.ends import begin_of
from streams.failures import Refusal, is_transient, own_cancellation, persist
from streams.follower import Fold, Follower
from streams.forgetting import Forgetting
from streams.intake import Intake
from streams.keeper import Keeper
from streams.learned import Taught, Teacher
from streams.metrics import Metrics
from streams.models.models import Models
from streams.pipeline import Pipeline
from streams.publisher import Publisher
from streams.records import Kind, Record, encode
from streams.security import kafka_client, redis_url
from streams.settings import Settings
from streams.snapshots import thaw
from streams.warm import warm

__all__ = ["Serving"]

log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_ASK_SECONDS = 2.0
# Who is forgotten waits; who are forgotten in the same moment share a pass over Redis.
_FORGET_SECONDS = 0.25


class Serving(Service):
    """Owns every part of the data plane; ``failure`` is what ended it, if it ended by itself."""

    logger = logging.getLogger("mode.serving")

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__()
        self.settings = settings
        self.metrics = metrics
        self.failure: Exception | None = None
        self._wired = False
        self._following: asyncio.Task[None] | None = None
        self.opened = asyncio.Event()
        self.redis = open_redis(redis_url(settings))
        self.keys = Keys(settings.prefix)

    async def on_start(self) -> None:
        """Hold back Faust's own clients until a broker answers, for they would give up at once."""
        try:
            await persist("the broker", lambda: topics.reach(self.settings))
        except Refusal as error:
            self._end(error)
            await self.wait_until_stopped()

    @Service.task
    async def _serve(self) -> None:
        try:
            with own_cancellation():  # else a part would end in silence, and the worker live on without it
                following = await self._open()
                await asyncio.gather(following, self.intake.run(), self._ticks(), self._snapshots(), self._forgets())
        except Exception as error:  # noqa: BLE001 - told by who ends the worker
            if self.should_stop:
                # The parts were closed under the loops that used them.
                return
            self._end(error)

    def _end(self, error: Exception) -> None:
        """End in Faust's own way: the worker stops its parts in order, as on a plain Ctrl-C."""
        refused = refusal(error)
        if refused is None:
            log.error("the worker ends, Kafka keeps what it has not done", exc_info=error)
        self.failure = refused or error
        os.kill(os.getpid(), signal.SIGTERM)

    async def _open(self) -> asyncio.Task[None]:
        """Open the parts in order; return the task that follows the log."""
        warming = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(warm(self.settings))))
        layout = await persist("the broker", lambda: topics.ensure(self.settings, *topics.OF_WORKERS))
        await persist("Redis", self.redis.ping)
        for warning in (persistence_warning, eviction_warning):
            if said := await persist("Redis", partial(warning, self.redis)):
                log.warning(said)
        self.fold = await self._load()
        self._wire(compacted="recommendations" in layout.compacted)
        await persist("the broker", self.publisher.start)
        await persist("the learned log", self.follower.start)
        following = self._following = asyncio.create_task(self.follower.run(), name="follow")
        await self.follower.to_end()
        self._resets = self.fold.resets
        await persist("the events topic", self.intake.start)
        await self._check_layout()
        await persist("the items topic", self.stock.open)
        await warming
        self.opened.set()
        where = f"{self.settings.topics.events} ({self.intake.partitions} partitions)"
        log.info("serving %s, learned log folded up to %d, http://%s", where, self.fold.models.version, self.settings.http)
        return following

    async def _load(self) -> Fold:
        parameters = self.settings.parameters()
        while newest := await persist("Redis", lambda: snapshots.load(self.redis, self.keys)):
            # Where somebody is forgotten, the log is cut off at once at a snapshot newer than the one just read.
            begin = await persist("the learned log", lambda: begin_of(self.settings, self.settings.topics.learned))
            current = await persist("Redis", lambda: snapshots.pointer(self.redis, self.keys))
            if begin <= newest.offset or current.newest is None or current.newest.offset <= newest.offset:
                return await asyncio.get_running_loop().run_in_executor(None, thaw, newest.data, parameters)
        return Fold(Models(**parameters), Taught())

    def _wire(self, *, compacted: bool) -> None:
        settings, metrics = self.settings, self.metrics
        executor = ThreadPoolExecutor(1, "scoring")
        store = Store(self.redis, self.keys)
        self.teacher = Teacher(secrets.randbits(63), self.fold.taught)
        self.pipeline = Pipeline(settings, self.fold.models, self.teacher, store, metrics, executor)
        self.publisher = Publisher(settings, compacted=compacted)
        lock = self.pipeline.lock
        self.follower = Follower(settings, self.fold, self.teacher, lock, metrics, executor, self._go_back)
        self.intake = Intake(settings, self.pipeline, self.follower, self.publisher, store, metrics)
        self.stock = Stock(settings, self.redis, self.publisher, metrics, self.fold.models)
        self.keeper = Keeper(settings, self.fold, lock, self.redis, self.publisher, metrics, executor, self._truncate, self.stock)
        ways = self.keeper.renew, self.publisher.retract
        self.forgetting = Forgetting(settings, self.fold, lock, self.redis, *ways)
        self.pipeline.segment_names = self.keeper.names
        self._wired = True

    def _go_back(self, partition: int) -> None:
        self.intake.go_back(partition)

    async def _check_layout(self) -> None:
        """Rule 8: users are found by their partition, so a changed count of partitions is not served unasked."""
        if self.fold.partitions == 0:
            layout = Record(Kind.LAYOUT, self.teacher.writer, self.intake.partitions, 0, 0, self.fold.knobs)
            await self.publisher.append(encode(layout))
            await self.follower.to_end()
        if self.fold.partitions != self.intake.partitions:
            raise Refusal(
                f"{self.settings.topics.events} has {self.intake.partitions} partitions, "
                f"users were placed by {self.fold.partitions}.",
                fix="upwell reset (it accepts the new count; events on the wrong partition are then re-keyed)",
            )

    async def on_stop(self) -> None:
        """Close in the order of the flow: nothing new is read, the batch in hand is finished, then its ways out close."""
        if self._wired:
            await close(self.intake.stop)
            await close(partial(_ended, self._following))
            await close(self.stock.stop)
            await close(self.follower.stop)
            await close(self.publisher.stop)
        await close(self.redis.aclose)

    async def _ticks(self) -> None:
        while not self.should_stop:
            await self.sleep(_TICK_SECONDS)
            if self.fold.resets != self._resets:
                raise Refusal("The models or offsets were reset while this worker ran.", fix="start the worker again")
            self.intake.measure()
            await self._attempt(self.intake.look_back)
            await self._attempt(self.stock.verify)
            await self._attempt(partial(self.keeper.tick, owner=self.intake.owns(0)))
            await self.ready()

    async def _snapshots(self) -> None:
        while not self.should_stop:
            await self.sleep(self.settings.snapshot.seconds)
            if self.intake.owns(0):
                await self._attempt(self.keeper.snapshot)

    async def _forgets(self) -> None:
        while not self.should_stop:
            await self.sleep(_FORGET_SECONDS)
            await self._attempt(partial(self.forgetting.tick, owner=self.intake.owns(0)))

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the keeper's work, or leave it to the next tick while a server is away: all of it can be made again."""
        try:
            with own_cancellation():
                await work()
        except Exception as error:
            if not is_transient(error):
                raise
            log.debug("left to the next tick: %s", error)

    async def _truncate(self, bound: int) -> None:
        """Delete the learned log below the older of the last two snapshots; an embedded broker may not know how."""
        admin = AIOKafkaAdminClient(**kafka_client(self.settings))
        try:
            await admin.start()
            await admin.delete_records({TopicPartition(self.settings.topics.learned, 0): RecordsToDelete(bound)})
        except (KafkaError, NotImplementedError) as error:
            say = log.warning if isinstance(error, TopicAuthorizationFailedError) else log.info
            say("the learned log keeps what lies below %d: %s", bound, error)
        finally:
            await admin.close()

    async def ready(self) -> dict[str, bool]:
        """Tell for each condition of serving whether it holds."""
        if not self.opened.is_set():
            return {"log": False, "brokers": False, "redis": await self._answers(self.redis.ping)}
        parts = {
            "log": self.follower.caught_up and self.intake.joined,
            "brokers": await self._answers(self.follower.bounds),
            "redis": await self._answers(self.redis.ping),
        }
        for part, holds in parts.items():
            self.metrics.ready_part.labels(part).set(holds)
        self.metrics.ready.set(all(parts.values()))
        return parts

    async def _answers(self, ask: Callable[[], Awaitable[Any]]) -> bool:
        try:
            with own_cancellation():
                async with asyncio.timeout(_ASK_SECONDS):
                    await ask()
        except Exception as error:
            if not is_transient(error):
                raise
            return False
        return True


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end; what it failed with has been told by whoever awaited it first."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
