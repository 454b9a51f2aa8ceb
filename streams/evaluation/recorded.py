"""The events and items of files as an evaluation takes them: decoded by the code that serves, in time order, as columns."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams import files
from streams.files import BadLine
from streams.schemas import BadEvent, BadItem, Event, Item, decode_event, decode_item

__all__ = ["Recorded", "Recorder", "events_of", "items_of"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events in time order, those of one moment in the order they came: 28 bytes each, and every id once.

    ``users``, ``items`` and ``types`` int32[n] number the texts of ``user_ids``, ``item_ids`` and ``kinds``; ``times``
    float64[n] are seconds; ``values`` float64[n] are NaN where an event has none.
    """

    user_ids: list[str]
    item_ids: list[str]
    kinds: list[str]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    types: NDArray[np.int32]
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the events."""
        return len(self.users)

    def __iter__(self) -> Iterator[Event]:
        """Give every event, one at a time."""
        users, items, kinds = self.user_ids, self.item_ids, self.kinds
        for first in range(0, len(self), _AT_ONCE):
            rows = (column[first : first + _AT_ONCE].tolist() for column in self.columns())
            for user, item, kind, time, value in zip(*rows, strict=True):
                yield Event(kinds[kind], users[user], items[item], time, time, value if value == value else None)  # noqa: PLR0124 - NaN

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Users, items, types, times and values."""
        return self.users, self.items, self.types, self.times, self.values

    def fingerprint(self) -> str:
        """Sum up what happened: equal for equal events in equal order, whatever file they came in."""
        found = hashlib.sha256()
        for texts, numbers in ((self.user_ids, self.users), (self.item_ids, self.items), (self.kinds, self.types)):
            seen, first, places = np.unique(numbers, return_index=True, return_inverse=True)
            by_appearance = np.argsort(first, kind="stable")
            found.update(msgspec.json.encode([texts[number] for number in seen[by_appearance].tolist()]))
            found.update(np.argsort(by_appearance, kind="stable")[places].astype("<i4").tobytes())
        found.update(self.times.astype("<f8").tobytes() + self.values.astype("<f8").tobytes())
        return found.hexdigest()[:32]


# Events turned from columns into objects at a time.
_AT_ONCE = 4096


class _Numbers:
    """Texts numbered in order of appearance."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.column = array("i")
        self._numbers: dict[str, int] = {}

    def add(self, text: str) -> None:
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        self.column.append(number)


class Recorder:
    """Takes events one by one into columns, so that no second copy of a long file is ever held."""

    def __init__(self) -> None:
        self._users, self._items, self._kinds = _Numbers(), _Numbers(), _Numbers()
        self._times, self._values = array("d"), array("d")

    @property
    def latest(self) -> float:
        """The time of the event that came last, 0 before the first."""
        return self._times[-1] if self._times else 0.0

    def add(self, event: Event) -> None:
        """Take an event."""
        self._users.add(event.user_id)
        self._items.add(event.item_id)
        self._kinds.add(event.type)
        self._times.append(event.time)
        self._values.append(float("nan") if event.value is None else event.value)

    def recorded(self, limit: int | None = None) -> Recorded:
        """Give the first ``limit`` events in time order."""
        times = np.frombuffer(self._times, np.float64)
        order = np.argsort(times, kind="stable")[:limit]
        users, items, kinds = self._users, self._items, self._kinds
        return Recorded(
            users.texts,
            items.texts,
            kinds.texts,
            np.frombuffer(users.column, np.int32)[order],
            np.frombuffer(items.column, np.int32)[order],
            np.frombuffer(kinds.column, np.int32)[order],
            times[order],
            np.frombuffer(self._values, np.float64)[order],
        )


def recorded(events: Iterable[Event], limit: int | None = None) -> Recorded:
    """Events from anywhere as columns."""
    taken = Recorder()
    for event in events:
        taken.add(event)
    return taken.recorded(limit)


def events_of(
    file: str, given: Mapping[str, str] | None = None, kind: str | None = None, limit: int | None = None
) -> tuple[Recorded, list[BadLine]]:
    """A file's first events in time order, and its lines that are none; what has no time happened when the one before did."""
    events = Recorder()
    bad: list[BadLine] = []
    with files.opened(file) as source:
        for chunk in files.events(source, given, kind):
            bad += chunk.bad
            for line, _, value in files.messages(chunk):
                try:
                    # What was recorded long ago is bounded by nothing: any time in a file is a time that passed.
                    event = decode_event(value, received=events.latest, skew=float("inf"))
                except BadEvent as reason:
                    bad.append(BadLine(line, reason.message))
                    continue
                if event.item_id:  # what users wish is passed over
                    events.add(event)
    return events.recorded(limit), bad


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
