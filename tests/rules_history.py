"""Histories: lists of steps, so that a failing one can be shortened."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

WORKERS = 3

KINDS = {
    "produce": 16,
    "carry": 34,
    "publish": 10,
    "commit": 10,
    "follow": 6,
    "rebalance": 8,
    "crash": 3,
    "fail": 4,
    "half": 3,
    "late": 6,
    "save": 2,
    "failover": 2,
    "snapshot": 2,
    "retain": 2,
    "solve": 2,
}


CALM = {"produce", "carry", "rebalance"}


class Step(NamedTuple):
    """What happens, to whom, where and how much; ``luck`` decides what else the kind leaves open."""

    kind: str
    worker: int
    partition: int
    size: int
    luck: int


# One step in so many is a wish, in histories that have some.
WISHES = 8


def steps(random: Random, count: int, *, wishes: bool = False) -> list[Step]:
    """Make a history from a seeded generator; each has its own mixture of troubles, some of them none of a kind."""
    often = [weight * (1 if kind in CALM else random.choice([0, 1, 2, 4])) for kind, weight in KINDS.items()]
    kinds = random.choices([*KINDS], often, k=count)
    if wishes:
        kinds = [kind if random.randrange(WISHES) else "wish" for kind in kinds]
    return [
        Step(kind, random.randrange(WORKERS), random.randrange(3), random.randint(1, 7), random.randrange(1 << 16))
        for kind in kinds
    ]
