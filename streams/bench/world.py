"""The made-up world that every figure is measured on: a few users and items very active, the same for ever or replaced slowly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

USERS = 20_000
ITEMS = 10_000
TASTES = 20  # groups of items that are visited by the same users, without which there would be nothing to recommend
LOYALTY = 0.8  # share of a user's events that stay within the own taste
TYPES = ("view", "view", "view", "view", "view", "view", "view", "view", "cart", "purchase")
CHUNK = 50_000  # events that are drawn at once
STEP = 0.001  # s between two events of a backlog
GOLDEN = 0.6180339887498949  # spreads the turns of the places evenly

Message = tuple[bytes, bytes]
"""Key and value of an event."""


@dataclass(frozen=True, slots=True)
class World:
    """Zipf over items (exponent 1) and over users (exponent 0.5); the same seed and chunk give the same events.

    With each event the share `fresh` of the users and of the items are replaced by new ones, which take their places.
    """

    users: int = USERS
    items: int = ITEMS
    seed: int = 0
    fresh: float = 0.0

    def backlog(self, count: int, begin: float, chunk: int = CHUNK) -> Iterator[list[Message]]:
        """Events in chunks, one every STEP seconds from `begin` on; their ids are their numbers from 0."""
        for first in range(0, count, chunk):
            amount = min(chunk, count - first)
            users, items, kinds = self._draw(first, amount)
            yield [
                event(first + n, user, item, TYPES[kind], begin + STEP * (first + n))
                for n, (user, item, kind) in enumerate(zip(users, items, kinds, strict=True))
            ]

    def _draw(self, first: int, amount: int) -> tuple[list[int], list[int], list[int]]:
        rng = np.random.default_rng([self.seed, first])
        users = _zipf(self.users, 0.5, rng.random(amount))
        ranks = _zipf(max(1, self.items // TASTES), 1.0, rng.random(amount))
        tastes = np.where(rng.random(amount) < LOYALTY, users % TASTES, rng.integers(0, TASTES, amount))
        items = np.minimum(ranks * TASTES + tastes, self.items - 1)
        if self.fresh:
            turns = self.fresh * np.arange(first, first + amount)
            users, items = (_renewed(places, turns, count) for places, count in ((users, self.users), (items, self.items)))
        return users.tolist(), items.tolist(), rng.integers(0, len(TYPES), amount).tolist()


def event(number: int, user: int, item: int, kind: str, at: float) -> Message:
    """An event as any client would send it."""
    key = b"user-%d" % user
    value = b'{"type":"%b","user_id":"%b","item_id":"item-%d","event_id":"%d","timestamp":%.6f}'
    return key, value % (kind.encode(), key, item, number, at)


def _renewed(places: np.ndarray, turns: np.ndarray, count: int) -> np.ndarray:
    """Who is in each place by now: each place is taken by somebody new once a turn, each at a moment of its own."""
    found: np.ndarray = places + count * (turns + GOLDEN * places % 1.0).astype(np.int64)
    return found


def _zipf(count: int, exponent: float, chances: np.ndarray) -> np.ndarray:
    """Numbers from 0 by the inverse of the distribution: number n is drawn in proportion to 1/(n + 1)**exponent."""
    shares = _shares(count, exponent)
    numbers: np.ndarray = np.searchsorted(shares, chances * shares[-1])
    return numbers


@cache
def _shares(count: int, exponent: float) -> np.ndarray:
    shares: np.ndarray = np.cumsum(1.0 / np.arange(1, count + 1) ** exponent)
    return shares
