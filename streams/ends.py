"""Where partitions begin and end.

The embedded broker, asked for a partition's end, tells the first offset of its last batch plus one; only what it gives with a
fetch is the end.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.servers import reading

if TYPE_CHECKING:
    from streams.settings import Settings

__all__ = ["begin_of", "end_of", "ends_of"]

_LOOK_MS = 1000


async def begin_of(settings: Settings, topic: str) -> int:
    """Give the first offset that a topic of one partition holds."""
    place = TopicPartition(topic, 0)
    async with reading(settings) as consumer:
        consumer.assign([place])
        return int((await consumer.beginning_offsets([place]))[place])


async def end_of(consumer: AIOKafkaConsumer, place: TopicPartition, told: int) -> int:
    """Give the end that a fetch shows, where the end that was ``told`` is less than what was read before. Seek afterwards."""
    return (await _shown(consumer, {place: told}))[place]


async def ends_of(consumer: AIOKafkaConsumer, places: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Assign these partitions and give their ends, in at most a second. Seek afterwards."""
    if not places:
        return {}
    consumer.assign(places)
    return await _shown(consumer, await consumer.end_offsets(places))


async def _shown(consumer: AIOKafkaConsumer, told: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    for place, end in told.items():
        consumer.seek(place, end)
    await consumer.getmany(*told, timeout_ms=_LOOK_MS, max_records=1)
    return {place: max(end, consumer.highwater(place) or 0) for place, end in told.items()}
