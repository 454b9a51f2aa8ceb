"""Fetching: what has arrived for the next micro-batch, asked for while this one is on its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

__all__ = ["Fetching", "Messages"]

Messages = Sequence[ConsumerRecord[bytes, bytes]]
Taken = list[ConsumerRecord[bytes, bytes]]

# With nothing to read, whoever waits is told this often, to see whether to stop, resume or go back.
IDLE_MS = 200
# Most bytes taken at once: compressed, a fetch of a megabyte may hold gigabytes, and whoever waits behind them waits long.
_MOST_BYTES = 16 << 20
# Messages taken before their size is looked at.
_STEP = 128
# A round trip to a broker nearby: how long a worker that was busy waits for what arrived while it was.
_TOP_UP_MS = 10


class Fetching:
    """Takes messages from the consumer in the order of each partition; positions are the caller's affair."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._ahead: tuple[int, asyncio.Task[dict[int, Taken]]] | None = None
        self._stopped = False
        self._mean = 1.0
        self._full: TopicPartition | None = None

    def ahead(self, size: int, epoch: int) -> None:
        """Ask for the next messages without waiting for them; ``epoch`` is what the caller will know the answer by."""
        if self._ahead is None and not self._stopped:
            self._ahead = epoch, asyncio.create_task(self._fill(IDLE_MS, size))

    async def take(self, size: int, epoch: int) -> tuple[int, dict[int, Taken]]:
        """Give the epoch in which they were asked for and at most so many messages by partition, none if none came for a while.

        The consumer asks the broker again only when its buffer is taken. Where something came while the worker was busy,
        what came after it would wait for another batch: so it asks once more. A worker that waited itself does not: at a
        low rate it would wait for an event that has not happened yet.
        """
        if self._ahead is None:
            return epoch, await self._fill(IDLE_MS, size)
        (asked, task), self._ahead = self._ahead, None
        busy = task.done()
        fetched = await task
        room = size - sum(map(len, fetched.values()))
        if busy and fetched and room > 0 and _weight(fetched) < _MOST_BYTES:
            _extend(fetched, await self._fill(_TOP_UP_MS, room))
        return asked, fetched

    async def _fill(self, timeout_ms: int, size: int) -> dict[int, Taken]:
        """Wait for messages, then take what else is there, at most so many and about so many bytes."""
        taken: dict[int, Taken] = {}
        count = weight = 0
        while count < size and weight < _MOST_BYTES:
            wanted = min(size - count, _STEP, max(1, int((_MOST_BYTES - weight) / self._mean)))
            found = await self._next(0 if taken else timeout_ms, wanted)
            more: dict[int, Taken] = {place.partition: messages for place, messages in found.items()}
            if not more:
                break
            some, bytes_ = sum(map(len, more.values())), _weight(more)
            # A mean of what came last: messages alike come together.
            self._mean = max(1.0, bytes_ / some)
            count, weight = count + some, weight + bytes_
            self._full = next(iter(found)) if len(found) == 1 and some == wanted else None
            _extend(taken, more)
        return taken

    async def _next(self, timeout_ms: int, wanted: int) -> Mapping[TopicPartition, Taken]:
        """Take what comes next, by turns: the consumer gives all that it has of one partition before it gives of another."""
        found: Mapping[TopicPartition, Taken] = {}
        others = self._consumer.assignment() - {self._full}
        if self._full and others:
            found = await self._consumer.getmany(*others, timeout_ms=0, max_records=wanted)
        return found or await self._consumer.getmany(timeout_ms=timeout_ms, max_records=wanted)

    async def stop(self) -> None:
        """Give up what was asked for, and ask for nothing more: the batch in hand may still go on."""
        self._stopped = True
        if self._ahead is not None:
            (_, task), self._ahead = self._ahead, None
            task.cancel()
            await asyncio.wait([task])


def _extend(taken: dict[int, Taken], more: Mapping[int, Taken]) -> None:
    for partition, messages in more.items():
        taken.setdefault(partition, []).extend(messages)


def _weight(fetched: Mapping[int, Messages]) -> int:
    return sum(len(message.value or b"") for messages in fetched.values() for message in messages)
