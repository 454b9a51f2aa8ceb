"""Upwell from outside: clients that are not ours push events, read what comes out, and hold it against the contract."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException

from tests.waiting import wait_until_sync

T = TypeVar("T")

PATIENCE = 90.0  # seconds: many times what an idle machine needs
MOST = 100  # entries of a history
SOURCES = {"neighbors", "path", "covisit", "next", "popular", "trending", "segment", "content", "repeat", "new"}
OWN = {"neighbors", "path", "covisit", "next", "content", "repeat"}  # these name items of the user's history


class Place(NamedTuple):
    """Where the broker put a message."""

    partition: int
    offset: int


class Message(NamedTuple):
    """A consumed message, untouched."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def json(self) -> Any:
        """Its value decoded."""
        return json.loads(self.value or b"null")


def event(user: str, item: str, kind: str = "view", **more: object) -> dict[str, object]:
    """An event as a shop sends it."""
    return {"type": kind, "user_id": user, "item_id": item, **more}


def _client(url: str) -> Any:
    """Redis, or a Redis Cluster by the first of its nodes."""
    if not url.startswith("redis+cluster://"):
        return redis.Redis.from_url(url)
    nodes = [node.split(":") for node in url.removeprefix("redis+cluster://").split(",")]
    return redis.RedisCluster(startup_nodes=[ClusterNode(host, int(port)) for host, port in nodes])


