"""What `upwell doctor` looks at: each check says what it found and, where that is wrong or risky, the fix."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from state.connection import eviction_warning, open_redis, persistence_warning
from state.keys import Keys
from streams.checks.check import Check
from streams.checks.clocks import events_clock, redis_clock
from streams.checks.kafka_rights import kafka_rights
from streams.checks.kept import kept
from streams.checks.learned_log import learned_log
from streams.checks.redis_rights import fail_over, rights
from streams.dead_letters import partitions_of
from streams.ends import ends_of
from streams.failures import Transient
from streams.security import redis_url
from streams.servers import Away, Refused, consuming, redis_or_failed
from streams.topics import OF_WORKERS, Found, Topic, problem, topics
from streams.topics import _admin as administering
from streams.topics import _found as described

if TYPE_CHECKING:
    from state.connection import Client
    from streams.settings import Settings

OLDEST_REDIS = (6, 2)  # the first whose scripts and commands the state needs
ANSWER_WITHIN = 3.0  # s for the worker's page
FEW = 1_000  # offsets that are looked at one by one
LOOK_MS = 1_000


async def checks(settings: Settings) -> list[Check]:
    """Look at all of it; a server that is away is a finding, not a failure."""
    ends: dict[int, int] = {}
    done = await _kafka(settings, ends)
    done += await _redis(settings, ends)
    return [*done, await _worker(settings.http)]


async def _kafka(settings: Settings, ends: dict[int, int]) -> list[Check]:
    try:
        async with consuming(settings) as consumer:
            found, allowed = await _topics(settings)
            clock = await events_clock(consumer, settings.topics.events)
            ends.update(await _ends(consumer, settings.topics.events))
    except (Away, Transient) as error:
        return [_failed("brokers", error, settings.brokers)]
    wanted = topics(settings)
    first = Check("brokers", ok=True, found=f"answer at {settings.brokers}")
    shapes = [_topic(role, topic, found.get(topic.name), settings) for role, topic in wanted.items()]
    return [first, *allowed, *shapes, *kept(found, settings), clock]


async def _topics(settings: Settings) -> tuple[Mapping[str, Found], list[Check]]:
    """The topics that are there, and what may be done with them."""
    names = {topic.name for topic in topics(settings).values()}
    async with administering(settings) as admin:
        there = sorted(names & {*await admin.list_topics()})
        return await described(admin, there) if there else {}, await kafka_rights(admin, settings)


def _topic(role: str, topic: Topic, found: Found | None, settings: Settings) -> Check:
    name = f"topic {topic.name}"
    if found is None:
        maker = "worker or push" if role in OF_WORKERS else "upwell dead redrive"
        # Nobody is told of topics that he must not see.
        hidden = " (or this user has no right to DESCRIBE it)" if settings.kafka.security_protocol != "PLAINTEXT" else ""
        return Check(name, ok=True, found=f"is not there yet{hidden}; the first {maker} creates it")
    wrong = problem(topic, found, settings.brokers)
    if wrong is not None:
        return Check(name, ok=False, found=wrong.message, fix=wrong.fix)
    said = f"{found.partitions} partitions" if found.partitions > 1 else "1 partition"
    if role == "events" and found.partitions != settings.partitions:
        said += f"; the setting partitions is {settings.partitions} and counts only for topics that are created"
    return Check(name, ok=True, found=said)


async def _ends(consumer: AIOKafkaConsumer, topic: str) -> dict[int, int]:
    places = [TopicPartition(topic, number) for number in await partitions_of(consumer, topic)]
    return {place.partition: offset for place, offset in (await ends_of(consumer, places)).items()}


async def _redis(settings: Settings, ends: Mapping[int, int]) -> list[Check]:
    redis, keys = open_redis(redis_url(settings)), Keys(settings.prefix)
    try:
        with redis_or_failed(settings):
            info = await _info(redis)
            found = [
                _version(info, settings),
                await rights(redis, keys),
                *await _advice(redis),
                *await fail_over(redis, settings.intake.rewind_s),
            ]
            found.append(await redis_clock(redis))
            applied: Any = await redis.hgetall(keys.applied)
            if ends:
                found += await _log(redis, keys, settings)
    except Away as error:
        return [_failed("redis", error, settings.redis.masked)]
    finally:
        await redis.aclose()
    known = {int(partition): int(offset) for partition, offset in applied.items()}
    try:
        return [*found, _offsets(known, ends, await markers(known, ends, settings), settings)]
    except Away as error:
        return [*found, _failed("offsets", error, settings.brokers)]


async def _log(redis: Client, keys: Keys, settings: Settings) -> list[Check]:
    """Look at the learned log, beside what Redis has of it; that Kafka does not show it is no fault of Redis."""
    try:
        async with consuming(settings) as consumer:
            return await learned_log(consumer, redis, keys, settings)
    except Away as error:
        return [_failed("learned log", error, settings.brokers)]


def _failed(name: str, error: Away | Transient, address: str) -> Check:
    """Say what a server refuses, and how to mend it; or that it is not ready, or nobody there."""
    if isinstance(error, Refused):
        return Check(name, ok=False, found=error.why.message.rstrip("."), fix=error.why.fix)
    if isinstance(error, Transient):
        return Check(name, ok=False, found=f"are not ready: {error}", fix="look again in a minute; the brokers' logs tell more")
    return Check(name, ok=False, found=f"nobody answers at {address}", fix=str(error))


async def markers(applied: Mapping[int, int], ends: Mapping[int, int], settings: Settings) -> int:
    """How many of the last offsets hold no event: the ends of transactions, and what was taken back, wait for nobody."""
    begins = {
        partition: applied.get(partition, 0) for partition, end in ends.items() if 0 < end - applied.get(partition, 0) <= FEW
    }
    if not begins or not applied:
        return 0
    async with consuming(settings, isolation_level="read_committed") as consumer:
        places = {partition: TopicPartition(settings.topics.events, partition) for partition in begins}
        consumer.assign([*places.values()])
        for partition, begin in begins.items():
            consumer.seek(places[partition], begin)
        seen = 0
        while not await _reached(consumer, {places[partition]: ends[partition] for partition in begins}):
            found = await consumer.getmany(timeout_ms=LOOK_MS)
            if not found:
                break
            seen += sum(map(len, found.values()))
        passed = sum([int(await consumer.position(place)) - begins[partition] for partition, place in places.items()])
    return max(0, passed - seen)


async def _reached(consumer: AIOKafkaConsumer, goals: Mapping[TopicPartition, int]) -> bool:
    return all([await consumer.position(place) >= end for place, end in goals.items()])


async def _info(redis: Client) -> Mapping[str, Any]:
    """What the server tells of itself; of a cluster, the first of its nodes."""
    found: Any = await redis.info("server")
    first = next(iter(found.values()), None)
    return first if isinstance(first, dict) else found


def _version(info: Mapping[str, Any], settings: Settings) -> Check:
    said = str(info.get("valkey_version") or info.get("redis_version", "0"))
    product = "Valkey" if "valkey_version" in info else "Redis"
    # Valkey tells the version of Redis it is compatible with beside its own.
    compatible = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())
    found = f"{product} {said} answers at {settings.redis.masked}"
    if compatible >= OLDEST_REDIS:
        return Check("redis", ok=True, found=found)
    return Check("redis", ok=False, found=found, fix="Upwell needs Redis 6.2 or newer, or Valkey")


async def _advice(redis: Client) -> list[Check]:
    """Redis' settings; without persistence Upwell works, but reads events again after a restart of Redis."""
    named = (("redis persistence", await persistence_warning(redis)), ("redis eviction", await eviction_warning(redis)))
    good = {"redis persistence": "keeps an append-only file", "redis eviction": "evicts no permanent key"}
    return [
        Check(name, ok=warning is None, found=good[name] if warning is None else "may lose keys", fix=warning)
        for name, warning in named
    ]


