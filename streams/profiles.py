"""The users being served: their profiles, read from Redis on first use and kept in a bounded cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import msgspec
import numpy as np

from state.profiles import HISTORY, Entry, Profile, Stored
from streams.items import ItemNumbers, Numbers
from streams.models.histories import Histories
from streams.models.kept import Kept
from streams.settings import Settings
from streams.written import history_json

__all__ = ["Profiles", "Push", "Reads"]

# What is pushed on a history: slot, item, weight, time, whether the item is blocked, type, timestamp.
Push: TypeAlias = tuple[int, int, float, float, bool, int, float]
_entries = msgspec.json.Decoder(list[Entry])

# Numbers given before those that no history has any more are looked for: looking takes a pass over all histories.
_FEWEST = 1 << 16


class Reads(Protocol):
    """Where profiles are read from: Redis, or memory in an evaluation."""

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        """Read the profiles of these users, None for a user without one."""
        ...


class Profiles:
    """A least-recently-used cache of profiles, each with a slot in the histories and in the candidates kept."""

    def __init__(self, reads: Reads, settings: Settings, items: ItemNumbers) -> None:
        self._reads = reads
        self._settings = settings
        self._limit = settings.intake.cached_users
        self._items = items
        self._cache: OrderedDict[str, Profile] = OrderedDict()
        self._free: list[int] = []
        self._slots = 0
        self.found: dict[str, int] = {}
        self._held: list[Collection[str]] = []
        self.types = Numbers()
        slots = self._limit + 2 * settings.intake.batch_events
        self.histories = Histories(slots=slots, length=HISTORY)
        self.kept = Kept(slots=slots, keep=settings.models.keep)
        self._tidy_at = _FEWEST

    def __len__(self) -> int:
        """Count the cached profiles."""
        return len(self._cache)

    async def get(self, homes: Mapping[str, int]) -> dict[str, Profile]:
        """Give the profiles of these users (user id → partition), reading those not cached in one round trip.

        They stay cached until ``let_go`` is called with the same mapping.
        """
        self._held.append(homes)
        missing = [user_id for user_id in homes if user_id not in self._cache]
        loaded = await self._reads.load(missing) if missing else []
        for user_id, stored in zip(missing, loaded, strict=True):
            profile, history = (stored.profile, stored.history) if stored else (Profile(user_id=user_id), [])
            self._admit(profile, history, homes[user_id])
        new = loaded.count(None)
        self.found = {"cache": len(homes) - len(missing), "redis": len(missing) - new, "new": new}
        found = {}
        for user_id in homes:
            found[user_id] = self._cache[user_id]
            self._cache.move_to_end(user_id)
        self._trim()
        return found

    def home(self, user_id: str) -> int | None:
        """Give the partition of a cached user; an event of the user on any other is misplaced (rule 8)."""
        profile = self._cache.get(user_id)
        return None if profile is None else profile.partition

    def _admit(self, profile: Profile, history: Sequence[Entry], partition: int) -> None:
        profile.partition = partition
        profile.slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, profile.slot + 1)
        self._cache[profile.user_id] = profile
        self.fill(profile, history, profile.updated_at)

    def fill(self, profile: Profile, history: Sequence[Entry], now: float) -> None:
        """Give a user this history, newest first, as of a time in seconds."""
        weights = self._settings.weights
        self.histories.load(
            profile.slot,
            np.array([self._items.number(entry.item_id) for entry in history], np.int32),
            np.array([weights.of(entry.type, None) for entry in history], np.float32),
            np.array([self.latest(entry.at, now) for entry in history], np.float64),
            np.array([self._settings.excludes(entry.type) for entry in history], np.uint8),
            np.array([self.types.number(entry.type) for entry in history], np.int32),
            np.array([entry.at for entry in history], np.float64),
        )

    def latest(self, at: float, now: float) -> float:
        """Give the time that decay reckons with: that of the event, but not long after ``now``."""
        return min(at, now + self._settings.intake.future_skew_s)

    def push(self, pushes: Sequence[Push]) -> None:
        """Put events before the others of their users, in order."""
        if pushes:
            slots, numbers, weights, times, blocked, types, stamps = zip(*pushes, strict=True)
            self.histories.push(
                np.array(slots, np.int32),
                np.array(numbers, np.int32),
                np.array(weights, np.float32),
                np.array(times, np.float64),
                np.array(blocked, np.uint8),
                np.array(types, np.int32),
                np.array(stamps, np.float64),
            )

    def entries(self, slot: int) -> list[Entry]:
        """Give a user's history, newest first, as Redis would hold it."""
        return _entries.decode(history_json(self.histories, [slot], self._items, self.types)[0])

    def tidy(self) -> None:
        """Between two batches: once there are twice as many numbers as last time, forget those that no history has."""
        if len(self._items) + len(self.types) >= self._tidy_at:
            items, types = self.histories.numbers()
            self.histories.renumber(self._items.keep(items), self.types.keep(types))
            self._tidy_at = max(_FEWEST, 2 * (len(items) + len(types)))

    def let_go(self, users: Collection[str], gone: Collection[str] = ()) -> None:
        """Allow the profiles of a batch to be dropped, for its changes are in Redis; drop at once who is gone."""
        self._held.remove(users)
        for user_id in gone:
            if user_id in self._cache and not any(user_id in held for held in self._held):
                self._drop(user_id)

    def clear(self, slot: int) -> None:
        """Empty a user's history, and what was last recommended to the user."""
        self.histories.clear(slot)
        self.kept.clear(slot)

    def let_go_all(self) -> None:
        """Stop holding anything: every partition is about to be resumed."""
        self._held.clear()

    def _trim(self) -> None:
        """Drop the profiles used least recently, but never one whose changes are not in Redis yet."""
        excess = len(self._cache) - self._limit
        if excess > 0:
            held = set().union(*self._held)
            for user_id in list(islice((user_id for user_id in self._cache if user_id not in held), excess)):
                self._drop(user_id)

    def release(self, partition: int) -> None:
        """Drop the profiles of a partition that is read again or by another worker."""
        for user_id in [user_id for user_id, profile in self._cache.items() if profile.partition == partition]:
            self._drop(user_id)

    def _drop(self, user_id: str) -> None:
        profile = self._cache.pop(user_id)
        self.clear(profile.slot)
        self._free.append(profile.slot)
