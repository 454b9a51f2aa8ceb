"""Clocks: this machine's beside Redis' and beside the times of the newest events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.checks.check import Check, span
from streams.dead_letters import partitions_of

if TYPE_CHECKING:
    from state.connection import Client

# Decay reckons in hours, but who compares times of two machines is misled by seconds.
APART = 5.0
FIX = "let all machines set their clocks by the network: timedatectl set-ntp true, or chrony"


async def redis_clock(redis: Client) -> Check:
    """Compare the clocks, less half the way to Redis and back."""
    before = time.time()
    told: Any = await redis.time()
    first = next(iter(told.values())) if isinstance(told, dict) else told
    after = time.time()
    ahead = (before + after) / 2 - (int(first[0]) + int(first[1]) / 1e6)
    return _said("redis clock", "Redis", ahead, doubt=(after - before) / 2)


async def events_clock(consumer: AIOKafkaConsumer, topic: str) -> Check:
    """Whether events were written later than it is now: then a clock is wrong, a producer's, the broker's or this one."""
    asked = int((time.time() + APART) * 1000)
    places = {TopicPartition(topic, number): asked for number in await partitions_of(consumer, topic)}
    found = await consumer.offsets_for_times(places) if places else {}
    # The embedded broker answers with any offset; the time beside it tells.
    later = [at.timestamp / 1000 - time.time() for at in found.values() if at is not None and at.timestamp >= asked]
    if not later:
        return Check("events clock", ok=True, found="no event is from the future")
    return _said("events clock", "the events", -max(later), doubt=0.0)


def _said(name: str, whose: str, ahead: float, *, doubt: float) -> Check:
    """Say how far this machine is ahead of another; as little as the doubt allows counts."""
    if abs(ahead) - doubt <= APART:
        return Check(name, ok=True, found=f"within {APART:g} seconds of this machine's")
    where = "ahead of" if ahead > 0 else "behind"
    return Check(name, ok=False, found=f"this machine is {span(abs(ahead))} {where} {whose}", fix=FIX)
