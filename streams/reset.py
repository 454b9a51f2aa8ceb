"""Accept what a worker refuses to serve: a recreated events topic, another count of partitions, a log without its past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from state import snapshots
from state.connection import Client, open_redis
from state.keys import Keys
from streams.dead_letters import partitions_of
from streams.ends import end_of
from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Taught
from streams.models.models import Models
from streams.records import Kind, Record, decode, encode
from streams.security import redis_url
from streams.servers import consuming, producing, redis_or_failed
from streams.settings import Settings
from streams.snapshots import freeze, thaw

__all__ = ["Plan", "plan", "run"]

_SCAN = 1000


@dataclass(slots=True)
class Plan:
    """What a reset will do, found by looking: ``models`` start over, ``offsets`` are forgotten, ``partitions`` are accepted."""

    models: bool
    offsets: bool
    partitions: int | None
    knobs: bytes

    def lines(self) -> list[str]:
        """Say it for people."""
        said = []
        if self.models:
            said.append("the learned models and their snapshots; events that Kafka still holds are learned again")
        if self.offsets:
            said.append(
                "the offsets of the events topic in Redis (`applied`, `at:*`) and in the learned log; "
                "profiles stay, events are read from the beginning"
            )
        if self.partitions is not None:
            said.append(
                f"the old count of partitions; users are found by {self.partitions} from now on, misplaced events are re-keyed"
            )
            if b'"pseudonyms":' in self.knobs:
                said.append("whose alias a pseudonym is; the next `identify` tells, and what was merged stays merged")
        return said


def plan(settings: Settings, *, models: bool = False) -> list[str]:
    """Say what :func:`run` would do; empty where there is nothing to accept."""
    return asyncio.run(_planned(settings, models=models)).lines()


def run(settings: Settings, *, models: bool = False) -> list[str]:
    """Do it; return what was done. All workers must be stopped."""
    return asyncio.run(_run(settings, models=models))


async def _planned(settings: Settings, *, models: bool) -> Plan:
    async with _parts(settings) as (consumer, redis, keys):
        return await _plan(settings, consumer, redis, keys, models=models)


async def _run(settings: Settings, *, models: bool) -> list[str]:
    async with _parts(settings) as (consumer, redis, keys):
        found = await _plan(settings, consumer, redis, keys, models=models)
        if found.offsets:
            await _forget_offsets(redis, keys)
        if found.partitions is not None:
            await _forget_homes(redis, keys)
        async with producing(settings) as producer:
            for record in _records(found):
                await producer.send_and_wait(settings.topics.learned, value=encode(record), partition=0)
        if found.models:
            await _start_over(settings, consumer, redis, keys)
        return found.lines()


@asynccontextmanager
async def _parts(settings: Settings) -> AsyncIterator[tuple[AIOKafkaConsumer, Client, Keys]]:
    async with consuming(settings) as consumer, open_redis(redis_url(settings)) as redis:
        with redis_or_failed(settings):
            yield consumer, redis, Keys(settings.prefix)


async def _plan(settings: Settings, consumer: AIOKafkaConsumer, redis: Client, keys: Keys, *, models: bool) -> Plan:
    places = await _places(consumer, settings.topics.events)
    fold, broken = await _fold(settings, consumer, redis, keys)
    applied: Any = await redis.hgetall(keys.applied)
    ends = await consumer.end_offsets(places)
    known = {int(partition): int(offset) for partition, offset in applied.items()}
    reached = {place: max(known.get(place.partition, 0), fold.taught.ends.get(place.partition, 0)) for place in places}
    short = [place for place, end in ends.items() if reached[place] > end]
    consumer.assign(short)
    recreated = any([reached[place] > await end_of(consumer, place, ends[place]) for place in short])
    changed = fold.partitions not in (0, len(places))
    return Plan(models or broken, recreated, len(places) if changed else None, fold.knobs)


async def _places(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for partition in sorted(await partitions_of(consumer, topic))]


async def _fold(settings: Settings, consumer: AIOKafkaConsumer, redis: Client, keys: Keys) -> tuple[Fold, bool]:
    """Fold the log from the newest snapshot, and tell whether it is broken: then the models cannot be what they were."""
    log = TopicPartition(settings.topics.learned, 0)
    begin, end = (await consumer.beginning_offsets([log]))[log], (await consumer.end_offsets([log]))[log]
    parameters = settings.parameters()
    newest = await snapshots.load(redis, keys)
    try:
        fold = thaw(newest.data, parameters) if newest else Fold(Models(**parameters), Taught())
        if not begin <= fold.models.version <= end:
            return fold, True
        await _follow(consumer, log, fold, end)
    except Refusal:
        return Fold(Models(**parameters), Taught()), True
    return fold, False


async def _follow(consumer: AIOKafkaConsumer, log: TopicPartition, fold: Fold, end: int) -> None:
    consumer.assign([log])
    consumer.seek(log, fold.models.version)
    while fold.models.version < end:
        for message in (await consumer.getmany(log, timeout_ms=1000)).get(log, []):
            fold.fold(decode(message.value, message.offset), message.offset)


async def _forget_offsets(redis: Client, keys: Keys) -> None:
    await redis.delete(keys.applied)
    await redis.delete(keys.safe)
    async for key in redis.scan_iter(match=keys.user("*"), count=_SCAN):
        fields: Any = await redis.hkeys(key)
        if places := [field for field in fields if field.startswith((b"at:", b"consent_from", b"alias_from"))]:
            await redis.hdel(key, *places)
        if b"aliases" in fields:
            aliases: Any = await redis.hget(key, "aliases")
            known = msgspec.json.decode(aliases or b"{}")
            left = {name: -1 if isinstance(at, int) else (-1, at[1]) for name, at in known.items()}
            await redis.hset(key, "aliases", msgspec.json.encode(left))


async def _forget_homes(redis: Client, keys: Keys) -> None:
    """Part pseudonyms that were joined: where their users' events are read from now on, only the next `identify` tells."""
    async for key in redis.scan_iter(match=keys.user("*"), count=_SCAN):
        aliases, home = cast("list[Any]", await redis.hmget(key, ["aliases", "alias_home"]))
        if home is not None:
            await redis.hdel(key, "alias", "alias_from", "alias_home")
        if any(isinstance(at, list) for at in msgspec.json.decode(aliases or b"{}").values()):
            await redis.hdel(key, "aliases")


def _records(found: Plan) -> Sequence[Record]:
    records = []
    if found.models or found.offsets:
        records.append(Record(Kind.RESET, 0, 0, int(found.models), int(found.models), b""))
    if found.partitions is not None:
        records.append(Record(Kind.LAYOUT, 0, found.partitions, 1, 1, found.knobs))
    return records


async def _start_over(settings: Settings, consumer: AIOKafkaConsumer, redis: Client, keys: Keys) -> None:
    """Put an empty snapshot at the end of the log, so that no worker looks for a past that is gone."""
    log = TopicPartition(settings.topics.learned, 0)
    end = (await consumer.end_offsets([log]))[log]
    fold = Fold(Models(**settings.parameters()), Taught())
    fold.models.version = end
    fold.partitions = len(await _places(consumer, settings.topics.events))
    frozen = freeze(fold)
    for pattern in (keys.snapshot_pointer + b"*", keys.prefix + b"segment:*"):
        async for key in redis.scan_iter(match=pattern, count=_SCAN):
            await redis.unlink(key)
    await snapshots.save(redis, keys, frozen.offset, frozen.parts(), "reset", at=0.0)
