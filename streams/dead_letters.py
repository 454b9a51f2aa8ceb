"""Dead letters: what is in the topic, and sending them to their first topic again, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.ends import ends_of
from streams.send import Sender
from streams.servers import consuming

if TYPE_CHECKING:
    from streams.settings import Settings

LARGEST = 16 << 20  # bytes of a message: a dead letter may be as large as any event that a broker took
STRIDE = 500  # letters sent between two commits: what a power cut may send twice
POLL = 1_000  # ms


class _Message(Protocol):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its own place, where it came from and why, and the bytes as they were."""

    partition: int
    offset: int
    at: float
    topic: str
    origin: str
    stage: str
    error: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def letter(partition: int, message: _Message) -> Letter:
    """Read a dead letter; headers that are not there are empty, for anybody may write to a topic."""
    told = {name: value.decode(errors="replace") for name, value in message.headers if value is not None}
    topic, place, offset, stage, error, sentence = (
        told.get(f"upwell.{name}", "") for name in ("topic", "partition", "offset", "stage", "error", "message")
    )
    own = tuple((name, value) for name, value in message.headers if name not in HEADERS)
    at = message.timestamp / 1000
    origin = f"{topic}-{place}-{offset}"
    return Letter(partition, message.offset, at, topic, origin, stage, error, sentence, message.key, message.value, own)


HEADERS = frozenset(f"upwell.{name}" for name in ("topic", "partition", "offset", "stage", "error", "message"))


async def letters(consumer: AIOKafkaConsumer, topic: str, begins: Mapping[int, int] | None = None) -> AsyncIterator[Letter]:
    """All dead letters from `begins` (or the first there is) to the end that each partition has now."""
    places = [TopicPartition(topic, number) for number in sorted(await partitions_of(consumer, topic))]
    if not places:
        return
    first, ends = await consumer.beginning_offsets(places), await ends_of(consumer, places)
    starts = {place: max(first[place], (begins or {}).get(place.partition, 0)) for place in places}
    waiting = {place for place in places if starts[place] < ends[place]}
    for place in waiting:
        consumer.seek(place, starts[place])
    while waiting:
        for place, messages in (await consumer.getmany(*waiting, timeout_ms=POLL)).items():
            for message in messages:
                if message.offset < ends[place]:
                    yield letter(place.partition, message)
        waiting = {place for place in waiting if await consumer.position(place) < ends[place]}


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The partitions of a topic; none when it does not exist yet."""
    if topic not in await consumer.topics():
        return set()
    # aiokafka keeps the partitions of a topic it is not subscribed to only after a full update.
    await consumer._client.force_metadata_update()  # noqa: SLF001
    return set(consumer.partitions_for_topic(topic) or ())


class Redrive:
    """One run: for all reasons, or for one; remembers in consumer groups how far it got, one for each of them."""

    def __init__(self, settings: Settings, reader: AIOKafkaConsumer, reason: str | None) -> None:
        self._settings, self._reader, self._reason = settings, reader, reason
        self._reached: dict[str | None, dict[int, int]] = {}
        self._next: dict[int, int] = {}
        self.foreign = 0

    def group(self, reason: str | None) -> str:
        """The consumer group that remembers runs for this reason; none stands for all."""
        own = f"{self._settings.group}-redrive"
        return own if reason is None else f"{own}.{reason}"

    async def waiting(self) -> AsyncIterator[Letter]:
        """The letters that were not redriven yet."""
        begins = await self._reach(None)
        if self._reason is not None:
            begins = _later(begins, await self._reach(self._reason))
        async for one in letters(self._reader, self._settings.topics.dead, begins):
            self._next[one.partition] = one.offset + 1
            if self._reason in (None, one.error) and not await self._alone(one) and self._ours(one):
                yield one

    async def run(self, producer: AIOKafkaProducer) -> AsyncIterator[Letter]:
        """Send them all, giving each when it is handed over."""
        topics = {name: Sender(producer, name) for name in self._targets()}
        sent = 0
        async for one in self.waiting():
            await topics[one.topic].send(one.key, one.value, headers=list(one.headers))
            sent += 1
            if sent % STRIDE == 0:
                await self._remember(topics.values())
            yield one
        await self._remember(topics.values())

    def _targets(self) -> set[str]:
        return {self._settings.topics.events, self._settings.topics.items}

    def _ours(self, one: Letter) -> bool:
        """Headers can be forged: a letter is sent to the topics of Upwell's input only."""
        ours = one.topic in self._targets()
        self.foreign += not ours
        return ours

    async def _alone(self, one: Letter) -> bool:
        """Whether a run for its reason alone has sent it already."""
        return one.offset < (await self._reach(one.error)).get(one.partition, 0)

    async def _reach(self, reason: str | None) -> dict[int, int]:
        if reason not in self._reached:
            async with self._group_of(reason) as (consumer, places):
                found = {place.partition: await consumer.committed(place) for place in places}
            self._reached[reason] = {partition: offset for partition, offset in found.items() if offset is not None}
        return self._reached[reason]

    async def _remember(self, senders: Iterable[Sender]) -> None:
        for sender in senders:
            await sender.finish()
        async with self._group_of(self._reason) as (consumer, places):
            done = {place: self._next[place.partition] for place in places if place.partition in self._next}
            if done:
                await consumer.commit(done)

    @asynccontextmanager
    async def _group_of(self, reason: str | None) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        """A group's offsets; it is never joined, for nothing is shared out."""
        topic = self._settings.topics.dead
        partitions = await partitions_of(self._reader, topic)
        places = [TopicPartition(topic, number) for number in sorted(partitions)]
        async with consuming(self._settings, group_id=self.group(reason)) as consumer:
            consumer.assign(places)
            yield consumer, places


def _later(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {partition: max(one.get(partition, 0), other.get(partition, 0)) for partition in {*one, *other}}
