"""The topics: their names, keys and configuration in one table, and how they are created, checked and refused."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from streams.admission import kafka_refusal, not_created
from streams.failures import Refusal, Transient, is_transient
from streams.security import kafka_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from streams.settings import Settings

__all__ = ["OF_WORKERS", "Found", "Layout", "Topic", "configs", "ensure", "problem", "reach", "topics"]

POLICY = "cleanup.policy"
ANSWER_WITHIN = 15.0  # seconds a broker may take for one request of ours; each is small
KNOWN_WITHIN = 10.0  # seconds until every broker knows of a new topic


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be: ``key`` says what its messages are keyed by; ``partitions`` None takes any number.

    One that ``may_compact`` may as well be compacted: each of its messages stands for the key's earlier ones.
    """

    name: str
    key: str
    partitions: int | None
    config: Mapping[str, str]
    may_compact: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is; ``config`` holds what the broker tells of it."""

    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def policies(self) -> frozenset[str]:
        """How it is cleaned up: delete, compact or both; empty where the broker does not tell."""
        return frozenset(self.config.get(POLICY, "").replace(" ", "").split(",")) - {""}


@dataclass(frozen=True, slots=True)
class Layout:
    """What :func:`ensure` met: by role the partitions and what is compacted; the topics it made, what it could not check."""

    partitions: Mapping[str, int]
    created: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    compacted: frozenset[str] = frozenset()


def topics(settings: Settings) -> dict[str, Topic]:
    """Give every topic by its role; this is the only place that knows them."""
    names = settings.topics
    delete, compact = {POLICY: "delete"}, {POLICY: "compact"}
    # The learned log has no time limit: rule 7 deletes what two snapshots cover, nothing else may.
    forever = {"retention.ms": "-1", "retention.bytes": "-1"}
    return {
        "events": Topic(names.events, "user id", None, delete),
        "items": Topic(names.items, "item id", None, compact),
        "recommendations": Topic(names.recommendations, "user id", None, delete, may_compact=True),
        "segments": Topic(names.segments, "user id", None, compact),
        # A dead letter is its original and the reasons on its headers: it must outgrow the largest event.
        "dead": Topic(names.dead, "that of the original", None, delete | {"max.message.bytes": str(2 << 20)}),
        # As long as there are letters: an operator may keep those for years.
        "redriven": Topic(names.redriven, "none", 1, delete | forever),
        # One partition: all workers fold one order.
        "learned": Topic(names.learned, "none", 1, delete | forever),
    }


OF_WORKERS: Final = ("events", "items", "recommendations", "segments", "dead", "learned")
"""The topics that a worker reads or writes, by role; who may not see the others need not be given the right to."""


async def ensure(settings: Settings, *roles: str) -> Layout:
    """Create what is missing, of all topics or of some by role; raise Refusal for one that is not as it must be."""
    wanted = {role: topic for role, topic in topics(settings).items() if role in roles or not roles}
    async with _admin(settings) as admin:
        # Asked for all topics: a broker that creates what is asked for by name would create it wrong.
        existing = {*await admin.list_topics()}
        missing = [topic for topic in wanted.values() if topic.name not in existing]
        await _create(admin, missing, settings)
        found = await _found(admin, [topic.name for topic in wanted.values()])
    for topic in wanted.values():
        if wrong := problem(topic, found[topic.name], settings.brokers):
            raise wrong
    notes = tuple(_unchecked(topic, found[topic.name]) for topic in wanted.values())
    return Layout(
        partitions={role: found[topic.name].partitions for role, topic in wanted.items()},
        created=tuple(topic.name for topic in missing),
        notes=tuple(note for note in notes if note),
        compacted=frozenset(role for role, topic in wanted.items() if "compact" in found[topic.name].policies),
    )


async def reach(settings: Settings) -> None:
    """Connect to a broker, or raise what is in the way: Refusal where waiting does not help."""
    try:
        async with _admin(settings):
            pass
    except KafkaConnectionError:
        if (refused := await kafka_refusal(settings)) is not None:
            raise refused from None
        raise


async def configs(settings: Settings, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Give what the broker tells of each topic's configuration."""
    async with _admin(settings) as admin:
        return await _configs(admin, names)


