"""Stock: the catalogue's entries go to the learned log and to Redis; what Redis lost is read from the topic again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from state import catalogue, entries, items
from state.connection import Client
from state.keys import Keys
from streams.catalogue import Entry, change_of
from streams.dead_letters import partitions_of
from streams.decode import DeadLetter
from streams.ends import ends_of
from streams.failures import persist
from streams.metrics import Metrics
from streams.models.models import Models
from streams.publisher import Publisher
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import BadItem, Deleted, Item, decode_item
from streams.servers import reading
from streams.settings import Settings

__all__ = ["AT_ONCE", "Message", "Stock"]

log = logging.getLogger(__name__)

# A record of so many entries stays far below a broker's usual limit of a megabyte.
AT_ONCE = 500
# An entry counts when its fence is above that of the one stored: its offset, and above that how often the topic was recreated.
_INCARNATION = 40
_POLL_MS = 1000


class Message(Protocol):
    """A message of the topic `items`, of whichever client."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any


class Stock:
    """Keeps entries of the catalogue. Doing so twice changes nothing, for a fence lets newer ones only pass."""

    def __init__(self, settings: Settings, redis: Client, publisher: Publisher, metrics: Metrics, models: Models) -> None:
        self._settings = settings
        self._topic = settings.topics.items
        self._redis = redis
        self._keys = Keys(settings.prefix)
        self._publisher = publisher
        self._metrics = metrics
        self._models = models
        self._reading: asyncio.Task[None] | None = None
        self._kept: dict[int, int] = {}
        self._kept_of = 0

    async def open(self) -> None:
        """Notice that the topic was recreated since: its offsets count anew, and its entries are newer than all before.

        Or that Redis has not all that was acknowledged, for who would know may have ended with it.
        """
        mark = await catalogue.read(self._redis, self._keys)
        async with reading(self._settings, group_id=f"{self._settings.group}-control") as consumer:
            places = await self._places(consumer)
            ends = {place.partition: end for place, end in (await ends_of(consumer, places)).items()}
            acknowledged = {place.partition: await consumer.committed(place) or 0 for place in places}
        if any(mark.ends.get(p, 0) < at <= ends.get(p, 0) for p, at in acknowledged.items()):
            await self.lost()
        if any(ends.get(partition, 0) < end for partition, end in mark.ends.items()):
            log.warning("topic %s was recreated; its entries count from now on, and all of them are read", self._topic)
            await catalogue.begin_anew(self._redis, self._keys, await self._incarnation() + 1)

    async def keep(self, messages: Sequence[Message], *, again: bool = False) -> None:
        """Teach and store one group of entries; what is none goes to the dead letters, unless it is read ``again``."""
        incarnation = await self._incarnation()
        entries, dead = _decoded(messages, incarnation << _INCARNATION)
        if not again:
            await self._bury(dead)
        if entries:
            record = Record(Kind.CATALOG, 0, 0, 0, 0, encode_catalog(change_of(entries)))
            await self._publisher.append(encode(record))
            for partition, rows in groupby(sorted(entries, key=_partition), key=_partition):
                await items.write_catalogue(self._redis, self._keys, partition, [_row(fence, entry) for _, fence, entry in rows])
        await self._advance(messages, incarnation, again=again)

    async def _advance(self, messages: Sequence[Message], incarnation: int, *, again: bool) -> None:
        self._remember_of(incarnation)
        firsts = {message.partition: -1 if again else message.offset for message in reversed(messages)}
        ends = {message.partition: message.offset + 1 for message in messages}
        spans = {p: catalogue.Span(self._kept.get(p, -1), firsts[p], end) for p, end in ends.items()}
        if await catalogue.advance(self._redis, self._keys, spans):
            log.warning("Redis has less of the catalogue than it had acknowledged; topic %s is read again", self._topic)
        if not again:
            self._kept |= ends

    def _remember_of(self, incarnation: int) -> None:
        """Forget what was kept of a topic that was recreated since."""
        if incarnation != self._kept_of:
            self._kept.clear()
            self._kept_of = incarnation

    async def verify(self) -> None:
        """Notice that Redis has less than this worker kept (rule 6), though no entry follows."""
        mark = await catalogue.read(self._redis, self._keys)
        self._remember_of(mark.incarnation)
        if mark.whole and any(mark.ends.get(partition, 0) < end for partition, end in self._kept.items()):
            await self.lost()

    async def look(self) -> None:
        """Begin to read the whole topic again where Redis does not have it all; once a second, by one worker."""
        if self._reading is not None and self._reading.done():
            self._reading.result()
            self._reading = None
        if self._reading is None and not (await catalogue.read(self._redis, self._keys)).whole:
            self._reading = asyncio.create_task(persist("the catalogue", self._read_all))

    async def lost(self) -> None:
        """Redis lost writes: whether of the catalogue too, nobody knows."""
        await catalogue.doubt(self._redis, self._keys)

    async def recall(self, item_ids: Sequence[str]) -> None:
        """Teach again what Redis has of items that came back to the models; their entries left with them."""
        found = await entries.read(self._redis, self._keys, item_ids)
        if found:
            change = change_of([(one.partition, one.offset, _recalled(one)) for one in found])
            await self._publisher.append(encode(Record(Kind.CATALOG, 0, 0, 0, 0, encode_catalog(change))))

    async def stop(self) -> None:
        """Leave what is not read to the next worker."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_all(self) -> None:
        held = catalogue.holder(self._redis)
        async with reading(self._settings) as consumer:
            ends = await ends_of(consumer, await self._places(consumer))
            for place, begin in (await consumer.beginning_offsets(ends)).items() if ends else ():
                consumer.seek(place, begin)
            kept = await self._keep_to(consumer, ends)
        await catalogue.complete(self._redis, self._keys, held)
        if kept:
            log.info("%d entries of topic %s were read again, for Redis did not have them all", kept, self._topic)

    async def _keep_to(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> int:
        kept, waiting = 0, set(ends)
        while waiting := {place for place in waiting if await consumer.position(place) < ends[place]}:
            found = await consumer.getmany(*waiting, timeout_ms=_POLL_MS, max_records=AT_ONCE)
            for messages in found.values():
                kept += len(messages)
                await self.keep(messages, again=True)
        return kept

    async def _places(self, consumer: AIOKafkaConsumer) -> Collection[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in sorted(await partitions_of(consumer, self._topic))]

    async def _incarnation(self) -> int:
        """Redis may have lost it; what the models have taken up is not to be undercut."""
        taken = int(self._models.catalog.offset.max(initial=-1)) >> _INCARNATION
        return max((await catalogue.read(self._redis, self._keys)).incarnation, taken)

    async def _bury(self, dead: Sequence[DeadLetter]) -> None:
        await self._publisher.bury(self._topic, dead)
        for letter in dead:
            self._metrics.dead_letters.labels(letter.reason.stage, letter.reason.error).inc()


def _partition(entry: Entry) -> int:
    return entry[0]


def _decoded(messages: Sequence[Message], incarnation: int) -> tuple[list[Entry], list[DeadLetter]]:
    entries: list[Entry] = []
    dead: list[DeadLetter] = []
    for message in messages:
        try:
            entries.append((message.partition, incarnation + message.offset, decode_item(message.key, message.value)))
        except BadItem as reason:
            headers = message.headers.items() if isinstance(message.headers, Mapping) else message.headers or ()
            dead.append(DeadLetter(message.key, message.value, message.partition, message.offset, reason, list(headers)))
    return entries, dead


def _recalled(stored: entries.Stored) -> Item | Deleted:
    item = stored.item
    if item is None:
        return Deleted(stored.item_id)
    said = item.name, item.brand, tuple(item.category), item.price, tuple(item.tags), item.available is not False
    return Item(item.item_id, *said, item.url, item.image)


def _row(fence: int, entry: Item | Deleted) -> items.CatalogueEntry:
    fields = msgspec.structs.asdict(entry) if isinstance(entry, Item) else {}
    return items.CatalogueEntry(entry.item_id, fence, {name: value for name, value in fields.items() if name in items.CATALOGUE})
