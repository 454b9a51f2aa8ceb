"""Fetching: what has arrived for the next micro-batch, asked for while this one is on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

__all__ = ["Fetching", "Messages"]

Messages = Sequence[ConsumerRecord[bytes, bytes]]

# With nothing to read, whoever waits is told this often, to see whether to stop, resume or go back.
IDLE_MS = 200
# A round trip to a broker nearby: how long a worker that was busy waits for what arrived while it was.
_TOP_UP_MS = 10


class Fetching:
    """Takes messages from the consumer in the order of each partition; positions are the caller's affair."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._ahead: tuple[int, asyncio.Task[Mapping[TopicPartition, Messages]]] | None = None
        self._stopped = False

    def ahead(self, size: int, epoch: int) -> None:
        """Ask for the next messages without waiting for them; ``epoch`` is what the caller will know the answer by."""
        if self._ahead is None and not self._stopped:
            self._ahead = epoch, asyncio.create_task(self._consumer.getmany(timeout_ms=IDLE_MS, max_records=size))

    async def take(self, size: int, epoch: int) -> tuple[int, dict[int, Messages]]:
        """Give the epoch in which they were asked for and at most so many messages by partition, none if none came for a while.

        The consumer asks the broker again only when its buffer is taken. Where something came while the worker was busy,
        what came after it would wait for another batch: so it asks once more. A worker that waited itself does not: at a
        low rate it would wait for an event that has not happened yet.
        """
        if self._ahead is None:
            return epoch, _by_partition(await self._consumer.getmany(timeout_ms=IDLE_MS, max_records=size))
        (asked, task), self._ahead = self._ahead, None
        busy = task.done()
        fetched = _by_partition(await task)
        room = size - sum(map(len, fetched.values()))
        if busy and fetched and room > 0:
            more = _by_partition(await self._consumer.getmany(timeout_ms=_TOP_UP_MS, max_records=room))
            fetched |= {partition: [*fetched.get(partition, ()), *messages] for partition, messages in more.items()}
        return asked, fetched

    async def stop(self) -> None:
        """Give up what was asked for, and ask for nothing more: the batch in hand may still go on."""
        self._stopped = True
        if self._ahead is not None:
            (_, task), self._ahead = self._ahead, None
            task.cancel()
            await asyncio.wait([task])


def _by_partition(found: Mapping[TopicPartition, Messages]) -> dict[int, Messages]:
    return {place.partition: messages for place, messages in found.items()}
