"""The load of the latency figure, in a process of its own: `python -m streams.bench.sender BROKERS TOPIC RATE EVENTS FIRST`.

Open loop: event n is due at begin + n/RATE whatever became of the others, and carries that moment as its timestamp. A
sender or a broker that falls behind makes later events late, and that counts (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import numpy as np

from streams.bench.world import Message, World
from streams.servers import producing

SOON = 0.05  # s from the start to the first event
PATIENCE = 30.0  # s until the broker must have answered
LINGER = 5  # ms that librdkafka waits for company, or a request for each event would be most of a broker's work

Lateness = tuple[float, "np.ndarray"]


def send(brokers: str, topic: str, rate: float, count: int, first: int) -> dict[str, float]:
    """Send `count` events on their schedule; tell how late they were handed over.

    By librdkafka where confluent-kafka is installed: a client in Python takes a quarter of a core, which a customer's would not.
    """
    rows = [row for chunk in World(seed=1 + first).backlog(count, 0.0) for row in chunk]
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        begin, late = asyncio.run(_send_by_aiokafka(brokers, topic, rate, rows, first))
    else:
        begin, late = _send_by_librdkafka(brokers, topic, rate, rows, first)
    return {"begin": begin, "late_p50_ms": 1000 * float(np.median(late)), "late_max_ms": 1000 * float(late.max())}


def _send_by_librdkafka(brokers: str, topic: str, rate: float, rows: Sequence[Message], first: int) -> Lateness:
    from confluent_kafka import KafkaException, Producer

    refused: list[object] = []
    late = np.zeros(len(rows))
    options = {"bootstrap.servers": brokers, "acks": "all", "linger.ms": LINGER, "partitioner": "murmur2_random"}
    producer = Producer(options, on_delivery=lambda error, _: refused.append(error) if error else None)
    producer.list_topics(topic, timeout=PATIENCE)
    begin = time.time() + SOON
    for n, (key, value) in enumerate(rows):
        due = begin + n / rate
        while (now := time.time()) < due:
            time.sleep(due - now)
        late[n] = now - due
        producer.produce(topic, _timed(value, first + n, due), key)
        producer.poll(0)
    if producer.flush(PATIENCE) or refused:
        raise KafkaException(refused[0] if refused else "events are left unsent")
    return begin, late


async def _send_by_aiokafka(brokers: str, topic: str, rate: float, rows: Sequence[Message], first: int) -> Lateness:
    late = np.zeros(len(rows))
    async with producing(brokers, linger_ms=0) as producer:
        await producer.partitions_for(topic)
        begin = time.time() + SOON
        waiting = []
        for n, (key, value) in enumerate(rows):
            due = begin + n / rate
            while (now := time.time()) < due:  # noqa: ASYNC110 - a schedule, not a wait for something
                await asyncio.sleep(due - now)
            late[n] = now - due
            waiting.append(await producer.send(topic, _timed(value, first + n, due), key))
        await asyncio.gather(*waiting)
    return begin, late


def _timed(value: bytes, number: int, due: float) -> bytes:
    """The event with its number and the moment at which it is due."""
    return b'%b"event_id":"%d","timestamp":%.6f}' % (value[: value.index(b'"event_id"')], number, due)


def main(arguments: Sequence[str]) -> None:
    """Be the load."""
    brokers, topic, rate, count, first = arguments
    said = send(brokers, topic, float(rate), int(count), int(first))
    sys.stdout.write(f"{json.dumps(said)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
