"""Rules 1 to 8 hold in any history of crashes, zombies, late retries and lost writes; a broken rule does not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from tests.rules_world import World, steps

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from state.keys import Keys


async def live(redis: Redis, keys: Keys, seed: int) -> None:
    await redis.flushdb()
    random = Random(seed)
    world = World(redis, keys, random.randint(1, 3))
    await world.run(steps(random, random.randint(60, 240)))


async def test_seeds(redis, keys):
    bad = {}
    import os, time
    t = time.time()
    n = int(os.environ.get("SEEDS", "60"))
    for seed in range(n):
        try:
            await live(redis, keys, seed)
        except Exception as e:
            bad[seed] = repr(e)[:300]
    print(time.time() - t, bad)
    assert not bad
