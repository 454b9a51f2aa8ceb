"""Redrive: dead letters to the topic they came from, each at most once, whenever and however often it is killed.

Which letters were sent is told by receipts, in a topic of their own. On Apache Kafka letters and their receipt are one
transaction: either all of it happened or nothing, and who reads committed messages, as workers do, never sees the rest.
A run begins by taking over the transactions' name, which ends what an earlier run left open and keeps it from sending more.
A broker without transactions gets the receipt first: what a kill then cuts off is not sent again, but told.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced, UnknownError, UnsupportedVersionError

from streams.dead_letters import LARGEST, OMITTED, POLL, Choice, Letter, chosen, partitions_of
from streams.ends import ends_of
from streams.security import kafka_client
from streams.servers import Away, kafka_or_failed, producing
from streams.topics import ensure

if TYPE_CHECKING:
    from streams.settings import Settings

AT_ONCE: Final = 500  # letters of one transaction: some milliseconds' work
BYTES_AT_ONCE: Final = 4 << 20
# A run that is killed keeps readers of its partitions waiting for its last transaction so long, and ten seconds more at most.
OPEN_MS: Final = 10_000
REDRIVEN: Final = "upwell.redriven"
"""Header of a message that was sent again: the topic, partition and offset of the letter."""


class Known(NamedTuple):
    """A message as a receipt names it: by where it came from, for a worker that crashed may have buried it twice.

    The checksum tells messages of a topic from those of another that had the name, and hence the places, before.
    """

    origin: str
    crc32: int

    @classmethod
    def of(cls, one: Letter) -> Known:
        """Name the message of a letter."""
        return cls(one.origin, zlib.crc32(one.value or b""))


class Redrive:
    """One run: sends the chosen letters that were not sent before; ``again`` sends those too."""

    def __init__(self, settings: Settings, reader: AIOKafkaConsumer, choice: Choice, *, again: bool = False) -> None:
        self._settings, self._reader, self._choice, self._again = settings, reader, choice, again
        self._targets = {settings.topics.events, settings.topics.items}
        self.foreign = self.too_large = 0
        self.doubtful: set[str] = set()

    async def waiting(self) -> AsyncGenerator[Letter]:
        """The letters to be sent."""
        sent, begun = await self._receipts()
        doubtful = begun - sent
        if self._again:
            sent = set()
        async for one in chosen(self._reader, self._settings.topics.dead, self._choice):
            known = Known.of(one)
            if known in doubtful:
                self.doubtful.add(one.place)
            if known in sent or (known in doubtful and not self._again):
                continue
            sent.add(known)
            # Headers can be forged: a letter is sent to the topics of Upwell's input only.
            if one.topic not in self._targets:
                self.foreign += 1
            elif any(name == OMITTED for name, _ in one.headers):
                self.too_large += 1
            else:
                yield one

    async def run(self) -> AsyncGenerator[Letter]:
        """Send them all, giving each when it is acknowledged for good."""
        first = True
        async with _sending(self._settings) as (producer, atomic):
            async for some in _grouped(self.waiting()):
                if first:
                    await ensure(self._settings, "redriven")
                    first = False
                for one in await self._sent(producer, some, atomic=atomic):
                    yield one

    async def _sent(self, producer: AIOKafkaProducer, some: list[Letter], *, atomic: bool) -> list[Letter]:
        """Send a group; without those that their topic finds too large, which must not keep the others."""
        try:
            await self._send(producer, some, atomic=atomic)
        except ProducerFenced:
            raise Away("another run of upwell dead redrive took over; what this one had sent stays sent") from None
        except MessageSizeTooLargeError:
            if len(some) == 1:
                self.too_large += 1
                return []
            return [one for each in some for one in await self._sent(producer, [each], atomic=atomic)]
        return some

    async def _send(self, producer: AIOKafkaProducer, some: Sequence[Letter], *, atomic: bool) -> None:
        if not atomic:
            await producer.send_and_wait(self._settings.topics.redriven, self._receipt(some, done=False))
        async with producer.transaction() if atomic else nullcontext():
            pending = [await producer.send(one.topic, one.value, one.key, headers=self._headers(one)) for one in some]
            await asyncio.gather(*pending)
            await producer.send_and_wait(self._settings.topics.redriven, self._receipt(some, done=True))

    def _headers(self, one: Letter) -> list[tuple[str, bytes]]:
        origin = f"{self._settings.topics.dead}-{one.partition}-{one.offset}"
        return [*(header for header in one.headers if header[0] != REDRIVEN), (REDRIVEN, origin.encode())]

    def _receipt(self, some: Iterable[Letter], *, done: bool) -> bytes:
        said = {"topic": self._settings.topics.dead, "done": done, "sent": [Known.of(one) for one in some]}
        return json.dumps(said, separators=(",", ":")).encode()

    async def _receipts(self) -> tuple[set[Known], set[Known]]:
        """The letters that were sent, and those that a run without transactions began to send."""
        topic = self._settings.topics.redriven
        places = [TopicPartition(topic, number) for number in await partitions_of(self._reader, topic)]
        ends = await ends_of(self._reader, places)
        found: dict[bool, set[Known]] = {True: set(), False: set()}
        for place, begin in (await self._reader.beginning_offsets(places)).items() if places else ():
            self._reader.seek(place, begin)
        while waiting := [place for place in places if await self._reader.position(place) < ends[place]]:
            for messages in (await self._reader.getmany(*waiting, timeout_ms=POLL)).values():
                for message in messages:
                    said: dict[str, Any] = json.loads(message.value)
                    if said["topic"] == self._settings.topics.dead:
                        found[said["done"]].update(Known(*one) for one in said["sent"])
        # With an assignment the client hears of its topics only, and would know no partition of the dead letters.
        self._reader.unsubscribe()
        return found[True], found[False]


@asynccontextmanager
async def _sending(settings: Settings) -> AsyncIterator[tuple[AIOKafkaProducer, bool]]:
    """A producer, and whether it has transactions: where a broker has none, it refuses their first request."""
    # Compressed, for what came compressed may be larger than its topic takes without; every client reads gzip.
    options: dict[str, Any] = {"max_request_size": LARGEST, "max_batch_size": 1 << 20, "compression_type": "gzip"}
    name = f"{settings.group}-{settings.topics.dead}-redrive"
    producer = AIOKafkaProducer(**kafka_client(settings), transactional_id=name, transaction_timeout_ms=OPEN_MS, **options)
    with kafka_or_failed(settings):
        try:
            await producer.start()
        except (UnknownError, UnsupportedVersionError):
            await producer.stop()
        except BaseException:
            await producer.stop()
            raise
        else:
            try:
                yield producer, True
            finally:
                await asyncio.shield(producer.stop())
            return
    async with producing(settings, **options) as plain:
        yield plain, False


async def _grouped(letters: AsyncIterator[Letter]) -> AsyncIterator[list[Letter]]:
    """Groups of few letters and bytes; a letter may be larger alone."""
    some: list[Letter] = []
    weight = 0
    async for one in letters:
        size = len(one.value or b"")
        if some and (len(some) >= AT_ONCE or weight + size > BYTES_AT_ONCE):
            yield some
            some, weight = [], 0
        some.append(one)
        weight += size
    if some:
        yield some