class Outside:
    """One set of topics and keys, through librdkafka and redis-py; `tree` are the settings of the worker behind."""

    def __init__(self, tree: Mapping[str, Any], **producer: object) -> None:
        self.topics: Mapping[str, str] = tree["topics"]
        self.prefix: str = tree["prefix"]
        self.brokers: str = tree["brokers"]
        self.redis = _client(tree["redis"])
        # Java's partitioner by default; librdkafka's own is another one.
        options = {"partitioner": "murmur2_random", "linger.ms": 2, "acks": "all", "message.max.bytes": 4 << 20}
        common = {"bootstrap.servers": self.brokers, "log_level": 0}
        self._producer = Producer({**common, **options, **producer})
        self._consumer = Consumer(
            {**common, "group.id": "outside", "enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 20}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.flush(10)
        self._consumer.close()
        self.redis.close()

    def push(self, *events: Mapping[str, object], keyed: bool = True) -> list[Place]:
        """Send events, by default keyed by their users, and wait until the broker has them."""
        return self.send(
            "events",
            [(str(one["user_id"]).encode() if keyed else None, json.dumps(one).encode()) for one in events],
        )

    def send(
        self, role: str, messages: Iterable[tuple[bytes | None, bytes | None]], within: float = PATIENCE, **options: Any
    ) -> list[Place]:
        """Send (key, value) pairs to a topic; gives their places in the order given."""
        places: dict[int, Place] = {}
        failures: list[KafkaError] = []
        count = 0
        for count, (key, value) in enumerate(messages, 1):
            self._produce(role, key, value, options, count, places, failures)
        left = self._producer.flush(within)
        assert (left, failures) == (0, []), f"of {count} events"
        return [places[number] for number in range(1, count + 1)]

    def _produce(self, role, key, value, options, number, places, failures) -> None:
        def done(error, message) -> None:
            if error:
                failures.append(error)
            else:
                places[number] = Place(message.partition(), message.offset())

        while True:
            try:
                self._producer.produce(self.topics[role], value, key, on_delivery=done, **options)
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def ends(self, role: str = "events") -> dict[int, int]:
        """The next offset of each partition that holds messages."""
        known = self._consumer.list_topics(self.topics[role], timeout=10).topics[self.topics[role]].partitions
        marks = {p: self._consumer.get_watermark_offsets(TopicPartition(self.topics[role], p), 10) for p in known}
        # The embedded broker takes the first message of the last batch for the end: look on from there.
        last = {partition: end - 1 for partition, (_, end) in marks.items() if end > 0}
        return last | {message.place.partition: message.place.offset + 1 for message in self._from(role, last)}

    def begin(self, role: str, partition: int = 0) -> int:
        """The first offset that a partition holds."""
        return self._consumer.get_watermark_offsets(TopicPartition(self.topics[role], partition), 10)[0]

    def applied(self) -> dict[int, int]:
        """What Redis says is applied: the next offset of each partition."""
        return {int(p): int(offset) for p, offset in self.redis.hgetall(f"{self.prefix}applied").items()}

    def settle(self, within: float = PATIENCE) -> None:
        """Wait until every event is applied, and hence answered."""
        wait_until_sync(self._settled, within=within, what="every event is applied", every=0.05)

    def _settled(self) -> bool:
        try:
            return self.applied() == self.ends()
        except (redis.RedisError, RedisClusterException, KafkaException):
            return False

    def wait(self, look: Callable[[], T], what: str) -> T:
        """Wait for something of this service."""
        return wait_until_sync(look, within=PATIENCE, what=what, every=0.05)

    def read(self, role: str) -> list[Message]:
        """All messages of a topic from its beginning to its present end, each partition in order."""
        known = self._consumer.list_topics(self.topics[role], timeout=10).topics[self.topics[role]].partitions
        return sorted(self._from(role, dict.fromkeys(known, OFFSET_BEGINNING)), key=lambda message: message.place)

    def _from(self, role: str, begins: Mapping[int, int]) -> Iterator[Message]:
        self._consumer.assign([TopicPartition(self.topics[role], *begin) for begin in begins.items()])
        waiting = set(begins)
        while waiting:
            message = self._consumer.poll(30.0)
            assert message is not None, f"no answer from {self.topics[role]} for 30 s"
            if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                waiting.discard(message.partition())
            elif message.error():
                raise KafkaException(message.error())
            else:
                place = Place(message.partition(), message.offset())
                yield Message(place, message.key(), message.value(), dict(message.headers() or ()))
        self._consumer.unassign()

    def recommendations(self, user: str | None = None) -> list[dict[str, Any]]:
        """The decoded recommendations, of all users or one, in the order of the topic; all hold the contract."""
        messages = [message for message in self.read("recommendations") if user in (None, (message.key or b"").decode())]
        return [as_promised(message) for message in messages]

    def newest(self) -> dict[str, dict[str, Any]]:
        """Each user's newest recommendation."""
        return {(message.key or b"").decode(): message.json for message in self.read("recommendations")}

    def user(self, user: str) -> dict[str, Any]:
        """A user's hash with its JSON fields decoded."""
        return decoded(self.redis.hgetall(f"{self.prefix}user:{user}"))

    def users(self, users: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Many users' hashes, in one round trip."""
        pipeline = self.redis.pipeline(transaction=False)
        for user in users:
            pipeline.hgetall(f"{self.prefix}user:{user}")
        return {user: decoded(stored) for user, stored in zip(users, pipeline.execute(), strict=True)}

    def named(self, user: str) -> list[str]:
        """Where the bytes of an id are in Redis, and in the snapshots that it holds."""
        return [*self._named_keys(user.encode()), *self._named_snapshots(user.encode())]

    def _named_keys(self, user: bytes) -> Iterator[str]:
        for key in self.redis.scan_iter(f"{self.prefix}*", count=1000):
            kind = self.redis.type(key)
            if kind == b"hash":
                texts = [text for pair in self.redis.hgetall(key).items() for text in pair]
            else:
                texts = self.redis.zrange(key, 0, -1) if kind == b"zset" else [self.redis.get(key) or b""]
            if any(user in text for text in (key, *texts)):
                yield key.decode()

    def _named_snapshots(self, user: bytes) -> Iterator[str]:
        for name, told in self.hash("snapshot").items():
            one = json.loads(told) if name in {"newest", "previous"} else {"parts": 0}
            keys = [f"{self.prefix}snapshot:{one['offset']}:{one['writer']}:{n}" for n in range(one["parts"])]
            data = b"".join(self.redis.get(key) or b"" for key in keys)
            begin = 10 + int.from_bytes(data[6:10], "little")  # ULSNAP, the length of the header, the header
            if data and user in data[:begin] + zlib.decompressobj().decompress(data[begin:]):
                yield f"snapshot {name}"

    def named_in_log(self, user: str) -> list[int]:
        """The offsets of the learned log's records that hold the bytes of an id."""
        return [message.place.offset for message in self.read("learned") if user.encode() in (message.value or b"")]

    def hash(self, key: str) -> dict[str, str]:
        """A hash as text."""
        return {name.decode(): value.decode() for name, value in self.redis.hgetall(self.prefix + key).items()}


def wish(user: str, kind: str = "forget", **fields: object) -> dict[str, object]:
    """An event about the user, not about an item."""
    return {"type": kind, "user_id": user} | fields


def consent(user: str, *, given: bool) -> dict[str, object]:
    """A user's yes or no."""
    return wish(user, "consent", properties={"consent": given})


def decoded(stored: Mapping[bytes, bytes]) -> dict[str, Any]:
    """A user hash with numbers as numbers and JSON decoded."""
    return {name.decode(): json.loads(value) for name, value in stored.items()}


def histories(events: Iterable[Mapping[str, object]]) -> dict[str, list[tuple[str, str]]]:
    """What every user's history must hold: (item, type), newest first; all of it, not only the last hundred."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for one in events:
        found[str(one["user_id"])].insert(0, (str(one["item_id"]), str(one["type"])))
    return found


def assert_exact(outside: Outside, events: Sequence[Mapping[str, object]], places: Sequence[Place] = ()) -> None:
    """Every user's `events` and `history` are what was sent; with places, so is the trigger of the newest answer."""
    expected = histories(events)
    stored = outside.users(list(expected))
    wrong = {
        user: (stored[user].get("events"), len(sent))
        for user, sent in expected.items()
        if stored[user].get("events") != len(sent)
    }
    assert not wrong, f"(stored, sent) events differ for {len(wrong)} of {len(expected)} users: {dict(list(wrong.items())[:5])}"
    for user, sent in expected.items():
        assert [(entry["item_id"], entry["type"]) for entry in stored[user]["history"]] == sent[:MOST], user
    if places:
        assert_newest(outside, events, places)


def assert_newest(outside: Outside, events: Sequence[Mapping[str, object]], places: Sequence[Place]) -> None:
    """Each user's newest recommendation carries that user's last offset, in Kafka and in Redis."""
    last = {str(one["user_id"]): place for one, place in zip(events, places, strict=True)}
    newest = outside.newest()
    stored = outside.users(list(last))
    for user, place in last.items():
        for answer in (newest[user], stored[user]["recommendations"]):
            assert (answer["trigger"]["partition"], answer["trigger"]["offset"]) == place, user


def taught(outside: Outside) -> int:
    """How many events the models say they were taught."""
    return int(outside.hash("model").get("events", 0))


def as_promised(message: Message) -> dict[str, Any]:
    """Decode a recommendation after checking every field and type of the contract."""
    said: dict[str, Any] = message.json
    assert list(said) == [
        "recommendation_id", "user_id", "generated_at", "trigger", "segment", "model_version", "items", "latency_ms",
    ]  # fmt: skip
    assert message.key == said["user_id"].encode()
    assert isinstance(said["recommendation_id"], str)
    assert said["recommendation_id"]
    assert isinstance(said["generated_at"], float)
    assert said["generated_at"] > 1.6e9
    assert isinstance(said["latency_ms"], float)
    assert said["latency_ms"] >= 0
    assert type(said["model_version"]) is int
    assert said["model_version"] >= 0
    assert said["segment"] is None or (type(said["segment"]) is int and 0 <= said["segment"] < 64)
    trigger = said["trigger"]
    assert list(trigger) == ["partition", "offset", "event_id"]
    assert type(trigger["partition"]) is int
    assert type(trigger["offset"]) is int
    assert trigger["event_id"] is None or isinstance(trigger["event_id"], str)
    _items_as_promised(said["items"])
    return said


def _items_as_promised(items: list[dict[str, Any]]) -> None:
    assert len({item["item_id"] for item in items}) == len(items) <= 10
    scores = [item["score"] for item in items]
    assert all(isinstance(score, float) for score in scores)
    assert scores == sorted(scores, reverse=True)
    for item in items:
        assert list(item) == ["item_id", "score", "reasons"]
        assert isinstance(item["item_id"], str)
        assert item["item_id"]
        assert 1 <= len(item["reasons"]) <= 3
        for reason in item["reasons"]:
            assert list(reason) == ["source", "share", "because"]
            assert reason["source"] in SOURCES
            assert isinstance(reason["share"], float)
            assert 0 < reason["share"] <= 1
            assert all(isinstance(one, str) for one in reason["because"])
            assert len(reason["because"]) <= 2
            assert reason["source"] in OWN or not reason["because"]
        shares = [reason["share"] for reason in item["reasons"]]
        # The three strongest reasons are named: fewer than three are the whole score.
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.02
        assert len(shares) == 3 or sum(shares) >= 0.98
