"""Rebuild: forget all that Redis and the learned log hold, and have workers make it anew from the events Kafka still has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from state.connection import open_redis
from state.keys import Keys
from streams import reset
from streams.checks.look import markers
from streams.dead_letters import partitions_of
from streams.ends import ends_of
from streams.security import redis_url
from streams.servers import consuming, redis_or_failed

if TYPE_CHECKING:
    from streams.settings import Settings

__all__ = ["Progress", "begin", "follow"]

SCAN = 1_000
LOOK = 0.5  # s between two looks
FEW = 1_000  # offsets of which it is worth asking whether they are events at all


@dataclass(frozen=True, slots=True)
class Progress:
    """How many events are applied of how many, and the seconds since the first was."""

    applied: int
    total: int
    seconds: float

    @property
    def per_million(self) -> float:
        """Seconds for a million events."""
        return self.seconds / max(1, self.applied) * 1e6


async def begin(settings: Settings) -> int:
    """Delete every key of Upwell's and let the models start over; gives how many keys. All workers must be stopped."""
    keys = Keys(settings.prefix)
    deleted = 0
    async with open_redis(redis_url(settings)) as redis:
        with redis_or_failed(settings):
            async for key in redis.scan_iter(match=f"{settings.prefix}*", count=SCAN):
                # Others may live below the same prefix.
                if keys.family(key) is not None:
                    deleted += await redis.unlink(key)
    await asyncio.to_thread(reset.run, settings, models=True)
    return deleted


async def follow(settings: Settings) -> AsyncGenerator[Progress]:
    """Tell how far workers are, until they have applied every event that there was when this began."""
    begins, ends = await _bounds(settings)
    total = sum(ends[one] - begins[one] for one in ends)
    first: float | None = None
    async with open_redis(redis_url(settings)) as redis:
        with redis_or_failed(settings):
            while True:
                stored: Any = await redis.hgetall(Keys(settings.prefix).applied)
                at = {int(partition): int(offset) for partition, offset in stored.items()}
                reached = {one: min(max(at.get(one, 0), begins[one]), end) for one, end in ends.items()}
                done = sum(reached[one] - begins[one] for one in ends)
                if 0 < total - done <= FEW and total - done == await markers(reached, ends, settings):
                    done = total
                first = first or (time.monotonic() if done else None)
                yield Progress(done, total, time.monotonic() - first if first else 0.0)
                if done == total:
                    return
                await asyncio.sleep(LOOK)


async def _bounds(settings: Settings) -> tuple[dict[int, int], dict[int, int]]:
    async with consuming(settings) as consumer:
        places = [TopicPartition(settings.topics.events, one) for one in await partitions_of(consumer, settings.topics.events)]
        begins = await consumer.beginning_offsets(places) if places else {}
        ends = await ends_of(consumer, places)
    return {place.partition: at for place, at in begins.items()}, {place.partition: at for place, at in ends.items()}
