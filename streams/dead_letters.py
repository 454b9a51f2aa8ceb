"""Dead letters: what is in the topic, and which of it are meant."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.ends import ends_of

LARGEST = 16 << 20  # bytes of a message: a dead letter may be as large as any event that a broker took
POLL = 1_000  # ms
HEADERS: Final = frozenset(f"upwell.{name}" for name in ("topic", "partition", "offset", "stage", "error", "message"))
OMITTED: Final = "upwell.omitted"
"""Header of a letter whose bytes its topic does not take: how many they are. They stay where they came from."""
_OWN: Final = re.compile(r"(\d+):(\d+)", re.ASCII)
_ORIGIN: Final = re.compile(r"(.+)-(\d+)-(\d+)", re.ASCII)
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class _Message(Protocol):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its own place, where it came from and why, and the bytes as they were."""

    partition: int
    offset: int
    at: float
    topic: str
    origin: str
    stage: str
    error: str
    message: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def place(self) -> str:
        """Its own place among the dead letters, as PARTITION:OFFSET."""
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant: by reasons, by when they were buried (s), by places; without any, all of them."""

    reasons: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None
    places: frozenset[str] = frozenset()

    def takes(self, one: Letter) -> bool:
        """Tell whether this letter is meant."""
        return (
            (not self.reasons or one.error in self.reasons)
            and (self.since is None or one.at >= self.since)
            and (self.until is None or one.at < self.until)
            and (not self.places or one.place in self.places or one.origin in self.places)
        )


def moment_of(said: str, now: float) -> float:
    """Read a time: how long ago, as 90s, 30m, 2h, 7d or 1w, or ISO 8601, in UTC if it names no zone; ValueError else."""
    if ago := _AGO.fullmatch(said.strip()):
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])}).total_seconds()
    try:
        at = datetime.fromisoformat(said.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{said!r} is no time; write 2h (or 90s, 30m, 7d) or 2026-01-31T12:00") from None


def place_of(said: str) -> str:
    """Check a place: PARTITION:OFFSET of the letter, or TOPIC-PARTITION-OFFSET that it came from; ValueError else."""
    if _OWN.fullmatch(said) or _ORIGIN.fullmatch(said):
        return said
    raise ValueError(f"{said!r} is no place; take one from `upwell dead list`: 0:17 or events-3-1024")


def letter(partition: int, message: _Message) -> Letter:
    """Read a dead letter; headers that are not there are empty, for anybody may write to a topic."""
    told = {name: value.decode(errors="replace") for name, value in message.headers if value is not None}
    topic, place, offset, stage, error, sentence = (
        told.get(f"upwell.{name}", "") for name in ("topic", "partition", "offset", "stage", "error", "message")
    )
    own = tuple((name, value) for name, value in message.headers if name not in HEADERS)
    at = message.timestamp / 1000
    origin = f"{topic}-{place}-{offset}"
    return Letter(partition, message.offset, at, topic, origin, stage, error, sentence, message.key, message.value, own)


async def chosen(consumer: AIOKafkaConsumer, topic: str, choice: Choice) -> AsyncIterator[Letter]:
    """The letters of a choice, without reading what is older, or what other places hold, as far as the broker knows it."""
    own = [match for place in choice.places if (match := _OWN.fullmatch(place))]
    if choice.places and len(own) == len(choice.places):
        wanted: dict[int, set[int]] = {}
        for match in own:
            wanted.setdefault(int(match[1]), set()).add(int(match[2]))
        begins = {partition: min(offsets) for partition, offsets in wanted.items()}
        ends = {partition: max(offsets) + 1 for partition, offsets in wanted.items()}
        found = letters(consumer, topic, begins, ends)
    else:
        found = letters(consumer, topic, await _since(consumer, topic, choice.since))
    async for one in found:
        if choice.takes(one):
            yield one


async def letters(
    consumer: AIOKafkaConsumer, topic: str, begins: Mapping[int, int] | None = None, ends: Mapping[int, int] | None = None
) -> AsyncIterator[Letter]:
    """All dead letters from `begins` (or the first there is) to the end that each partition has now, or before `ends`.

    With `ends`, the partitions named there alone.
    """
    numbers = await partitions_of(consumer, topic)
    places = [TopicPartition(topic, number) for number in sorted(numbers if ends is None else numbers & {*ends})]
    if not places:
        return
    first, lasts = await consumer.beginning_offsets(places), await ends_of(consumer, places)
    lasts = {place: min(end, (ends or {}).get(place.partition, end)) for place, end in lasts.items()}
    starts = {place: max(first[place], (begins or {}).get(place.partition, 0)) for place in places}
    waiting = {place for place in places if starts[place] < lasts[place]}
    for place in waiting:
        consumer.seek(place, starts[place])
    while waiting:
        for place, messages in (await consumer.getmany(*waiting, timeout_ms=POLL)).items():
            for message in messages:
                if message.offset < lasts[place]:
                    yield letter(place.partition, message)
        waiting = {place for place in waiting if await consumer.position(place) < lasts[place]}


async def _since(consumer: AIOKafkaConsumer, topic: str, since: float | None) -> dict[int, int]:
    """Where letters of this time begin; the embedded broker says 0, and all is looked at."""
    if since is None:
        return {}
    places = {TopicPartition(topic, number): int(since * 1000) for number in await partitions_of(consumer, topic)}
    found = await consumer.offsets_for_times(places) if places else {}
    ends = await consumer.end_offsets([place for place, at in found.items() if at is None])
    return {place.partition: ends[place] if at is None else at.offset for place, at in found.items()}


async def partitions_of(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The partitions of a topic; none when it does not exist yet. Raises KafkaConnectionError where no broker answers."""
    try:
        known = await consumer.topics()
    except KafkaError as error:
        if type(error) is not KafkaError:
            raise
        # The client says so with the base class of all its errors, which stands for bugs as well.
        raise KafkaConnectionError(str(error)) from error
    if topic not in known:
        return set()
    # aiokafka keeps the partitions of a topic it is not subscribed to only after a full update.
    await consumer._client.force_metadata_update()  # noqa: SLF001
    return set(consumer.partitions_for_topic(topic) or ())
