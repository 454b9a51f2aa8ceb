"""Random small worlds: events, histories and a catalogue."""

from __future__ import annotations

import random
from typing import Any

from tests.models.oracle import DAY, NOW, World, build

ITEMS, USERS = 14, 9


def random_world(seed: int, **rings: int) -> World:
    """Make a world whose rings overflow, with brands, and one unavailable item."""
    chance = random.Random(seed)
    times = sorted(NOW - chance.uniform(0, 20 * DAY) for _ in range(chance.randrange(5, 90)))
    events = [(chance.randrange(USERS), chance.randrange(ITEMS), chance.choice([1.0, 1.0, 2.0, 3.5]), time) for time in times]
    tokens = {item: [b"brand:%d" % (item % 3), b"tag:%d" % (item % 4), b"word:x"] for item in range(ITEMS) if item % 5}
    return build(events, tokens=tokens, unavailable={ITEMS - 1}, **(rings or {"visitors": 6, "length": 7}))


def random_history(chance: random.Random, entries: int) -> list[tuple[int, float, float, int]]:
    """Make a history with unknown items, negative and empty signals, blocked items and times to come."""
    times = sorted((NOW - chance.uniform(-DAY, 20 * DAY) for _ in range(entries)), reverse=True)
    return [
        (chance.randrange(-1, ITEMS), chance.choice([-1.0, 0.0, 1.0, 1.0, 2.0]), time, int(chance.random() < 0.1))
        for time in times
    ]


def random_histories(seed: int, n: int) -> list[Any]:
    """Make n of them, the first empty."""
    chance = random.Random(seed)
    return [[], *(random_history(chance, chance.randrange(1, 12)) for _ in range(n - 1))]
