"""The load: a shop whose events come twice, late, without a key and damaged; sent by librdkafka, which tries again on its own."""

from __future__ import annotations

import json
import random
import threading
from typing import Any, Self

from confluent_kafka import Producer

from tests.waiting import wait_until_sync

KINDS = ("view",) * 6 + ("click", "click", "cart", "purchase", "dislike")
BREATH = 0.02  # seconds between two handfuls
SPEED = 1_000  # events a second
TWICE, LATE, UNKEYED, DAMAGED, DATED, ENTRY = 0.02, 0.02, 0.02, 0.004, 0.05, 0.01  # shares
HELD = 50  # events that are late wait until so many others went before
HOUR = 3_600.0
NO_EVENTS = (b"{", b"null", b'{"type":"view"}', b"\xff\xfe", b"")


class Load:
    """Sends as many events as it is allowed to, at a pace, in a thread of its own; what the topic holds then is the truth."""

    def __init__(self, brokers: str, topics: dict[str, str], seed: int, *, users: int = 1_000, items: int = 1_500) -> None:
        options = {"partitioner": "murmur2_random", "linger.ms": 2, "acks": "all", "enable.idempotence": False}
        self._producer = Producer({"bootstrap.servers": brokers, "log_level": 0, **options})
        self._topics = topics
        self._chance = random.Random(seed)
        self._users, self._items = users, items
        self._late: list[tuple[int, bytes, bytes]] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._ended = threading.Event()
        self._allowed = 0
        self._failure: Exception | None = None
        self.sent = 0
        self.failed = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def allow(self, events: int) -> None:
        """Let so many more be sent."""
        self._allowed += events

    def reaches(self, count: int, within: float = 180.0) -> None:
        """Wait until so many were handed to librdkafka."""
        wait_until_sync(lambda: self._failure or self.sent >= count, within=within, what=f"{count} events are sent")
        if self._failure is not None:
            raise self._failure

    def rest(self) -> None:
        """Wait until Kafka has all that was allowed."""
        self.reaches(self._allowed)
        wait_until_sync(lambda: not len(self._producer), within=180, what="Kafka has all events")

    def _run(self) -> None:
        handful = int(SPEED * BREATH)
        try:
            while not self._ended.wait(BREATH):
                for _ in range(min(handful, self._allowed - self.sent)):
                    self._one()
                self._producer.poll(0)
        except Exception as failure:  # noqa: BLE001 - raised again by who waits
            self._failure = failure

    def _one(self) -> None:
        chance = self._chance
        self.sent += 1
        if chance.random() < ENTRY:
            self._entry()
        if chance.random() < DAMAGED:
            self._send("events", b"u0", chance.choice(NO_EVENTS))
            return
        key, value = self._event()
        if chance.random() < LATE:
            self._late.append((self.sent + HELD, key, value))
            return
        self._send("events", None if chance.random() < UNKEYED else key, value)
        if chance.random() < TWICE:
            self._late.append((self.sent + chance.randrange(HELD), key, value))
        while self._late and self._late[0][0] <= self.sent:
            _, key, value = self._late.pop(0)
            self._send("events", key, value)

    def _event(self) -> tuple[bytes, bytes]:
        chance = self._chance
        user = f"u{int(self._users * chance.random() ** 1.5)}"
        item = f"i{int(self._items * chance.random() ** 3)}"
        event: dict[str, Any] = {"type": chance.choice(KINDS), "user_id": user, "item_id": item, "event_id": f"e{self.sent}"}
        if chance.random() < DATED:
            # A fixed day, so that the bytes are a function of the seed.
            event["timestamp"] = 1_767_225_600.0 + HOUR * chance.random()
        return user.encode(), json.dumps(event).encode()

    def _entry(self) -> None:
        item = f"i{int(self._items * self._chance.random() ** 3)}"
        entry = {"item_id": item, "name": f"Item {item} as of {self.sent}", "brand": f"b{self._chance.randrange(20)}"}
        entry["category"] = f"c{self._chance.randrange(8)}/d{self._chance.randrange(5)}"
        self._send("items", item.encode(), json.dumps(entry).encode())

    def _send(self, role: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topics[role], value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: object, _: object) -> None:
        self.failed += error is not None
