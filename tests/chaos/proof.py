"""The proof: wait until all is settled, then hold topics, Redis and every worker's models against the oracle."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from state.connection import open_redis
from state.keys import Keys
from tests.chaos.hooked import checksums
from tests.chaos.oracle import Oracle
from tests.chaos.taps import ROLES, Taps
from tests.chaos.world import Worker, World
from tests.leaks import leaked_keys
from tests.waiting import wait_until_sync

PATIENCE = 180.0  # seconds until all is settled; an idle machine needs one or two


@dataclass
class Proof:
    """What was found; `wrong` is empty where nothing was lost and nothing is double."""

    events: int = 0
    users: int = 0
    answered: int = 0
    stale: int = 0
    wrong: dict[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many events are missing somewhere."""
        return sum(count for what, count in self.wrong.items() if "lost" in what or "not taught" in what)

    @property
    def double(self) -> int:
        """How many events count twice somewhere."""
        return sum(count for what, count in self.wrong.items() if "twice" in what)


def prove(world: World, taps: Taps, oracle: Oracle, but: Collection[str] = ()) -> Proof:
    """Settle, read everything and compare, but for the models' arrays of these names."""
    world.load.rest()
    world.outside.settle(within=PATIENCE)
    # Who waited for Redis teaches its entries later than its events, and the models are compared with all of them.
    entries = _waited(lambda: _of_catalogue(world, taps, oracle))
    told = wait_until_sync(
        lambda: _agreed(world, taps, oracle), within=PATIENCE, every=0.5, what="all models are at the log's end"
    )
    wrong = entries + Counter(_of_models(oracle, told, but))
    wrong += oracle.faults()
    wrong += oracle.of_profiles(world.outside.users(list(oracle.users)))
    wrong += _waited(lambda: _of_figures(world, oracle))
    wrong += _waited(lambda: _leaks(world))
    return Proof(oracle.events, len(oracle.users), oracle.answered, oracle.stale(), dict(wrong))


def _agreed(world: World, taps: Taps, oracle: Oracle) -> dict[int, dict[str, Any]] | None:
    """What every worker says of its models, when all of them and the oracle are at the end of the log; else none."""
    _caught_up(world, taps, oracle)
    told = {worker.number: said for worker in world.workers if (said := _ask(worker))}
    versions = {said["version"] for said in told.values()}
    return told if len(told) == len(world.workers) and versions == {oracle.fold.models.version} else None


def _caught_up(world: World, taps: Taps, oracle: Oracle) -> None:
    taps.catch_up({(role, p): end for role in ROLES for p, end in world.outside.ends(role).items()})
    oracle.absorb(taps)


def _ask(worker: Worker) -> dict[str, Any] | None:
    word, answer = secrets.token_hex(8), worker.asked.with_name("answer")
    worker.asked.write_text(word)

    def answered() -> dict[str, Any]:
        said: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
        return said if said.get("word") == word else {}

    try:
        return wait_until_sync(answered, within=10, what="the worker says what its models are")
    except AssertionError:
        return None


def _of_models(oracle: Oracle, told: dict[int, dict[str, Any]], but: Collection[str]) -> dict[str, int]:
    right = {name: check for name, check in checksums(oracle.fold.models).items() if name not in but}
    differ = {number: [name for name in right if said["arrays"].get(name) != right[name]] for number, said in told.items()}
    return {f"arrays of worker {number} differ: {' '.join(names)}": len(names) for number, names in differ.items() if names}


def _of_catalogue(world: World, taps: Taps, oracle: Oracle) -> Counter[str]:
    _caught_up(world, taps, oracle)
    return oracle.of_catalogue(_items(world, oracle))


def _items(world: World, oracle: Oracle) -> dict[str, dict[bytes, bytes]]:
    pipeline = world.outside.redis.pipeline(transaction=False)
    for item in oracle.entries:
        pipeline.hgetall(f"{world.outside.prefix}item:{item}")
    return dict(zip(oracle.entries, pipeline.execute(), strict=True))


def _of_figures(world: World, oracle: Oracle) -> Counter[str]:
    stored = int(world.outside.hash("model").get("events", 0))
    return (
        Counter({"figures not taught": max(0, oracle.events - stored), "figures twice": max(0, stored - oracle.events)})
        + Counter()
    )


def _waited(look: Any) -> Counter[str]:
    """Look until nothing is wrong: these are written a little later."""
    last: Counter[str] = Counter()

    def right() -> bool:
        nonlocal last
        try:
            last = look()
        except (RedisError, OSError):
            return False
        return not last

    try:
        wait_until_sync(right, within=60, every=0.2)
    except AssertionError:
        return last or Counter({"Redis is away": 1})
    return last


def _leaks(world: World) -> Counter[str]:
    async def look() -> list[str]:
        async with open_redis(world.tree["redis"]) as client:
            return await leaked_keys(client, Keys(world.tree["prefix"]))

    return Counter({f"leaked {key}": 1 for key in asyncio.run(look())})
