"""A world of any size, taught in seconds: what costs are measured in. Nothing here is measured itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from state.profiles import Entry, Profile, Stored
from streams.catalogue import change_of
from streams.decode import Batch, Message
from streams.memory import Loop
from streams.metrics import Metrics
from streams.models.ids import pack
from streams.models.lesson import Lesson
from streams.partition import partitions_for
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import Item
from streams.settings import Settings

__all__ = ["Sized", "batches", "loop_of", "messages"]

TASTES = 20  # groups of items that the same users visit
BEGIN = 1.7e9
LESSON = 20_000  # visits taught at once while a world is filled
ENTRIES = 500  # catalogue entries of one record
KINDS = (b"view", b"view", b"view", b"cart", b"purchase")


@dataclass(frozen=True, slots=True)
class Sized:
    """How large a world is: every user visited `visits` items before anything is measured, `history` of which profiles show."""

    users: int
    items: int
    visits: int = 8
    history: int = 10

    def items_of(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw an item for each user: Zipf with exponent 1 within the user's taste."""
        ranks = (max(1, self.items // TASTES) ** rng.random(len(users))).astype(np.int64) - 1
        drawn: np.ndarray = np.minimum(ranks * TASTES + users % TASTES, self.items - 1)
        return drawn


@dataclass(slots=True)
class _Message:
    """What the pipeline reads of a Kafka record."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = int(1000 * BEGIN)
    headers: Sequence[tuple[str, bytes]] = ()


class _Known:
    """Profiles of users who were here before, as Redis would give them."""

    def __init__(self, world: Sized) -> None:
        self._world = world

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        """Give every user a history of the same length."""
        return [self._stored(user_id) for user_id in user_ids]

    def _stored(self, user_id: str) -> Stored:
        number = int(user_id.rpartition("-")[2])
        users = np.full(self._world.history, number)
        items = self._world.items_of(users, np.random.default_rng([1, number])).tolist()
        history = [Entry(f"item-{item}", "view", BEGIN - 60.0 * place) for place, item in enumerate(items)]
        profile = Profile(user_id, events=len(history), updated_at=BEGIN, interests={"category 1": 1.0}, interests_at=BEGIN)
        return Stored(profile, history, b"[]", b"")


def loop_of(world: Sized, settings: Settings, metrics: Metrics, partitions: int) -> Loop:
    """A pipeline whose models know the whole world."""
    loop = Loop(settings, reads=_Known(world), metrics=metrics, partitions=partitions)
    for first in range(0, world.items, ENTRIES):
        entries = [(0, n, _item(n)) for n in range(first, min(first + ENTRIES, world.items))]
        loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change_of(entries))))])
    for lesson in _past(world):
        loop.fold.models.apply(lesson)
    return loop


def _item(number: int) -> Item:
    category = (f"category {number % TASTES}", f"shelf {number % 400}")
    return Item(item_id=f"item-{number}", brand=f"brand {number % 97}", category=category, price=1.0 + number % 50)


def _past(world: Sized) -> Iterator[Lesson]:
    """Every user's visits, in rounds, so that all histories are as old."""
    rng = np.random.default_rng(0)
    for round_ in range(world.visits):
        order = rng.permutation(world.users)
        for first in range(0, world.users, LESSON):
            yield _lesson(world, order[first : first + LESSON], BEGIN - 3_600.0 * (world.visits - round_), rng)


def _lesson(world: Sized, users: np.ndarray, at: float, rng: np.random.Generator) -> Lesson:
    items, places = np.unique(world.items_of(users, rng), return_inverse=True)
    count = len(users)
    return Lesson(
        events=count,
        user_ids=pack([b"user-%d" % user for user in users.tolist()]),
        user_segments=np.full(count, -1, np.int16),
        item_ids=pack([b"item-%d" % item for item in items.tolist()]),
        users=np.arange(count, dtype=np.uint32),
        items=places.astype(np.uint32),
        weights=np.ones(count, np.float32),
        times=np.array(at + np.arange(count) * 1e-3, np.float64),
        types=pack([b"view"]),
        kinds=np.zeros(count, np.uint8),
    )


def messages(world: Sized, users: np.ndarray, seed: int) -> list[tuple[bytes, bytes]]:
    """Keys and values of one event for each of these users, as a shop would send it."""
    items = world.items_of(users, np.random.default_rng([2, seed]))
    form = b'{"type":"%b","user_id":"user-%d","item_id":"item-%d","event_id":"%016x","timestamp":%.3f}'
    return [
        (b"user-%d" % user, form % (KINDS[n % len(KINDS)], user, item, (seed << 32) + n, BEGIN + n * 1e-3))
        for n, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True))
    ]


def batches(rows: Sequence[tuple[bytes, bytes]], size: int, partitions: int, next_: dict[int, int]) -> Iterator[Batch]:
    """Micro-batches of events on their users' partitions; `next_` holds the next offset of each and moves on."""
    places = partitions_for([key for key, _ in rows], partitions).tolist()
    for first in range(0, len(rows), size):
        found: dict[int, list[Message]] = {}
        begins: dict[int, int] = {}
        for (key, value), place in zip(rows[first : first + size], places[first : first + size], strict=True):
            offset = next_.get(place, 0)
            begins.setdefault(place, offset)
            found.setdefault(place, []).append(_Message(offset, key, value))
            next_[place] = offset + 1
        yield Batch(found, begins)
