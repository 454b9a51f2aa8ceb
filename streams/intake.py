"""Intake: micro-batches from the events topic, resumed by the rules; stages of successive batches overlap, in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from state.store import Store
from streams.decode import Batch
from streams.ends import end_of
from streams.failures import is_transient, own_cancellation, persist
from streams.fetching import IDLE_MS, Fetching, Messages
from streams.follower import Follower
from streams.membership import Membership
from streams.metrics import Metrics
from streams.pipeline import Answer, Pipeline
from streams.positions import Positions
from streams.publisher import Publisher
from streams.security import kafka_client
from streams.settings import Settings

__all__ = ["Intake"]

log = logging.getLogger(__name__)

# How long the end of the worker waits for a batch that a server keeps from being finished.
_GRACE_SECONDS = 3.0
# A batch of so few is scored on the loop: the one before must be on the wire by then, or scoring keeps it from being sent.
_ON_THE_LOOP = 100
_ON_THE_WIRE = 0.002  # s
# Batches on their way out: one is published while the one before is written.
_UNDER_WAY = 2
# A batch never gets smaller than this, or the cost of a round trip would keep it small.
_FEWEST = 64
# A batch takes at most this share of the time that all who wait will take, and at most so many times as long as usual:
# nobody who waits notices, and a worker that stops finishes the batch in hand first.
_OF_THE_WAIT, _LONGER = 0.1, 5


class Leaving(NamedTuple):
    """A batch on its way out."""

    published: asyncio.Task[None]
    written: asyncio.Task[None]


class Intake:
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
            **kafka_client(settings),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=IDLE_MS,
            # What a producer took back (its transaction was aborted) did not happen.
            isolation_level="read_committed",
        )
        self._membership = Membership(settings, self.take)
        self._positions = Positions(self._topic, pipeline.teacher)
        self._resume: set[int] = set()
        self._doubt: Exception | None = None
        self._epoch = 0
        self._size = _FEWEST
        self._fetching = Fetching(self._consumer)
        self._in_hand = asyncio.Lock()
        self._leaving: deque[Leaving] = deque()
        self._stopping = False
        self._committed_at = 0.0
        self._passed: dict[int, int] = {}
        self.partitions = 0
        self.joined = False

    async def start(self) -> None:
        """Join the group."""
        await self._consumer.start()
        self._point()
        await self._membership.start()
        self.partitions = self._membership.partitions

    async def run(self) -> None:
        """Stay in the group and carry batches until stopped."""
        await asyncio.gather(self._membership.run(), self._carry_on())

    async def _carry_on(self) -> None:
        """Carry batches; whatever passes by itself is waited for, and then rule 2 says where to go on."""
        while not self._stopping:
            try:
                with own_cancellation():
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
        await self._membership.stop()
        await self._fetching.stop()
        await self._consumer.stop()

    async def take(self, given: frozenset[int], missed: bool) -> frozenset[int]:  # noqa: FBT001 - a callback
        """Read these partitions from now on, and give those that were let go: what was in hand of them is finished first.

        Where the worker ``missed`` a round, others may have read its partitions, and rule 2 holds for all of them; else only
        for those it did not have.
        """
        async with self._in_hand:
            held = frozenset(self._positions.next) | self._resume
            let_go = held - given
            if let_go:
                # Only waited for: what became of them is for the loop to handle.
                await self._left()
            for partition in let_go:
                self._forget(partition)
            self._resume |= given if missed else given - held
            self._epoch += 1
            self._point()
            self.joined = not self._resume
        return let_go

    def go_back(self, partition: int) -> None:
        """Rule 4: an own record was refused; return to where the log stands."""
        if partition in self._positions.next:
            self._resume.add(partition)

    def owns(self, partition: int) -> bool:
        """Tell whether this worker reads a partition."""
        return partition in self._positions.next

    def measure(self) -> None:
        """Tell the metrics how far each partition is."""
        for partition, position in self._positions.next.items():
            end = self._consumer.highwater(TopicPartition(self._topic, partition)) or position
            applied = self._positions.applied[partition] or 0
            self._metrics.applied_offset.labels(partition).set(applied)
            self._metrics.lag_events.labels(partition).set(max(0, end - max(applied, self._passed.get(partition, 0))))
            self._metrics.taught_offset.labels(partition).set(self._pipeline.teacher.taught.ends.get(partition, 0))

    async def look_back(self) -> None:
        """Rule 6 where no commit would notice: go back when Redis has less than it had acknowledged, or other primaries."""
        known = {partition: applied for partition, applied in self._positions.applied.items() if applied is not None}
        try:
            stored = await self._store.verify()
        except Exception as error:
            self._doubt = error if self._store.cluster else None
            raise
        if any(stored.get(partition, -1) < applied for partition, applied in known.items()):
            log.warning("Redis has less than it had acknowledged; going back to the last offsets that are safe")
            self._resume |= set(self._positions.next)
        elif not self._resume and self._store.cluster:
            # Only here: while a shard is away, what is applied on the others must not come to be taken for safe.
            self._positions.mark(time.monotonic(), self._settings.intake.rewind_s)
            await self._store.keep_safe(self._positions.safe())

    async def _turn(self) -> None:
        if self._doubt is not None:
            raise self._doubt
        if self._resume:
            async with self._in_hand:
                await self._settle()
                await self._resume_partitions(sorted(self._resume))
        epoch, fetched = await self._fetching.take(self._size, self._epoch)
        if not fetched:
            async with self._in_hand:
                await self._settle()
                await self._pass_markers()
            return
        for batch in self._bounded(fetched):
            async with self._in_hand:
                if self._stopping:
                    return  # the batch in hand was the last: others may read on from there
                if epoch != self._epoch or self._resume:
                    self._point()
                    return
                await self._carry(batch)

    async def _pass_markers(self) -> None:
        """Note how far was read, with nothing in hand: above the last event were only ends of transactions."""
        if not self._resume:
            places = {one: TopicPartition(self._topic, one) for one in self._positions.next}
            self._passed = {one: await self._consumer.position(place) for one, place in places.items()}

    def _point(self) -> None:
        """Read on from the positions; what was fetched beyond them is read again."""
        places = {TopicPartition(self._topic, partition): position for partition, position in self._positions.next.items()}
        if self._consumer.assignment() != places.keys() or not places:
            self._consumer.assign(list(places))
        for place, position in places.items():
            self._consumer.seek(place, position)

    def _bounded(self, fetched: Mapping[int, Messages]) -> Iterator[dict[int, Messages]]:
        """Split what one fetch brought at the bound in bytes of a partition: compressed, it may hold far more than it weighs."""
        shares = {partition: _shares(messages, self._settings.intake.batch_bytes) for partition, messages in fetched.items()}
        while shares:
            part = {partition: share for partition, rest in shares.items() if (share := next(rest, None))}
            shares = {partition: shares[partition] for partition in part}
            if part:
                yield part

    async def _carry(self, messages: Mapping[int, Messages]) -> None:
        began = time.monotonic()
        firsts = {partition: some[0].offset for partition, some in messages.items()}
        batch, known = Batch(messages, self._positions.begins(firsts)), dict(self._positions.applied)
        answer = await self._pipeline.prepare(batch, self.partitions)
        self._positions.loaded(known, self._store.seen())
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
        """Let a batch take about ``batch_ms``: small when there is little to do, thousands when the worker is behind.

        Where more waits than that, a batch may take a share of the wait, for who acted often in it is answered once.
        """
        each = max(seconds, 1e-6) / count
        usual = self._settings.intake.batch_ms / 1000
        wanted = min(max(usual, _OF_THE_WAIT * each * self._waiting()), _LONGER * usual) / each
        aim = min(max(wanted, _FEWEST), self._settings.intake.batch_events)
        self._size = max(_FEWEST, int((self._size + aim) / 2)) if count < self._size else int(min(aim, 2 * self._size))

    def _waiting(self) -> int:
        """How many events wait to be read, as far as the consumer was told."""
        read = self._positions.next
        ends = ((self._consumer.highwater(TopicPartition(self._topic, one)), at) for one, at in read.items())
        return sum(end - at for end, at in ends if end is not None)

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
        self._pipeline.profiles.let_go(answer.users, answer.gone)
        await self._commit_to_kafka()

    def _count(self, answer: Answer) -> None:
        now = time.time()
        metrics = self._metrics
        metrics.events.inc(answer.events)
        metrics.recommendations.inc(len(answer.recommendations))
        metrics.rekeyed.inc(len(answer.rekeyed))
        metrics.forgotten.inc(answer.forgotten)
        metrics.merged.inc(answer.merged)
        metrics.refused_events.inc(answer.refused)
        metrics.event_to_recommendation_seconds.observe([now - received for received in answer.received])
        for letter in answer.dead:
            metrics.dead_letters.labels(letter.reason.stage, letter.reason.error).inc()
        metrics.cached_profiles.set(len(self._pipeline.profiles))

    async def _commit_to_kafka(self) -> None:
        """Commit at most once a second."""
        if time.monotonic() - self._committed_at >= 1.0:
            self._committed_at = time.monotonic()
            await self._membership.commit({p: at for p, at in self._positions.applied.items() if at is not None})

    async def _recover(self, error: Exception) -> None:
        """Rule 6: something was lost or away; when all is back, drop the profiles and go on by rule 2."""
        log.warning("going back to the last offsets that are safe: %s", error)
        async with self._in_hand:
            await self._left()
            self._leaving.clear()
            self._pipeline.profiles.let_go_all()
            self._resume |= set(self._positions.next)
        # Without the lock: a rebalance or the end of the worker must not wait for Redis.
        await persist("Redis", self._store.revive)
        self._doubt = None

    async def _resume_partitions(self, partitions: Sequence[int]) -> None:
        """Rule 2, for partitions assigned, refused or to be read again."""
        await self._follower.to_end()
        applied = await self._set_back(partitions, await self._store.applied())
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        begins = await self._consumer.beginning_offsets(places)
        # Under the lock of the fold, whose positions and origins belong together: nothing beyond these ends is taught by then.
        async with self._pipeline.lock:
            self._take_up(places, applied, begins, await self._ends(places, applied))
        self._resume -= set(partitions)
        self._epoch += 1
        self.joined = True

    async def _set_back(self, partitions: Sequence[int], applied: Mapping[int, int]) -> dict[int, int]:
        """Rule 6 on a cluster: where writes may be lost, take only that for applied which is safe, and have Redis do so too."""
        safe = await self._store.doubtful({partition: applied.get(partition, 0) for partition in partitions})
        less = {partition: at for partition, at in safe.items() if at < applied.get(partition, 0)}
        for partition, at in less.items():
            log.warning("%s[%d]: applying again from %d, not from %d", self._topic, partition, at, applied[partition])
            self._positions.set_back(partition, at)
        await self._store.set_back(less)
        return {**applied, **less}

    async def _ends(self, places: Sequence[TopicPartition], applied: Mapping[int, int]) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places)
        taught = self._pipeline.teacher.taught.ends
        for place, end in ends.items():
            if max(applied.get(place.partition, 0), taught.get(place.partition, 0)) > end:
                self._consumer.assign([*places])
                ends[place] = await end_of(self._consumer, place, end)
        return ends

    def _take_up(
        self,
        places: Sequence[TopicPartition],
        applied: Mapping[int, int],
        begins: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        self._passed.clear()
        for place in places:
            self._positions.resume(place.partition, applied.get(place.partition), begins[place], ends[place])
            self._pipeline.profiles.release(place.partition)
        self._metrics.deleted_events.inc(self._positions.deleted)
        self._positions.deleted = 0
        self._point()

    def _forget(self, partition: int) -> None:
        self._positions.release(partition)
        self._resume.discard(partition)
        self._pipeline.profiles.release(partition)
        self._metrics.forget_partition(partition)


def _shares(messages: Messages, most: int) -> Iterator[Messages]:
    """Split messages so that each part weighs at most so many bytes, or is one message."""
    first = weight = 0
    for place, message in enumerate(messages):
        size = len(message.value or b"") + len(message.key or b"")
        if place > first and weight + size > most:
            yield messages[first:place]
            first, weight = place, 0
        weight += size
    yield messages[first:]
