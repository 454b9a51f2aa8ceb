"""Intake: micro-batches from the events topic, resumed by the rules; stages of successive batches overlap, in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from state.store import Store
from streams.decode import Batch
from streams.ends import end_of
from streams.failures import is_transient, persist
from streams.fetching import IDLE_MS, Fetching, Messages
from streams.follower import Follower
from streams.metrics import Metrics
from streams.pipeline import Answer, Pipeline
from streams.positions import Positions
from streams.publisher import Publisher
from streams.settings import Settings

__all__ = ["Intake"]

log = logging.getLogger(__name__)

# A worker that waits for Redis must not lose its partitions to one that would wait just the same.
_MAX_POLL_MS = 3_600_000
# How long the end of the worker waits for a batch that a server keeps from being finished.
_GRACE_SECONDS = 3.0
# A batch of so few is scored on the loop: the one before must be on the wire by then, or scoring keeps it from being sent.
_ON_THE_LOOP = 100
_ON_THE_WIRE = 0.002  # s
# Batches on their way out: one is published while the one before is written.
_UNDER_WAY = 2
# A batch never gets smaller than this, or the cost of a round trip would keep it small.
_FEWEST = 64


class Leaving(NamedTuple):
    """A batch on its way out."""

    published: asyncio.Task[None]
    written: asyncio.Task[None]


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads the partitions that the group assigns to this worker and carries their events through the pipeline."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        follower: Follower,
        publisher: Publisher,
        store: Store,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._follower = follower
        self._publisher = publisher
        self._store = store
        self._metrics = metrics
        self._topic = settings.topics.events
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.brokers,
            group_id=settings.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=settings.intake.session_timeout_ms,
            heartbeat_interval_ms=settings.intake.session_timeout_ms // 5,
            max_poll_interval_ms=_MAX_POLL_MS,
            fetch_max_wait_ms=IDLE_MS,
        )
        self._positions = Positions(self._topic, pipeline.teacher)
        self._resume: set[int] = set()
        self._rewind = False
        self._epoch = 0
        self._size = _FEWEST
        self._fetching = Fetching(self._consumer)
        self._in_hand = asyncio.Lock()
        self._leaving: deque[Leaving] = deque()
        self._stopping = False
        self._committed_at = 0.0
        self.partitions = 0
        self.joined = False

    async def start(self) -> None:
        """Join the group."""
        self._consumer.subscribe([self._topic], listener=self)
        await self._consumer.start()
        self.partitions = len(self._consumer.partitions_for_topic(self._topic) or ())

    async def run(self) -> None:
        """Carry batches until stopped; whatever passes by itself is waited for, and then rule 2 says where to go on."""
        while not self._stopping:
            try:
                await self._turn()
            except Exception as error:
                if not is_transient(error):
                    raise
                await self._recover(error)

    async def stop(self) -> None:
        """Finish the batch in hand, then leave the group; a batch that cannot be finished is read again by the next worker."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS), self._in_hand:
                await asyncio.shield(self._left())
        await self._fetching.stop()
        await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish the batch in hand before the partitions go; a worker that cannot is fenced by the rules anyway."""
        async with self._in_hand:
            # Only waited for: what became of them is for the loop to handle.
            await self._left()
            for partition in [topic_partition.partition for topic_partition in revoked]:
                self._forget(partition)
            self._epoch += 1

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Mark the partitions for rule 2; the loop resumes them before it reads."""
        self._resume |= {topic_partition.partition for topic_partition in assigned}
        self._epoch += 1
        self.joined = not self._resume

    def go_back(self, partition: int) -> None:
        """Rule 4: an own record was refused; return to where the log stands."""
        if partition in self._positions.next:
            self._resume.add(partition)

    def owns(self, partition: int) -> bool:
        """Tell whether this worker reads a partition."""
        return partition in self._positions.next

    def measure(self) -> None:
        """Tell the metrics how far each partition is, and mark it for a rewind."""
        self._positions.mark(time.monotonic(), self._settings.intake.rewind_s)
        for partition, position in self._positions.next.items():
            end = self._consumer.highwater(TopicPartition(self._topic, partition)) or position
            applied = self._positions.applied[partition] or 0
            self._metrics.applied_offset.labels(partition).set(applied)
            self._metrics.lag_events.labels(partition).set(max(0, end - applied))
            self._metrics.taught_offset.labels(partition).set(self._pipeline.teacher.taught.ends.get(partition, 0))

    async def look_back(self) -> None:
        """Rule 6 where no commit would notice: go back when Redis has less than it had acknowledged."""
        known = {partition: applied for partition, applied in self._positions.applied.items() if applied is not None}
        stored = await self._store.applied()
        if any(stored.get(partition, -1) < applied for partition, applied in known.items()):
            log.warning("Redis has less than it had acknowledged; going back to the last offsets that are safe")
            self._resume |= set(self._positions.next)
            self._rewind = self._store.cluster

    async def _turn(self) -> None:
        if self._resume:
            async with self._in_hand:
                await self._settle()
                await self._resume_partitions(sorted(self._resume))
        epoch, fetched = await self._fetching.take(self._size, self._epoch)
        if not fetched:
            async with self._in_hand:
                await self._settle()
            return
        for batch in self._bounded(fetched):
            async with self._in_hand:
                if epoch != self._epoch or self._resume:
                    self._put_back()
                    return
                await self._carry(batch)

    def _put_back(self) -> None:
        """Return what was fetched before a rebalance: it is read again from the positions."""
        for partition, position in self._positions.next.items():
            self._consumer.seek(TopicPartition(self._topic, partition), position)

    def _bounded(self, fetched: Mapping[int, Messages]) -> Iterator[dict[int, Messages]]:
        """Split what one fetch brought at the bound in bytes: compressed batches may hold far more than they weigh."""
        part: dict[int, list[ConsumerRecord[bytes, bytes]]] = {}
        weight = 0
        for partition, messages in fetched.items():
            for message in messages:
                size = len(message.value or b"") + len(message.key or b"")
                if weight and weight + size > self._settings.intake.batch_bytes:
                    yield dict(part)
                    part, weight = {}, 0
                part.setdefault(partition, []).append(message)
                weight += size
        yield dict(part)

    async def _carry(self, messages: Mapping[int, Messages]) -> None:
        began = time.monotonic()
        batch = Batch(messages, self._positions.begins(messages))
        answer = await self._pipeline.prepare(batch, self.partitions)
        self._positions.read(answer.ends)
        self._fetching.ahead(self._size, self._epoch)
        await self._make_way()
        leaving = self._leave(answer)
        count = sum(map(len, messages.values()))
        if count <= _ON_THE_LOOP:
            await asyncio.wait([leaving.published], timeout=_ON_THE_WIRE)
        self._metrics.batch_events.observe(count)
        self._adapt(count, time.monotonic() - began)

    def _adapt(self, count: int, seconds: float) -> None:
        """Let a batch take about ``batch_ms``: small when there is little to do, thousands when the worker is behind."""
        wanted = count * self._settings.intake.batch_ms / 1000 / max(seconds, 1e-6)
        aim = min(max(wanted, _FEWEST), self._settings.intake.batch_events)
        self._size = max(_FEWEST, int((self._size + aim) / 2)) if count < self._size else int(min(aim, 2 * self._size))

    def _leave(self, answer: Answer) -> Leaving:
        """Rule 5: publish and await the acknowledgements, then write Redis, batch after batch."""
        before = self._leaving[-1].written if self._leaving else None
        published = asyncio.create_task(self._publish(answer))
        leaving = Leaving(published, asyncio.create_task(self._write(answer, published, before)))
        self._leaving.append(leaving)
        return leaving

    async def _make_way(self) -> None:
        """Wait until the batch before is published, so that each partition keeps its order; raise what became of it."""
        if self._leaving:
            await self._leaving[-1].published
        while self._leaving and (len(self._leaving) >= _UNDER_WAY or self._leaving[0].written.done()):
            await self._leaving[0].written
            self._leaving.popleft()

    async def _settle(self) -> None:
        """Wait until all is published, written and committed; raise what became of it."""
        while self._leaving:
            await self._leaving[0].written
            self._leaving.popleft()

    async def _left(self) -> None:
        """Wait for what is on its way out, whatever becomes of it."""
        await asyncio.gather(*(leaving.written for leaving in self._leaving), return_exceptions=True)

    async def _publish(self, answer: Answer) -> None:
        with self._metrics.stage("publish"):
            await self._publisher.publish(answer)
        self._count(answer)

    async def _write(self, answer: Answer, published: asyncio.Task[None], before: asyncio.Task[None] | None) -> None:
        """Write Redis once this batch is published and the one before is written; then commit to Kafka for the lag tools."""
        await published
        if before is not None:
            await before
        with self._metrics.stage("commit"):
            goals = self._positions.goals(answer.ends)
            self._positions.committed(goals, await self._store.commit(answer.writes, goals))
        self._pipeline.profiles.let_go(answer.users)
        await self._commit_to_kafka()

    def _count(self, answer: Answer) -> None:
        now = time.time()
        metrics = self._metrics
        metrics.events.inc(answer.events)
        metrics.recommendations.inc(len(answer.recommendations))
        metrics.rekeyed.inc(len(answer.rekeyed))
        metrics.event_to_recommendation_seconds.observe([now - received for received in answer.received])
        for letter in answer.dead:
            metrics.dead_letters.labels(letter.reason.stage).inc()
        metrics.cached_profiles.set(len(self._pipeline.profiles))

    async def _commit_to_kafka(self) -> None:
        """Commit at most once a second: nothing but lag tools read it, and a commit that fails is made up by the next."""
        if time.monotonic() - self._committed_at < 1.0:
            return
        self._committed_at = time.monotonic()
        offsets = {
            TopicPartition(self._topic, p): applied for p, applied in self._positions.applied.items() if applied is not None
        }
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            log.debug("committing offsets to Kafka failed: %s", error)

    async def _recover(self, error: Exception) -> None:
        """Rule 6: something was lost or away; when all is back, drop the profiles and go on by rule 2."""
        log.warning("going back to the last offsets that are safe: %s", error)
        async with self._in_hand:
            await self._left()
            self._leaving.clear()
            self._pipeline.profiles.let_go_all()
            self._resume |= set(self._positions.next)
            self._rewind = self._store.cluster
        # Without the lock: a rebalance or the end of the worker must not wait for Redis.
        await persist("Redis", self._store.applied)

    async def _resume_partitions(self, partitions: Sequence[int]) -> None:
        """Rule 2, for partitions assigned, refused or to be read again."""
        await self._follower.to_end()
        applied = await self._store.applied()
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        begins = await self._consumer.beginning_offsets(places)
        # Under the lock of the fold, whose positions and origins belong together: nothing beyond these ends is taught by then.
        async with self._pipeline.lock:
            self._take_up(places, applied, begins, await self._ends(places, applied))
        self._resume -= set(partitions)
        self._rewind = False
        self._epoch += 1
        self.joined = True

    async def _ends(self, places: Sequence[TopicPartition], applied: Mapping[int, int]) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places)
        taught = self._pipeline.teacher.taught.ends
        for place, end in ends.items():
            if max(applied.get(place.partition, 0), taught.get(place.partition, 0)) > end:
                ends[place] = await end_of(self._consumer, place, end)
        return ends

    def _take_up(
        self,
        places: Sequence[TopicPartition],
        applied: Mapping[int, int],
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        for place in places:
            at = self._positions.resume(
                place.partition, applied.get(place.partition), begins[place], ends[place], rewind=self._rewind
            )
            self._pipeline.profiles.release(place.partition)
            self._consumer.seek(place, at)

    def _forget(self, partition: int) -> None:
        self._positions.release(partition)
        self._resume.discard(partition)
        self._pipeline.profiles.release(partition)
        self._metrics.forget_partition(partition)
