"""Membership in the consumer group, apart from reading: what a worker reads goes on while the group shares anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, InconsistentGroupProtocolError, KafkaError

from streams.assignor import Cooperative
from streams.failures import Refusal, is_transient
from streams.security import kafka_client
from streams.settings import Settings

__all__ = ["Membership", "Take"]

log = logging.getLogger(__name__)

# A worker that waits for Redis must not lose its partitions to one that would wait just the same.
_MAX_POLL_MS = 3_600_000
# How soon a worker hears that the group shares anew, which bounds how long a partition that moves is read by nobody.
_HEARTBEAT_MS = 500
_LISTEN_MS = 200

Take: TypeAlias = Callable[[frozenset[int], bool], Awaitable[frozenset[int]]]


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member that reads nothing itself; ``take`` is told which partitions to read, and gives those it let go.

    aiokafka's own consumer forgets all of its partitions whenever the group shares anew. The rules make it safe to go on
    with them meanwhile, and the assignment says which to let go.
    """

    def __init__(self, settings: Settings, take: Take) -> None:
        self._topic = settings.topics.events
        self._group = settings.group
        self._take = take
        self._share = Cooperative(self._topic)
        self._consumer = AIOKafkaConsumer(
            **kafka_client(settings),
            group_id=settings.group,
            enable_auto_commit=False,
            session_timeout_ms=settings.intake.session_timeout_ms,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            max_poll_interval_ms=_MAX_POLL_MS,
            # One only: with a second, aiokafka joins twice each time, and whoever dies in between keeps the group waiting.
            partition_assignment_strategy=(self._share,),
        )
        self._given: asyncio.Queue[tuple[frozenset[int], bool]] = asyncio.Queue()
        self._stopping = False
        self._settled = False
        self._committing = asyncio.Lock()
        self.partitions = 0

    async def start(self) -> None:
        """Join the group; refused where others of it share in another way."""
        self._subscribe()
        try:
            await self._consumer.start()
        except InconsistentGroupProtocolError as error:
            await self._consumer.stop()
            raise _strangers(self._group) from error
        self.partitions = len(self._consumer.partitions_for_topic(self._topic) or ())

    async def run(self) -> None:
        """Stay a member until stopped, and pass on what is given."""
        tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._pass_on())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def stop(self) -> None:
        """Leave the group, so that others take over at once."""
        self._stopping = True
        await self._consumer.stop()

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka how far partitions are; nothing but lag tools reads it, so one that fails is made up by the next."""
        places = {TopicPartition(self._topic, partition): offset for partition, offset in offsets.items()}
        async with self._committing:
            if not self._settled:
                return
            mine = self._consumer.assignment()
            ours = {place: offset for place, offset in places.items() if place in mine}
            if not ours:
                return  # others were given all of them while this worker was away
            try:
                await self._consumer.commit(ours)
            except KafkaError as error:
                log.debug("committing offsets to Kafka failed: %s", error)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002 - aiokafka calls it so
        """Go on, for aiokafka revokes everything before it knows what will change; but commit nothing until it does.

        A commit that is refused makes aiokafka forget which member it is. The group would wait for that member until its
        session ends.
        """
        self._settled = False
        async with self._committing:
            pass

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note what is given; it is taken beside this, for no heart beats until this returns."""
        places = list(assigned)
        self._consumer.pause(*places)
        given = frozenset(place.partition for place in places)
        self._share.claimed |= given
        self._given.put_nowait((given, self._share.missed))
        self._settled = True

    def _subscribe(self) -> None:
        """Ask for a share; whoever has one asks for another round."""
        self._consumer.subscribe([self._topic], listener=self)

    async def _stay(self) -> None:
        while not self._stopping:
            try:
                # It reads nothing, for all is paused; but the consumer tells its errors here, and counts it as a sign of life.
                await self._consumer.getmany(timeout_ms=_LISTEN_MS)
            except ConsumerStoppedError:
                return
            except InconsistentGroupProtocolError as error:
                raise _strangers(self._group) from error
            except KafkaError as error:
                if not is_transient(error):
                    raise
                log.warning("the group cannot be reached: %s", error)
                await asyncio.sleep(_LISTEN_MS / 1000)

    async def _pass_on(self) -> None:
        let_go: frozenset[int] = frozenset()
        while True:
            given, missed = await self._given.get()
            let_go |= await self._take(given, missed)
            if self._given.empty():
                self._share.claimed = given
                if let_go:
                    self._subscribe()
                let_go = frozenset()


def _strangers(group: str) -> Refusal:
    return Refusal(
        f"The group {group} has members that are not workers of this version.",
        fix="stop them, then start this worker again; it goes on where they were. Clients of your own need groups of their own.",
    )
