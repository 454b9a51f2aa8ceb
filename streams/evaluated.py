"""The events and items of files as an evaluation takes them: decoded by the code that serves, in time order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from streams import files
from streams.files import BadLine
from streams.schemas import BadEvent, BadItem, Event, Item, decode_event, decode_item

__all__ = ["events_of", "items_of"]


def events_of(
    file: str, given: Mapping[str, str] | None = None, kind: str | None = None, limit: int | None = None
) -> tuple[list[Event], list[BadLine]]:
    """A file's first events in time order, and its lines that are none; what has no time happened at that of the one before it.

    Events of the same moment keep the file's order.
    """
    events: list[Event] = []
    bad: list[BadLine] = []
    ids: dict[str, str] = {}
    with files.opened(file) as source:
        for chunk in files.events(source, given, kind):
            bad += chunk.bad
            for line, _, value in files.messages(chunk):
                try:
                    events.append(_event(value, events[-1].time if events else 0.0, ids))
                except BadEvent as reason:
                    bad.append(BadLine(line, reason.message))
    events.sort(key=lambda event: event.time)
    return events[:limit], bad


def _event(value: bytes, before: float, ids: dict[str, str]) -> Event:
    """One event, with one object for each id: a file of millions names the same few again and again."""
    # What was recorded long ago is bounded by nothing: any time in a file is a time that passed.
    event = decode_event(value, received=before, skew=float("inf"))
    user_id, item_id = ids.setdefault(event.user_id, event.user_id), ids.setdefault(event.item_id, event.item_id)
    kind = ids.setdefault(event.type, event.type)
    return Event(kind, user_id, item_id, event.timestamp, event.time, event.value)


def items_of(file: str, given: Mapping[str, str] | None = None) -> tuple[list[Item], list[BadLine]]:
    """A file's catalogue, and its lines that are no items."""
    items: list[Item] = []
    bad: list[BadLine] = []
    with files.opened(file) as source:
        for entries in files.items(source, given):
            for entry in entries:
                found = entry if isinstance(entry, BadLine) else _item(*entry)
                (bad if isinstance(found, BadLine) else items).append(found)  # type: ignore[arg-type]
    return items, bad


def _item(line: int, entry: dict[str, Any]) -> Item | BadLine:
    try:
        found = decode_item(None, msgspec.json.encode(entry))
    except BadItem as reason:
        return BadLine(line, reason.message)
    return found if isinstance(found, Item) else BadLine(line, "deletes an item, which a catalogue file cannot")