def problem(topic: Topic, found: Found, brokers: str) -> Refusal | None:
    """Say what is wrong with a topic, and the command that mends it."""
    if topic.partitions not in {None, found.partitions}:
        return Refusal(
            f"The topic {topic.name} has {found.partitions} partitions and must have {topic.partitions}, "
            "or workers would learn in different orders.",
            fix=f"name another topic (UPWELL_TOPICS_LEARNED), or, if it holds nothing of Upwell's, delete it: "
            f"kafka-topics.sh --bootstrap-server {brokers} --delete --topic {topic.name}",
        )
    wrong = {name: value for name, value in topic.config.items() if found.config.get(name, value) != value}
    if topic.may_compact and found.policies <= {"compact", "delete"}:
        wrong.pop(POLICY, None)
    if not wrong:
        return None
    differs = " and ".join(f"{name}={found.config[name]}" for name in wrong)
    return Refusal(
        f"The topic {topic.name} has {differs}, and would lose what Upwell needs.",
        fix=f"kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic.name} "
        f"--add-config {_settings(wrong)}",
    )


def _unchecked(topic: Topic, found: Found) -> str:
    unknown = [name for name in topic.config if name not in found.config]
    return f"The broker does not tell {', '.join(unknown)} of the topic {topic.name}: not checked." if unknown else ""


def _settings(config: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in config.items())


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Open a client, and close it whatever happens."""
    admin = AIOKafkaAdminClient(**kafka_client(settings), request_timeout_ms=int(ANSWER_WITHIN * 1000))
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, missing: list[Topic], settings: Settings) -> None:
    """Create topics; another worker that does so at the same moment is welcome."""
    if not missing:
        return
    try:
        answer = await admin.create_topics([_request(topic, settings) for topic in missing])
    except AttributeError as error:
        # What the client makes of a cluster that has no controller yet.
        raise Transient("Kafka has no controller yet") from error
    by_name = {topic.name: topic for topic in missing}
    for name, code, *message in answer.topic_errors:
        kind = for_code(code)
        why = " ".join(str(message[0] if message and message[0] else kind.__name__).split()).rstrip(".")
        if kind in _NOT_ALLOWED:
            raise not_created(name)
        if code and kind is not TopicAlreadyExistsError:
            raise Transient(why) if is_transient(kind()) else _refused(by_name[name], why, settings)


_NOT_ALLOWED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)


def _request(topic: Topic, settings: Settings) -> NewTopic:
    config = dict(topic.config)
    if settings.topics.min_insync > 0:
        config["min.insync.replicas"] = str(settings.topics.min_insync)
    replicas = settings.topics.replication
    # The client takes -1, the brokers' default, only beside an assignment, and any other number only without one.
    assignment: dict[int, list[int]] | None = {} if replicas == -1 else None
    return NewTopic(topic.name, topic.partitions or settings.partitions, replicas, assignment, config)


def _refused(topic: Topic, why: str, settings: Settings) -> Refusal:
    replicas = settings.topics.replication
    wish = f" --replication-factor {replicas}" if replicas > 0 else ""
    options = "".join(f" --config {name}={value}" for name, value in topic.config.items())
    return Refusal(
        f"Kafka refuses to create the topic {topic.name}: {why}.",
        fix="set UPWELL_TOPICS_REPLICATION to at most the number of brokers, or create it by hand: "
        f"kafka-topics.sh --bootstrap-server {settings.brokers} --create --topic {topic.name} "
        f"--partitions {topic.partitions or settings.partitions}{wish}{options}",
    )


async def _found(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, Found]:
    """Describe topics that exist, as soon as the broker that is asked knows of all of them."""
    try:
        async with asyncio.timeout(KNOWN_WITHIN):
            while len(described := _partitions(await admin.describe_topics(names))) < len(names):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # a broker has no event for it
    except TimeoutError:
        raise Transient(f"Kafka does not know of new topics after {KNOWN_WITHIN:g} s") from None
    configs = await _configs(admin, names)
    return {name: Found(count, configs.get(name, {})) for name, count in described.items()}


def _partitions(described: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the partitions of each topic that is there and has leaders."""
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if not topic["error_code"] and topic["partitions"] and all(one["leader"] >= 0 for one in topic["partitions"])
    }


async def _configs(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    # All of a topic's configuration: asked for some of it, the embedded broker hangs up.
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answers = await admin.describe_configs(asked)
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in answers
        for code, _message, _kind, name, entries in answer.resources
        if not code
    }
