"""The client of the latency figure, in a process of its own: `python -m streams.bench.listener BROKERS TOPIC PARTITIONS`.

It says `ready` when it stands at the end of the topic, notes the moment at which each message arrives, and when its
standard input ends prints a JSON array of [moment, user, number, moment at which the event was due].
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPlace

from streams.servers import consuming

Arrival = tuple[float, str, int, float]

PATIENCE = 30.0  # s until the broker must have answered
LOOK = 0.1  # s between two looks whether to end


def listen(brokers: str, topic: str, partitions: int) -> list[tuple[float, bytes]]:
    """Give moment and value of every message until standard input ends; by librdkafka where confluent-kafka is installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        return asyncio.run(_listen_by_aiokafka(brokers, topic, partitions))
    return _listen_by_librdkafka(brokers, topic, partitions)


def _listen_by_librdkafka(brokers: str, topic: str, partitions: int) -> list[tuple[float, bytes]]:
    from confluent_kafka import Consumer, TopicPartition

    arrived: list[tuple[float, bytes]] = []
    # A consumer must name a group; nobody joins this one, and nothing is committed to it.
    options = {"bootstrap.servers": brokers, "group.id": "listener", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    consumer = Consumer(options)
    try:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        for place in places:
            _, place.offset = consumer.get_watermark_offsets(place, timeout=PATIENCE)
        consumer.assign(places)
        _ready()
        ended = threading.Event()
        threading.Thread(target=_until_end, args=(ended,), daemon=True).start()
        while not ended.is_set():
            message = consumer.poll(LOOK)
            if message is not None and message.error() is None:
                arrived.append((time.time(), message.value() or b""))
    finally:
        consumer.close()
    return arrived


def _until_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


async def _listen_by_aiokafka(brokers: str, topic: str, partitions: int) -> list[tuple[float, bytes]]:
    arrived: list[tuple[float, bytes]] = []
    async with consuming(brokers, fetch_max_wait_ms=100) as consumer:
        places = [AioPlace(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        for place in places:
            await consumer.position(place)
        _ready()
        reading = asyncio.create_task(_read(consumer, arrived))
        await asyncio.to_thread(sys.stdin.read)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    return arrived


async def _read(consumer: AIOKafkaConsumer, arrived: list[tuple[float, bytes]]) -> None:
    while True:
        found = await consumer.getmany(timeout_ms=1000)
        now = time.time()
        arrived += [(now, message.value) for messages in found.values() for message in messages]


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def arrival(at: float, value: bytes) -> Arrival:
    """What is needed of a message, be it a recommendation or an event."""
    found = msgspec.json.decode(value)
    number = found["event_id"] if "event_id" in found else found["trigger"]["event_id"]
    return at, found["user_id"], int(number), found.get("timestamp", 0.0)


def main(arguments: Sequence[str]) -> None:
    """Be the client."""
    brokers, topic, partitions = arguments
    arrived = listen(brokers, topic, int(partitions))
    sys.stdout.write(f"{msgspec.json.encode([arrival(at, value) for at, value in arrived]).decode()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
