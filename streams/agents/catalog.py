"""The catalog agent: entries of the items topic go to the learned log, for the models, and to Redis, for readers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import faust
import msgspec

from state import items as stored
from streams.catalogue import Entry, change_of
from streams.decode import DeadLetter
from streams.failures import persist
from streams.publisher import acknowledged
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import BadItem, Deleted, Item, decode_item
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.serving import Serving

__all__ = ["mount"]

# A record of so many entries stays far below a broker's usual limit of a megabyte.
_AT_ONCE = 500
_WITHIN = 0.1


def mount(app: faust.App, settings: Settings, serving: Serving) -> None:
    """Put the agent on the items topic; it takes entries in groups, and a group is acknowledged when all of it is kept."""
    topic = app.topic(settings.topics.items, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(topic)
    async def catalog(stream: Any) -> None:
        await serving.opened.wait()
        async for events in stream.take_events(_AT_ONCE, within=_WITHIN):
            # Faust acknowledges an event whose agent raised: so this one must not end before it has succeeded.
            await persist("the catalogue", partial(keep, events, settings, serving))


async def keep(events: Sequence[faust.Event], settings: Settings, serving: Serving) -> None:
    """Keep one group of entries; doing it twice changes nothing, for the offsets fence it."""
    entries, dead = _decoded(events)
    await acknowledged([await serving.publisher.bury(settings.topics.items, letter) for letter in dead])
    for letter in dead:
        serving.metrics.dead_letters.labels(letter.reason.stage).inc()
    if entries:
        record = Record(Kind.CATALOG, serving.teacher.writer, 0, 0, 0, encode_catalog(change_of(entries)))
        await serving.publisher.append(encode(record))
        for partition in sorted({partition for partition, _, _ in entries}):
            rows = [_row(offset, entry) for p, offset, entry in entries if p == partition]
            await stored.write_catalogue(serving.redis, serving.keys, partition, rows)


def _decoded(events: Sequence[faust.Event]) -> tuple[list[Entry], list[DeadLetter]]:
    entries: list[Entry] = []
    dead: list[DeadLetter] = []
    for event in events:
        message = event.message
        try:
            entries.append((message.partition, message.offset, decode_item(message.key, message.value)))
        except BadItem as reason:
            headers = [*dict(message.headers or ()).items()]
            dead.append(DeadLetter(message.key, message.value, message.partition, message.offset, reason, headers))
    return entries, dead


def _row(offset: int, entry: Item | Deleted) -> stored.CatalogueEntry:
    fields = msgspec.structs.asdict(entry) if isinstance(entry, Item) else {}
    return stored.CatalogueEntry(
        entry.item_id, offset, {name: value for name, value in fields.items() if name in stored.CATALOGUE}
    )
