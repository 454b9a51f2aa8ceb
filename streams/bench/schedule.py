"""The schedule of a load: which event is due when, whatever became of the others (no coordinated omission)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from streams.bench.world import Message, World

AHEAD = 500  # events that are drawn at once: 2 ms of work, between two events and not in memory for half an hour


@dataclass(frozen=True, slots=True)
class Schedule:
    """Event number `first` + n is due at begin + n / `rate`."""

    rate: float
    count: int
    first: int
    world: World

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.count / self.rate

    def rows(self) -> Iterator[Message]:
        """Key and value of each event, drawn as they are needed."""
        return (row for chunk in self.world.backlog(self.count, 0.0, AHEAD) for row in chunk)

    def due(self, begin: float) -> Iterator[tuple[int, str, float]]:
        """Number, user and due moment of each event."""
        return ((self.first + n, key.decode(), begin + n / self.rate) for n, (key, _) in enumerate(self.rows()))

    def written(self) -> str:
        """The schedule as a process's argument."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Schedule:
        """The schedule that was written."""
        return msgspec.json.decode(text, type=cls)


class Answers:
    """Holds each event until a recommendation covers it: its user's first that this or a later event triggered."""

    def __init__(self, events: Iterator[tuple[int, str, float]]) -> None:
        self._events = events
        self._waiting: dict[str, list[tuple[int, float]]] = {}
        self._last = -1

    def take(self, at: float, user: str, trigger: int) -> list[float]:
        """Milliseconds of each event that a recommendation, read at this moment, covers."""
        self._read(trigger)
        mine = self._waiting.pop(user, [])
        if later := [one for one in mine if one[0] > trigger]:
            self._waiting[user] = later
        return [1000 * (at - due) for number, due in mine if number <= trigger]

    def left(self, last: float = math.inf) -> int:
        """How many of the events up to a number have no answer."""
        self._read(last)
        return sum(number <= last for mine in self._waiting.values() for number, _ in mine)

    def _read(self, number: float) -> None:
        """Take events from the schedule only as far as they can have been answered."""
        while self._last < number and (event := next(self._events, None)):
            self._last, user, due = event
            self._waiting.setdefault(user, []).append((self._last, due))
