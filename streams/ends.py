"""Where a partition ends, for those who would refuse one that ends too early."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["end_of"]

_LOOK_MS = 1000


async def end_of(consumer: AIOKafkaConsumer, place: TopicPartition, told: int) -> int:
    """Give the end that a fetch shows, where the end that was ``told`` is less than what was read before.

    The embedded broker, asked for a partition's end, tells the first offset of its last batch plus one. Seek afterwards.
    """
    consumer.seek(place, told)
    await consumer.getmany(place, timeout_ms=_LOOK_MS, max_records=1)
    return max(told, consumer.highwater(place) or 0)
