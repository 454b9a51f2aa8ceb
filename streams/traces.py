"""Traces: everywhere a user's id may be, looked at from outside of any worker, and nothing changed."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from state import snapshots
from state.connection import Client, send
from state.forgetting import chunks, names_any
from state.keys import Keys
from streams.dead_letters import LARGEST, partitions_of
from streams.ends import ends_of
from streams.failures import Refusal
from streams.models.ids import Packed, unpack
from streams.pseudonyms import other_key
from streams.records import Kind, decode, decode_lesson, encode_knobs
from streams.servers import consuming
from streams.settings import Settings
from streams.snapshots import knobs_of, users_of
from streams.topics import configs

__all__ = ["Held", "Trace", "Traces", "held", "look", "read"]

Message: TypeAlias = ConsumerRecord[bytes, bytes]
_POLL_MS = 1_000
_REFUSAL = {b"consent", b"consent_from"}


class Trace(msgspec.Struct, frozen=True):
    """A place that names the user: which store, where in it, and what it is."""

    place: str
    where: str
    what: str


@dataclass(slots=True)
class Traces:
    """What was looked at, by place and how many, and where the user is named; ``refusal``: a no is kept, as it must be."""

    searched: dict[str, int] = field(default_factory=dict)
    found: list[Trace] = field(default_factory=list)
    refusal: bool = False

    def add(self, place: str, where: str, what: str) -> None:
        """Note a trace."""
        self.found.append(Trace(place, where, what))


class Held(msgspec.Struct, frozen=True):
    """Messages of a topic that is the operator's which name the user: of one partition, from the first to the last.

    ``until`` is when the last of them goes by the topic's retention, in seconds since 1970; None where no time says so.
    """

    topic: str
    partition: int
    first: int
    last: int
    messages: int
    until: float | None


async def look(settings: Settings, redis: Client, user_id: str, others: Collection[str] = ()) -> Traces:
    """Look through all that Upwell keeps by itself: Redis, the snapshots in it, the learned log and the topic of segments.

    With a key of pseudonyms for the user's id and for its pseudonym, and for ``others``, pseudonyms of the same person. Raises
    Refusal where workers have another key, or none: then nobody can tell what the user is stored as.
    """
    traces, keys, own = Traces(), Keys(settings.prefix), encode_knobs(settings.parameters())
    pseudonyms = settings.pseudonymize
    names = frozenset((user_id, pseudonyms.of(user_id), *others) if pseudonyms else (user_id,))
    await _redis(redis, keys, names, traces)
    await _snapshots(redis, keys, names, own, traces)
    await _topics(settings, names, own, traces)
    return traces


def _same_key(written: bytes, own: bytes) -> None:
    if other_key(written, own):
        raise Refusal(
            "The workers have another key of pseudonyms than this command, or only one of them has one.",
            fix="give it theirs (UPWELL_PSEUDONYMS_KEY_FILE), and look again with --verify",
        )


async def _redis(redis: Client, keys: Keys, user_ids: Collection[str], traces: Traces) -> None:
    own = {keys.user(user_id) for user_id in user_ids}
    named = [b'"user_id":' + msgspec.json.encode(user_id) for user_id in user_ids]
    count, loose = 0, []
    async for names in chunks(redis, keys):
        count += len(names)
        hashes = [name for name in names if keys.family(name) == "user"]
        for name, stored in zip(hashes, await send(redis, [("HGETALL", name) for name in hashes]), strict=True):
            # One Redis gives a mapping, as a cluster's client does.
            fields: dict[bytes, bytes] = stored
            if name in own:
                _profile(fields, name, traces)
            elif _links(fields, user_ids):
                traces.add("redis", _shown(name), "the user is the person of this id, or its alias")
            elif _any_in(named, fields.get(b"recommendations", b"")) or names_any(fields.get(b"neighbors", b""), user_ids):
                traces.add("redis", _shown(name), "another user's neighbors, or list")
        loose += [name for name in names if keys.family(name) is None]
        await _others(redis, [name for name in names if keys.family(name) not in {None, "user", "snapshot part"}], named, traces)
    for name in loose:
        if _any_in([user_id.encode() for user_id in user_ids], name):
            traces.add("redis", _shown(name), "a key that is none of Upwell's")
    traces.searched["redis keys"] = count


def _links(fields: Mapping[bytes, bytes], user_ids: Collection[str]) -> bool:
    """Tell whether a profile names one of these as its person, or as an alias."""
    alias, aliases = fields.get(b"alias"), fields.get(b"aliases", b"")
    return any(alias == one.encode() or msgspec.json.encode(one) + b":" in aliases for one in user_ids)


def _profile(fields: dict[bytes, bytes], name: bytes, traces: Traces) -> None:
    rest = [one for one in fields if one not in _REFUSAL and not one.startswith(b"at:")]
    if not rest and fields.get(b"consent") == b"false":
        traces.refusal = True
    elif fields:
        traces.add("redis", _shown(name), "the user's profile")


async def _others(redis: Client, names: Sequence[bytes], named: Sequence[bytes], traces: Traces) -> None:
    """Look at keys of items, segments and the models, in which nobody should be named; sorted sets hold items only."""
    kinds = await send(redis, [("TYPE", name) for name in names]) if names else []
    hashes = [name for name, kind in zip(names, kinds, strict=True) if kind in {b"hash", "hash"}]
    for name, stored in zip(hashes, await send(redis, [("HGETALL", name) for name in hashes]), strict=True):
        if any(_any_in(named, value) for value in stored.values()):
            traces.add("redis", _shown(name), "a field that names the user")


def _any_in(texts: Collection[bytes], where: bytes) -> bool:
    return any(one in where for one in texts)


async def _snapshots(redis: Client, keys: Keys, user_ids: Collection[str], own: bytes, traces: Traces) -> None:
    current = await snapshots.pointer(redis, keys)
    named = {part for one in (current.newest, current.previous) for part in snapshots.part_keys(keys, one)}
    whole = unread = 0
    for one in (current.newest, current.previous):
        found = await snapshots.read(redis, keys, one) if one else ""
        if one and not isinstance(found, str):
            whole += 1
            if one is current.newest:
                _same_key(knobs_of(found.data), own)
            if _knows(found.data, user_ids):
                traces.add("snapshots", f"offset {one.offset}", "the user is known to the models")
    for (offset, writer), parts in (await _unnamed(redis, keys, named)).items():
        data = bytearray().join([part for part in await send(redis, [("GET", name) for name in sorted(parts)]) if part])
        known = _knows(data, user_ids)
        unread += known is None
        if known:
            traces.add(
                "snapshots", f"offset {_shown(offset)} of {_shown(writer)}", "parts that no pointer names; they go within an hour"
            )
    traces.searched |= {"snapshots": whole, "snapshot parts that cannot be read": unread}


async def _unnamed(redis: Client, keys: Keys, named: set[bytes]) -> dict[tuple[bytes, bytes], list[bytes]]:
    """Give the parts that no pointer names, by the snapshot that they were written for."""
    groups: dict[tuple[bytes, bytes], list[bytes]] = defaultdict(list)
    async for names in chunks(redis, keys):
        for name in names:
            if keys.family(name) == "snapshot part" and name not in named:
                offset, _, rest = name[len(keys.snapshot_pointer) + 1 :].partition(b":")
                groups[offset, rest.rpartition(b":")[0]].append(name)
    return groups


def _knows(data: bytes | bytearray, user_ids: Collection[str]) -> bool | None:
    try:
        users = users_of(data)
    except (Refusal, msgspec.DecodeError, zlib.error):
        return None
    return None if users is None else not {one.encode() for one in user_ids}.isdisjoint(users.names(range(len(users))))


async def _topics(settings: Settings, user_ids: Collection[str], own: bytes, traces: Traces) -> None:
    """Look at the learned log, and at the newest message on the topic of segments, which is what compaction leaves."""
    learned, segments = settings.topics.learned, settings.topics.segments
    count = {learned: 0, segments: 0}
    last: dict[tuple[int, bytes], Message] = {}
    keys, layout = [user_id.encode() for user_id in user_ids], own
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as consumer:
        async for topic, partition, messages in read(consumer, learned, segments):
            count[topic] += len(messages)
            if topic == learned:
                layout = _lessons(messages, user_ids, traces) or layout
            else:
                last |= {(partition, message.key): message for message in messages if message.key in keys}
    _same_key(layout, own)
    for (partition, _), message in last.items():
        if message.value is not None:
            traces.add("segments", f"{segments}[{partition}] offset {message.offset}", "the user's newest message is no null")
    traces.searched |= {"learned records": count[learned], "segment changes": count[segments]}


def _lessons(messages: Sequence[Message], user_ids: Collection[str], traces: Traces) -> bytes | None:
    """Look at records of the learned log; give the settings that the last of them tells, None where none does."""
    layout: bytes | None = None
    for message in messages:
        record = decode(message.value, message.offset)
        if record.kind is Kind.LESSON:
            lesson = decode_lesson(record.body, record.version)
            if any(_holds(ids, user_id) for ids in (lesson.user_ids, lesson.forgotten) for user_id in user_ids):
                traces.add("learned log", f"offset {message.offset}", "a lesson that names the user")
        elif record.kind is Kind.LAYOUT:
            layout = record.body
    return layout


def _holds(ids: Packed, user_id: str) -> bool:
    name = user_id.encode()
    return name in ids.blob.tobytes() and name in unpack(ids)


def _nothing(_topic: str, _message: Message) -> None:
    pass


async def held(settings: Settings, user_id: str, each: Callable[[str, Message], None] = _nothing) -> list[Held]:
    """Look through the topics that are the operator's; ``each`` is told of every message that names the user.

    What workers send one another on `events` may name the user's pseudonym.
    """
    names, pseudonyms = settings.topics, settings.pseudonymize
    known = pseudonyms.of(user_id) if pseudonyms else user_id

    def of_event(message: Message, _: str) -> bool:
        return _of_event(message, user_id) or (known != user_id and _of_event(message, known))

    of_topic = {names.events: of_event, names.recommendations: _of_key, names.dead: _of_letter}
    kept = await configs(settings, of_topic)
    spans: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as consumer:
        async for topic, partition, messages in read(consumer, *of_topic):
            for message in messages:
                if of_topic[topic](message, user_id):
                    each(topic, message)
                    spans[topic, partition].append((message.offset, message.timestamp))
    limits = {topic: _retention_ms(kept.get(topic, {})) for topic in of_topic}
    return [_span(topic, partition, some, limits[topic]) for (topic, partition), some in sorted(spans.items())]


def _retention_ms(config: Mapping[str, str]) -> float:
    """Give for how long a topic keeps a message, -1 where no time says so, as of one that is compacted only."""
    return float(config.get("retention.ms", -1)) if "delete" in config.get("cleanup.policy", "delete") else -1.0


def _span(topic: str, partition: int, some: Sequence[tuple[int, int]], retention_ms: float) -> Held:
    until = None if retention_ms < 0 else (max(at for _, at in some) + retention_ms) / 1000
    return Held(topic, partition, some[0][0], some[-1][0], len(some), until)


def _of_key(message: Message, user_id: str) -> bool:
    return bool(message.key == user_id.encode())


def _of_event(message: Message, user_id: str) -> bool:
    if _of_key(message, user_id):
        return True
    if not _mentions(message.value, user_id):
        return False
    try:
        sent = msgspec.json.decode(message.value or b"", type=dict[str, Any])
    except msgspec.DecodeError:
        return False
    return str(sent.get("user_id")) == user_id


def _of_letter(message: Message, user_id: str) -> bool:
    """Take any mention for one: nobody knows what the bytes were to say."""
    return _of_key(message, user_id) or _mentions(message.value, user_id)


def _mentions(value: bytes | None, user_id: str) -> bool:
    forms = {user_id.encode(), msgspec.json.encode(user_id)[1:-1]}
    return value is not None and (any(form in value for form in forms) or (b"\\u" in value and not user_id.isascii()))


async def read(consumer: AIOKafkaConsumer, *topics: str) -> AsyncIterator[tuple[str, int, Sequence[Message]]]:
    """Give all messages of topics, some of one partition at a time, up to the end that each has now."""
    places = [TopicPartition(topic, number) for topic in topics for number in sorted(await partitions_of(consumer, topic))]
    if not places:
        return
    ends = await ends_of(consumer, places)
    begins = await consumer.beginning_offsets(places)
    waiting = {place for place in places if begins[place] < ends[place]}
    for place in waiting:
        consumer.seek(place, begins[place])
    while waiting:
        for place, messages in (await consumer.getmany(*waiting, timeout_ms=_POLL_MS)).items():
            yield place.topic, place.partition, [message for message in messages if message.offset < ends[place]]
        waiting = {place for place in waiting if await consumer.position(place) < ends[place]}


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")
