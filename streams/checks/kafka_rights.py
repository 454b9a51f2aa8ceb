"""Whether this login may do with the topics what a worker does: a broker tells it of each topic (KIP-430, Kafka 2.3).

The client library speaks older versions of the question, which lack the answer; hence the two messages below, as in Kafka's
MetadataRequest.json and MetadataResponse.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streams.checks.check import Check
from streams.topics import topics

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

    from streams.settings import Settings

OPERATIONS = {"READ": 3, "WRITE": 4}  # AclOperation: the bits of the answer
NEEDED: Mapping[str, tuple[str, ...]] = {
    "events": ("READ", "WRITE"),  # an event of another partition is written to its own
    "items": ("READ",),
    "recommendations": ("WRITE",),
    "segments": ("WRITE",),
    "dead": ("WRITE",),
    "learned": ("READ", "WRITE"),
}
ONLY_WORKERS = ("recommendations", "segments", "dead")  # write these
HIDDEN = 29  # TOPIC_AUTHORIZATION_FAILED: it may be there or not
UNTOLD = -(2**31)
_NAME = String("utf-8")
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", Array(Int32)),
    ("isr", Array(Int32)),
    ("offline_replicas", Array(Int32)),
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", _NAME),
    ("is_internal", Boolean),
    ("partitions", Array(*_PARTITION)),
    ("authorized_operations", Int32),
)
_BROKER = (("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME))


class _Told(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(*_BROKER)),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        ("topics", Array(*_TOPIC)),
        ("authorized_operations", Int32),
    )


class _Question(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _Told
    SCHEMA = Schema(
        ("topics", Array(_NAME)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Asked(Request[_Question]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [*names]

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class(self._names, False, False, True)  # noqa: FBT003 - the message has its fields in a row


async def kafka_rights(admin: AIOKafkaAdminClient, settings: Settings) -> list[Check]:
    """Look at the topics that are there, or hidden; nothing is said where there are none, or the broker does not tell."""
    names = {topic.name: role for role, topic in topics(settings).items() if role in NEEDED}
    try:
        told: Any = await admin._send_request(_Asked(names))  # noqa: SLF001 - there is no public way to ask a question of one's own
    except (IncompatibleBrokerVersion, NotImplementedError):
        return []
    allowed = {names[topic[1]]: may(topic[0], topic[4]) for topic in told.topics if topic[0] == HIDDEN or topic[4] != UNTOLD}
    return [judged(allowed, settings)] if allowed else []


def may(error: int, operations: int) -> frozenset[str]:
    """Which of the operations that workers need are in a broker's answer: none where the topic is hidden."""
    return frozenset(name for name, bit in OPERATIONS.items() if error != HIDDEN and operations >> bit & 1)


def judged(allowed: Mapping[str, frozenset[str]], settings: Settings) -> Check:
    """Judge what is allowed, by role: all of it, a part, or so little that this is nobody who runs workers."""
    name, named = "kafka rights", {role: topic.name for role, topic in topics(settings).items()}
    lacking = [f"{right} the topic {named[role]}" for role in allowed for right in NEEDED[role] if right not in allowed[role]]
    if not lacking:
        return Check(name, ok=True, found="this user may do with the topics what a worker does")
    if not any("WRITE" in allowed.get(role, ()) for role in ONLY_WORKERS):
        found = "this user is none for workers, it may not write what they write; look with a worker's login, too"
        return Check(name, ok=True, found=found)
    fix = "give it with kafka-acls.sh; docs/security.md lists the rights that each command needs, as commands to copy"
    return Check(name, ok=False, found=f"a worker with this login may not {', '.join(lacking)}", fix=fix)