def _offsets(applied: Mapping[int, int], ends: Mapping[int, int], markers: int, settings: Settings) -> Check:
    """Whether what was applied can be of this events topic (rule 8)."""
    if not applied or not ends:
        return Check("offsets", ok=True, found="nothing was applied yet" if ends else "there is no events topic yet")
    beyond = [partition for partition, offset in applied.items() if offset > ends.get(partition, 0)]
    if beyond:
        return Check(
            "offsets",
            ok=False,
            found=f"more is applied than topic {settings.topics.events} holds in partition {min(beyond)}: "
            "it was recreated, or has fewer partitions",
            fix="upwell reset",
        )
    behind = sum(end - applied.get(partition, 0) for partition, end in ends.items()) - markers
    return Check("offsets", ok=True, found=f"{behind:,} events wait to be applied" if behind else "all is applied")


async def _worker(address: str) -> Check:
    """Whether a worker answers here; none is no fault, for it may run elsewhere."""
    host, _, port = address.rpartition(":")
    status = await asyncio.to_thread(_status, f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{port}/ready")  # noqa: S104
    if status is None:
        return Check("worker", ok=True, found=f"{address}: no worker answers here; it may run elsewhere")
    if status == HTTPStatus.OK:
        return Check("worker", ok=True, found=f"{address}: is ready")
    fix = "its page /ready tells what it waits for, its log tells why"
    return Check("worker", ok=False, found=f"{address}: runs, but is not ready (HTTP {status})", fix=fix)


def _status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:  # noqa: S310 - the address of the settings
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
