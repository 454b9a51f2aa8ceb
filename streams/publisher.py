"""Publish: everything that a micro-batch sends to Kafka, acknowledged before anything is written to Redis (rule 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from streams.burial import Burial, foreign
from streams.decode import DeadLetter, Rekeyed
from streams.failures import Refusal
from streams.partition import partitions_for
from streams.pipeline import Answer
from streams.security import kafka_client
from streams.settings import Settings

__all__ = ["Publisher"]

# Larger than any broker's default limit, so that the topic's own setting decides.
_MAX_REQUEST = 16 << 20

Sent = asyncio.Future[Any]
Pending = list[Sent]


class Publisher:
    """The worker's producers: every send waits for all in-sync replicas; the rules need no transactions."""

    def __init__(self, settings: Settings, *, compacted: bool = False) -> None:
        """Take whether `recommendations` is compacted: who is forgotten then gets a null there too."""
        self._topics, self._compacted = settings.topics, compacted
        self._producer = AIOKafkaProducer(
            **kafka_client(settings),
            acks="all",
            max_request_size=_MAX_REQUEST,
            max_batch_size=1 << 18,
            linger_ms=0,
        )
        self._burial = Burial(settings)

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
        await self._producer.stop()
        await self._burial.stop()

    async def publish(self, answer: Answer) -> None:
        """Send a micro-batch's answer and return when all of it is acknowledged."""
        pending = await self._recommendations(answer)
        if answer.records:
            pending += await self._batches(self._topics.learned, 0, [(None, record) for record in answer.records])
        pending += [
            await self._producer.send(self._topics.segments, key=change.key, value=change.value) for change in answer.segments
        ]
        pending += [await self._rekey(event) for event in answer.sent_on()]
        if answer.dead:
            pending.append(asyncio.create_task(self.bury(self._topics.events, answer.dead)))
        try:
            await acknowledged(pending)
        except InvalidTimestampError as error:
            # Others may have a right clock: they take over what this worker cannot publish.
            raise Refusal(
                "Kafka refuses the time of this worker's messages: the clock of this machine is more than an hour ahead, "
                "or more than the topics' message.timestamp.after.max.ms.",
                fix="set the clock of this machine, then start the worker again; it goes on where it was",
            ) from error

    async def append(self, record: bytes) -> int:
        """Append one record to the learned log; return its offset."""
        return int((await self._producer.send_and_wait(self._topics.learned, value=record, partition=0)).offset)

    async def bury(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """Send messages of a topic to the dead letters and return when all are acknowledged."""
        await self._burial.bury(topic, letters)

    async def retract(self, user_ids: Sequence[str]) -> None:
        """Say on the topics that are compacted that nothing is known of users any more."""
        topics = [self._topics.segments, *([self._topics.recommendations] if self._compacted else [])]
        keys = [user_id.encode() for user_id in user_ids]
        await acknowledged([await self._producer.send(topic, key=key, value=None) for topic in topics for key in keys])

    async def _rekey(self, event: Rekeyed) -> Sent:
        sent: Sent = await self._producer.send(
            self._topics.events,
            key=event.key,
            value=event.value,
            partition=event.partition,
            timestamp_ms=event.timestamp,
            headers=[*event.own(), *foreign(event.headers)],
        )
        return sent

    async def _recommendations(self, answer: Answer) -> Pending:
        messages: list[tuple[bytes, bytes | None]] = [*self._nulls(answer), *answer.recommendations]
        if not messages:
            return []
        topic = self._topics.recommendations
        keys = [key for key, _ in messages]
        count = len(await self._producer.partitions_for(topic))
        by_partition: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
        for key, partition, (_, value) in zip(keys, partitions_for(keys, count).tolist(), messages, strict=True):
            by_partition.setdefault(partition, []).append((key, value))
        return [sent for partition, rows in by_partition.items() for sent in await self._batches(topic, partition, rows)]

    def _nulls(self, answer: Answer) -> list[tuple[bytes, None]]:
        """Give those who were forgotten, or are somebody's alias now, before whom of them is given a list again."""
        return [(change.key, None) for change in answer.segments if change.value is None] if self._compacted else []

    async def _batches(self, topic: str, partition: int, rows: Iterable[tuple[bytes | None, bytes | None]]) -> Pending:
        """Send rows as ready-made batches, which costs a tenth of sending them one by one."""
        pending: Pending = []
        builder = self._producer.create_batch()
        for key, value in rows:
            if builder.append(key=key, value=value, timestamp=None) is None:
                pending.append(await self._producer.send_batch(builder, topic, partition=partition))
                builder = self._producer.create_batch()
                builder.append(key=key, value=value, timestamp=None)
        pending.append(await self._producer.send_batch(builder, topic, partition=partition))
        return pending


async def acknowledged(pending: Sequence[Sent]) -> None:
    """Wait for every acknowledgement before raising the first failure, so that nothing is left under way."""
    results = await asyncio.gather(*pending, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
