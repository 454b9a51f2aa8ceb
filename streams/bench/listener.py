"""The client of a load, in a process of its own: `python -m streams.bench.listener BROKERS TOPIC PARTITIONS`.

It says `ready` when it stands at the end of the topic, and then, until its standard input ends, a JSON array of
[moment of arrival, user, number, moment at which the event was due] for each message. It keeps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from streams.bench.sender import until_end

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer
    from confluent_kafka import Consumer, TopicPartition

Arrival = tuple[float, str, int, float]

PATIENCE = 30.0  # s until the broker must have answered
LOOK = 0.1  # s between two looks whether to end


class _Trigger(msgspec.Struct):
    event_id: str


class _Message(msgspec.Struct):
    """A recommendation, whose trigger has the number of an event, or the event itself."""

    user_id: str
    event_id: str = ""
    timestamp: float = 0.0
    trigger: _Trigger = msgspec.field(default_factory=lambda: _Trigger(""))


_decode = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


def listen(brokers: str, topic: str, partitions: int, ended: threading.Event) -> None:
    """Tell of every message until the end; by librdkafka where confluent-kafka is installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        asyncio.run(_listen_by_aiokafka(brokers, topic, partitions, ended))
    else:
        _listen_by_librdkafka(brokers, topic, partitions, ended)


def _listen_by_librdkafka(brokers: str, topic: str, partitions: int, ended: threading.Event) -> None:
    from confluent_kafka import Consumer, TopicPartition

    # A consumer must name a group; nobody joins this one, and nothing is committed to it.
    options = {"bootstrap.servers": brokers, "group.id": "listener", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    consumer = Consumer(options)
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        for place in places:
            place.offset = _end(consumer, place)
        consumer.assign(places)
        _ready()
        while not ended.is_set():
            message = consumer.poll(LOOK)
            if message is None:
                sys.stdout.flush()
            elif message.error() is None:
                _tell(time.time(), message.value() or b"")
    finally:
        consumer.close()


def _end(consumer: Consumer, place: TopicPartition) -> int:
    """Where the partition ends; a topic that was just made may have no leader yet, which librdkafka leaves to its user."""
    from confluent_kafka import KafkaException

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            _, offset = consumer.get_watermark_offsets(place, timeout=PATIENCE)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK)
        else:
            return int(offset)


async def _listen_by_aiokafka(brokers: str, topic: str, partitions: int, ended: threading.Event) -> None:
    from aiokafka import TopicPartition

    from streams.servers import consuming
    from streams.settings import Settings

    async with consuming(Settings(brokers=brokers), fetch_max_wait_ms=100) as consumer:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        _ready()
        reading = asyncio.create_task(_read(consumer))
        await asyncio.to_thread(ended.wait)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


async def _read(consumer: AIOKafkaConsumer) -> None:
    while True:
        found = await consumer.getmany(timeout_ms=1000)
        now = time.time()
        for messages in found.values():
            for message in messages:
                _tell(now, message.value)
        sys.stdout.flush()


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _tell(at: float, value: bytes) -> None:
    sys.stdout.write(f"{_encode(arrival(at, value)).decode()}\n")


def arrival(at: float, value: bytes) -> Arrival:
    """What is needed of a message, be it a recommendation or an event."""
    found = _decode(value)
    return at, found.user_id, int(found.event_id or found.trigger.event_id), found.timestamp


def main(arguments: Sequence[str]) -> None:
    """Be the client."""
    brokers, topic, partitions = arguments
    ended = threading.Event()
    threading.Thread(target=until_end, args=(ended,), daemon=True).start()
    listen(brokers, topic, int(partitions), ended)
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
