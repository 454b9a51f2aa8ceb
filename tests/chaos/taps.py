"""What the topics hold, read as it comes: the learned log is cut below its snapshots, so nobody can read all of it later."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.waiting import wait_until_sync

TRIES, WITHIN = 6, 20.0  # seconds that a consumer may take to read what is there
ROLES = ("events", "items", "recommendations", "dead", "learned")


class Seen(NamedTuple):
    """A message as it was read."""

    partition: int
    offset: int
    time: int  # ms
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class Taps:
    """Reads every topic from its beginning on, in a thread of its own; `drawn` gives what came since."""

    def __init__(self, brokers: str, topics: dict[str, str], begins: dict[tuple[str, int], int] | None = None) -> None:
        self._roles = {topics[role]: role for role in ROLES}
        self._common = {"bootstrap.servers": brokers, "log_level": 0, "topic.metadata.refresh.interval.ms": 1_000}
        self._stuck = threading.Event()
        self._came: dict[str, deque[Seen]] = {role: deque() for role in ROLES}
        self.next: dict[tuple[str, int], int] = dict(begins or {})
        self._thread = threading.Thread(target=self._run, name="taps", daemon=True)
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        known = AdminClient(self._common).list_topics(timeout=30).topics
        for topic, role in self._roles.items():
            for partition in known[topic].partitions:
                self.next.setdefault((role, partition), 0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Read no further; what came can still be drawn."""
        self._ended.set()
        self._thread.join()

    def _open(self) -> Consumer:
        """A consumer that goes on where the last one was. Behind a cut log there would be a gap: an error, no new beginning."""
        consumer = Consumer({**self._common, "group.id": "taps", "enable.auto.commit": False, "auto.offset.reset": "error"})
        names = {role: topic for topic, role in self._roles.items()}
        consumer.assign([TopicPartition(names[role], partition, at) for (role, partition), at in self.next.items()])
        return consumer

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._stuck.clear()
                self._read(self._open())
        except Exception as failure:  # noqa: BLE001 - raised again by who draws
            self._failure = failure

    def _read(self, consumer: Consumer) -> None:
        try:
            while not self._ended.is_set() and not self._stuck.is_set():
                for message in consumer.consume(500, 0.1):
                    self._take(message)
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:
        if error := message.error():
            # A broker that is away comes back; everything else is for us to know.
            if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
                raise KafkaException(error)
            return
        role = self._roles[message.topic()]
        place = message.partition(), message.offset()
        if place[1] < self.next[role, place[0]]:
            return  # read once more after the broker was away
        seen = Seen(*place, message.timestamp()[1], message.key(), message.value(), dict(message.headers() or ()))
        self._came[role].append(seen)
        self.next[role, place[0]] = place[1] + 1

    def drawn(self, role: str) -> list[Seen]:
        """Give what came of a topic since the last time, each partition in order."""
        came = self._came[role]
        return [came.popleft() for _ in range(len(came))]

    def catch_up(self, ends: dict[tuple[str, int], int]) -> None:
        """Wait until all below these ends came; librdkafka may stand still after a broker was away, and is then begun anew."""
        for _ in range(TRIES):
            with contextlib.suppress(AssertionError):
                wait_until_sync(lambda: self._failure or self._has(ends), within=WITHIN, what="what the topics hold is read")
                break
            self._stuck.set()
        if self._failure is not None:
            raise self._failure
        assert self._has(ends), f"read up to {self.next}, the topics end at {ends}"

    def _has(self, ends: dict[tuple[str, int], int]) -> bool:
        return all(self.next.get(place, 0) >= end for place, end in ends.items())
