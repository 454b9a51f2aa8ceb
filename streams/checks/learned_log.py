"""The learned log: who can go on from its newest snapshot, how old that is, and whether this program can read it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from state import model, snapshots
from streams.checks.check import Check, span
from streams.dead_letters import partitions_of
from streams.ends import ends_of
from streams.failures import Refusal
from streams.records import VERSION, decode

if TYPE_CHECKING:
    from state.connection import Client
    from state.keys import Keys
    from streams.settings import Settings

LOOK_MS = 2_000
# A snapshot is due each `snapshot.seconds` while something is learned; so many missed ones are no delay any more.
MISSED = 30
# A follower folds thousands of records a second; whoever is so far behind does not follow.
FAR = 5_000


async def learned_log(consumer: AIOKafkaConsumer, redis: Client, keys: Keys, settings: Settings) -> list[Check]:
    """Look at the log and its newest snapshot; nothing to see before the first worker."""
    place = TopicPartition(settings.topics.learned, 0)
    if 0 not in await partitions_of(consumer, place.topic):
        return [Check("learned log", ok=True, found="is not there yet")]
    begin = int((await consumer.beginning_offsets([place]))[place])
    end = (await ends_of(consumer, [place]))[place]
    newest = (await snapshots.pointer(redis, keys)).newest
    found = [_begin(begin, end, newest), await _readable(consumer, place, max(begin, end - 1), end)]
    if newest is not None and end > newest.offset:
        found.append(_age(newest, end, settings))
    known = await model.read(redis, keys)
    if known is not None:
        found.append(_followed(known.version, end))
    return found


def _begin(begin: int, end: int, newest: snapshots.Named | None) -> Check:
    """Rule 7: a worker goes on from the snapshot, so the log must hold all that follows it."""
    offset = newest.offset if newest else 0
    if begin <= offset <= end:
        said = (
            f"{end - begin:,} records; the newest snapshot covers all before {offset:,}" if newest else f"{end - begin:,} records"
        )
        return Check("learned log", ok=True, found=said)
    wrong = f"begins at {begin:,}" if offset < begin else f"ends at {end:,}"
    return Check(
        "learned log",
        ok=False,
        found=f"{wrong}, the newest snapshot ends at {offset:,}: the models cannot be what they were",
        fix="upwell reset --models",
    )


async def _readable(consumer: AIOKafkaConsumer, place: TopicPartition, last: int, end: int) -> Check:
    """Whether this program reads the newest record: workers of a later version may have written it."""
    name = "record version"
    if last >= end:
        return Check(name, ok=True, found=f"this program writes version {VERSION}; the log is empty")
    consumer.seek(place, last)
    for message in (await consumer.getmany(place, timeout_ms=LOOK_MS)).get(place, []):
        try:
            decode(message.value, message.offset)
        except Refusal as refused:
            return Check(name, ok=False, found=refused.message, fix=refused.fix)
    return Check(name, ok=True, found=f"the log and this program have version {VERSION}")


def _age(newest: snapshots.Named, end: int, settings: Settings) -> Check:
    age = time.time() - newest.at if newest.at else 0.0
    said = f"{span(age)} old, {end - newest.offset:,} records before the end" if newest.at else "made by upwell reset"
    if age <= MISSED * settings.snapshot.seconds:
        return Check("snapshot", ok=True, found=said)
    fix = "no worker saves snapshots: see whether one runs, read the log of the owner of events partition 0, and give Redis room"
    return Check("snapshot", ok=False, found=said, fix=fix)


def _followed(version: int, end: int) -> Check:
    """How far the models are that Redis tells of: what one worker, the owner of partition 0, had folded a second ago."""
    behind = max(0, end - version)
    said = f"{behind:,} records of the learned log wait to be folded" if behind else "the models are at the end of the log"
    if behind <= FAR:
        return Check("models", ok=True, found=said)
    fix = "see whether a worker runs and is not short of CPU; one that is started again goes on from the newest snapshot"
    return Check("models", ok=False, found=said, fix=fix)
