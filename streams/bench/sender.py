"""The load, in a process of its own: `python -m streams.bench.sender BROKERS TOPIC SCHEDULE`.

Open loop: event n is due at begin + n/RATE whatever became of the others, and carries that moment as its timestamp. A
sender or a broker that falls behind makes later events late, and that counts (no coordinated omission). It prints the
moment of its begin, and at its end, which comes early when its standard input ends, how late events were handed over.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from streams.bench.schedule import Schedule
from streams.bench.world import Message

SOON = 0.05  # s from the start to the first event
PATIENCE = 30.0  # s until the broker must have answered
LINGER = 1  # ms that librdkafka waits for company, or a request for each event would be most of a broker's work


class Pace:
    """Says when each event is due, and notes how late it was."""

    def __init__(self, schedule: Schedule, ended: threading.Event) -> None:
        self._schedule, self._ended = schedule, ended
        self.late = np.zeros(schedule.count, np.float32)
        self.sent = 0
        self.begin = 0.0

    def rows(self) -> Iterator[tuple[float, int, Message]]:
        """Due moment, number and message of each event, until the sender is to end; the first moment is told."""
        self.begin = time.time() + SOON
        _say({"begin": self.begin})
        for n, row in enumerate(self._schedule.rows()):
            if self._ended.is_set():
                return
            yield self.begin + n / self._schedule.rate, self._schedule.first + n, row

    def note(self, late: float) -> None:
        """An event is handed over now, so many seconds late."""
        self.late[self.sent] = late
        self.sent += 1

    def told(self) -> dict[str, float]:
        """How late they were."""
        p50, p99, most = (1000 * np.percentile(self.late[: self.sent] if self.sent else [0.0], [50, 99, 100])).tolist()
        return {"begin": self.begin, "count": self.sent, "late_p50_ms": p50, "late_p99_ms": p99, "late_max_ms": most}


def send(brokers: str, topic: str, pace: Pace) -> None:
    """Send events on their schedule.

    By librdkafka where confluent-kafka is installed: a client in Python takes a quarter of a core, which a customer's would not.
    """
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        asyncio.run(_send_by_aiokafka(brokers, topic, pace))
    else:
        _send_by_librdkafka(brokers, topic, pace)


def _send_by_librdkafka(brokers: str, topic: str, pace: Pace) -> None:
    from confluent_kafka import KafkaException, Producer

    refused: list[object] = []
    options = {"bootstrap.servers": brokers, "acks": "all", "linger.ms": LINGER, "partitioner": "murmur2_random"}
    producer = Producer(options, on_delivery=lambda error, _: refused.append(error) if error else None)
    producer.list_topics(topic, timeout=PATIENCE)
    for due, number, (key, value) in pace.rows():
        while (now := time.time()) < due:
            time.sleep(due - now)
        pace.note(now - due)
        producer.produce(topic, _timed(value, number, due), key)
        producer.poll(0)
    if producer.flush(PATIENCE) or refused:
        raise KafkaException(refused[0] if refused else "events are left unsent")


async def _send_by_aiokafka(brokers: str, topic: str, pace: Pace) -> None:
    from streams.servers import producing
    from streams.settings import Settings

    async with producing(Settings(brokers=brokers), linger_ms=0) as producer:
        await producer.partitions_for(topic)
        waiting: set[asyncio.Future[object]] = set()
        for due, number, (key, value) in pace.rows():
            while (now := time.time()) < due:  # noqa: ASYNC110 - a schedule, not a wait for something
                await asyncio.sleep(due - now)
            pace.note(now - due)
            sent = await producer.send(topic, _timed(value, number, due), key)
            waiting.add(sent)
            sent.add_done_callback(lambda one: None if one.exception() else waiting.discard(one))  # a failure stays
        await asyncio.gather(*waiting)


def _timed(value: bytes, number: int, due: float) -> bytes:
    """The event with its number and the moment at which it is due."""
    return b'%b"event_id":"%d","timestamp":%.6f}' % (value[: value.index(b'"event_id"')], number, due)


def _say(found: dict[str, float]) -> None:
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def until_end(ended: threading.Event) -> None:
    """Set the event when standard input ends."""
    sys.stdin.read()
    ended.set()


def main(arguments: Sequence[str]) -> None:
    """Be the load."""
    brokers, topic, schedule = arguments
    ended = threading.Event()
    threading.Thread(target=until_end, args=(ended,), daemon=True).start()
    pace = Pace(Schedule.read(schedule), ended)
    send(brokers, topic, pace)
    _say(pace.told())


if __name__ == "__main__":
    main(sys.argv[1:])
