"""Burial: what is no event or item goes to the dead letters, in bulk, and whatever its size the stream goes on."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streams.dead_letters import OMITTED
from streams.decode import DeadLetter
from streams.partition import partitions_for
from streams.security import kafka_client
from streams.settings import Settings

__all__ = ["Burial", "foreign"]

log = logging.getLogger(__name__)

_BATCH_BYTES = 1 << 18
_OVERHEAD = 24  # more bytes than a message or a header has beside its contents


class _Message(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Burial:
    """Has a producer of its own, so that large letters keep no recommendation waiting.

    It compresses: a message that came compressed may without it be larger than any topic takes.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.dead
        self._next = 0
        self._started = False
        self._starting = asyncio.Lock()
        self._producer = AIOKafkaProducer(
            **kafka_client(settings),
            acks="all",
            compression_type="zstd",
            max_batch_size=_BATCH_BYTES,
            linger_ms=0,
        )

    async def stop(self) -> None:
        """Send what is buffered, then disconnect."""
        await self._producer.stop()

    async def bury(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """Send messages of a topic to the dead letters, with where they came from and why; return when all are acknowledged."""
        await self._start()
        by_partition: dict[int, list[_Message]] = defaultdict(list)
        messages = [_message(topic, letter) for letter in letters]
        for message, partition in zip(messages, await self._partitions(messages), strict=True):
            by_partition[partition].append(message)
        done = await asyncio.gather(*(self._send(*rows) for rows in by_partition.items()), return_exceptions=True)
        for failure in filter(None, done):
            raise failure

    async def _start(self) -> None:
        """Connect when there is something to bury: most workers never need to."""
        async with self._starting:
            if not self._started:
                await self._producer.start()
                self._started = True

    async def _partitions(self, messages: Sequence[_Message]) -> list[int]:
        """By the key, as Java's clients do; those without one take the next partition in turn, all of a burial the same."""
        count = len(await self._producer.partitions_for(self._topic))
        self._next = (self._next + 1) % count
        keyed = iter(partitions_for([one.key for one in messages if one.key is not None], count).tolist())
        return [self._next if one.key is None else next(keyed) for one in messages]

    async def _send(self, partition: int, messages: Sequence[_Message]) -> None:
        """Send as ready-made batches, which costs a tenth of sending one by one; what a topic finds too large, alone."""
        for batch in _batches(messages):
            try:
                await self._deliver(partition, batch)
            except MessageSizeTooLargeError:
                for message in batch:
                    await self._send_alone(partition, message)

    async def _send_alone(self, partition: int, message: _Message) -> None:
        try:
            await self._deliver(partition, [message])
        except MessageSizeTooLargeError:
            size = len(message.value or b"")
            log.warning("a dead letter of %d bytes is larger than its topic takes; its bytes stay where they came from", size)
            headers = [*message.headers, (OMITTED, b"%d" % size)]
            await self._deliver(partition, [message._replace(value=b"", headers=headers)])

    async def _deliver(self, partition: int, messages: Iterable[_Message]) -> None:
        builder = self._producer.create_batch()
        for message in messages:
            builder.append(key=message.key, value=message.value, timestamp=None, headers=message.headers)
        builder.close()
        await (await self._producer.send_batch(builder, self._topic, partition=partition))


def _batches(messages: Iterable[_Message]) -> Iterable[list[_Message]]:
    """Groups that fit into one batch of the producer; the first message of a batch may have any size."""
    batch: list[_Message] = []
    weight = 0
    for message in messages:
        size = _OVERHEAD + len(message.value or b"") + len(message.key or b"")
        size += sum(len(name) + len(value or b"") + _OVERHEAD for name, value in message.headers)
        if batch and weight + size > _BATCH_BYTES:
            yield batch
            batch, weight = [], 0
        batch.append(message)
        weight += size
    if batch:
        yield batch


def _message(topic: str, letter: DeadLetter) -> _Message:
    """A letter as it travels: its bytes untouched, where it came from and why."""
    reason = letter.reason
    said = {
        "topic": topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "stage": reason.stage,
        "error": reason.error,
        "message": reason.message,
    }
    headers = [(f"upwell.{name}", value.encode(errors="replace")) for name, value in said.items()]
    # A Kafka client takes a message without key and value for none at all; an empty value is as near as it gets.
    value = b"" if letter.key is None and letter.value is None else letter.value
    # Ours alone speak of this letter: those of an earlier burial or re-keying do not come along.
    return _Message(letter.key, value, [*headers, *foreign(letter.headers)])


def foreign(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Give the headers that are not ours."""
    return [(name, value) for name, value in headers if not name.startswith("upwell.")]
