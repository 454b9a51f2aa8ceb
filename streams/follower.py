"""Follow: read the learned log and fold it into this worker's models, in order, every record exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import ClassVar, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from streams.ends import end_of
from streams.failures import Refusal, persist
from streams.learned import Taught, Teacher
from streams.metrics import Metrics
from streams.models.ids import Ids, pack, unpack
from streams.models.lesson import MERGED_AWAY, Lesson
from streams.models.models import Models
from streams.models.soundness import Unsound, check_catalog, check_centers, check_lesson
from streams.pseudonyms import other_key
from streams.records import (
    Kind,
    Record,
    damaged,
    decode,
    decode_catalog,
    decode_centers,
    decode_lesson,
    encode_knobs,
)
from streams.security import kafka_client
from streams.settings import Settings

__all__ = ["Fold", "Follower", "Forgotten"]

# Records folded while scoring waits: a few milliseconds' worth, so that a worker that catches up still answers.
_AT_ONCE = 64
_FEW = 16


class Forgotten(NamedTuple):
    """A user whom a record of the log at ``logged`` made forget, by an event at ``offset`` of a partition."""

    user_id: str
    partition: int
    offset: int
    logged: int


class Fold:
    """The fold itself, without I/O: records in, models and positions changed. Evaluations and tests use it too."""

    def __init__(self, models: Models, taught: Taught) -> None:
        self.models = models
        self.taught = taught
        self.partitions = 0
        self.knobs = encode_knobs(models.parameters)
        self.touched: set[int] = set()
        self.resets = 0
        self.forgotten: list[Forgotten] = []
        # Where the log last had a refused lesson of users whom the models do not know: perhaps they were forgotten.
        self.stray = -1

    def fold(self, record: Record, offset: int) -> bool:
        """Fold the record at an offset of the log; return whether it was accepted. One that is damaged changes nothing."""
        before, self.models.version = self.models.version, offset
        try:
            accepted = self._HANDLERS[record.kind](self, record)
        except (Unsound, Refusal) as why:
            self.models.version = before
            raise (damaged(offset, str(why)) if isinstance(why, Unsound) else why) from None
        self.models.version = offset + 1
        return accepted

    def learn(self, record: Record, lesson: Lesson, offset: int) -> bool:
        """Fold a lesson beside its record, which never went through the log: an evaluation need not write and read it."""
        accepted = self.taught.accept(record)
        if accepted:
            self.models.version = offset
            self._learn(record, lesson)
        self.models.version = offset + 1
        return accepted

    def _lesson(self, record: Record) -> bool:
        if record.partition < 0 or record.start < 0:
            raise Unsound("it is of no partition")
        lesson = decode_lesson(record.body, record.version)
        check_lesson(self.models, lesson)
        if not self.taught.accept(record):
            # A lesson names whom it makes forget as well: a worker that was away may have read the same event once more.
            if any((self.models.users.find(ids) < 0).any() for ids in (lesson.user_ids, lesson.forgotten)):
                self.stray = self.models.version
            return False
        self._learn(record, lesson)
        return True

    def _learn(self, record: Record, lesson: Lesson) -> None:
        self.taught.remember(record.partition, lesson.origins.tolist())
        for user_id, offset in zip(unpack(lesson.forgotten), lesson.forgotten_at.tolist(), strict=True):
            if offset != MERGED_AWAY:
                self.forgotten.append(Forgotten(user_id.decode(), record.partition, offset, self.models.version))
        before = self.models.items
        self._touch(before, self.models.apply(lesson).tolist())

    def _catalog(self, record: Record) -> bool:
        change, before = decode_catalog(record.body), self.models.items
        check_catalog(change)
        self._touch(before, self.models.change_catalog(change).tolist())
        return True

    def _touch(self, before: Ids, items: Sequence[int]) -> None:
        """Note items that changed; where some left, the others noted have other indexes."""
        if self.models.items is not before:
            found = self.models.items.find(pack(before.names(sorted(self.touched))))
            self.touched = {index for index in found.tolist() if index >= 0}
        self.touched.update(items)

    def _centers(self, record: Record) -> bool:
        centers = decode_centers(record.body)
        check_centers(self.models, centers.generation, centers.at, centers.centers)
        return self.models.adopt(centers.centers, centers.generation, centers.at)

    def _layout(self, record: Record) -> bool:
        """Take what all must share, the count of events partitions and the settings of the models; only a reset changes it."""
        if self.partitions and not record.start:
            return False
        if record.partition < 1:
            raise Unsound("it is a layout of no partitions")
        if record.body not in {b"", self.knobs}:
            if other_key(record.body, self.knobs):
                raise Refusal(
                    "The learned log was written with another key of pseudonyms, or with none; followers would not agree.",
                    fix="set pseudonyms.key_file as on the other workers, or see docs/pseudonyms.md about a change of the key",
                )
            raise Refusal(
                "The learned log was written with other settings of models or segments; followers would not agree.",
                fix="set them as on the other workers, or start the models over with `upwell reset --models`",
            )
        self.partitions = record.partition
        return True

    def _reset(self, record: Record) -> bool:
        self.resets += 1
        self.taught.clear()
        if record.start:
            self.models.clear()
            self.partitions = 0
        return True

    _HANDLERS: ClassVar[dict[Kind, Callable[[Fold, Record], bool]]] = {
        Kind.LESSON: _lesson,
        Kind.CATALOG: _catalog,
        Kind.CENTERS: _centers,
        Kind.LAYOUT: _layout,
        Kind.RESET: _reset,
    }


class Follower:
    """Keeps the fold at the end of the log, beside the pipeline that scores with it."""

    def __init__(
        self,
        settings: Settings,
        fold: Fold,
        teacher: Teacher,
        lock: asyncio.Lock,
        metrics: Metrics,
        executor: Executor,
        on_refused: Callable[[int], None],
    ) -> None:
        self._fold = fold
        self._teacher = teacher
        self._lock = lock
        self._metrics = metrics
        self._executor = executor
        self._on_refused = on_refused
        self._log = TopicPartition(settings.topics.learned, 0)
        self._progress = asyncio.Condition()
        self._consumer = AIOKafkaConsumer(
            **kafka_client(settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=8 << 20,
            fetch_max_wait_ms=100,
        )
        self.caught_up = False
        self._failure: Exception | None = None

    async def start(self) -> None:
        """Connect at the offset where the models stand; refuse a log that does not hold it."""
        await self._consumer.start()
        self._consumer.assign([self._log])
        begin, end = await self.bounds()
        version = self._fold.models.version
        if version > end:
            end = await end_of(self._consumer, self._log, end)
        if version > end:
            raise Refusal(
                f"The learned log ends at {end}, the newest snapshot at {version}: the topic {self._log.topic} was recreated.",
                fix="upwell reset --models",
            )
        if version < begin:
            raise Refusal(
                f"The learned log begins at {begin}, the newest snapshot ends at {version}: what lies between is gone.",
                fix="upwell reset --models",
            )
        self._consumer.seek(self._log, version)

    async def bounds(self) -> tuple[int, int]:
        """Give the log's first offset and its end."""
        begin = await self._consumer.beginning_offsets([self._log])
        end = await self._consumer.end_offsets([self._log])
        return int(begin[self._log]), int(end[self._log])

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def run(self) -> None:
        """Follow the log until it ends in a Refusal; whoever waits for its end is told."""
        try:
            await self._follow()
        except Exception as error:
            self._failure = error
            async with self._progress:
                self._progress.notify_all()
            raise

    async def _follow(self) -> None:
        while True:
            try:
                batches = await self._consumer.getmany(self._log, timeout_ms=1000, max_records=16 * _AT_ONCE)
            except OffsetOutOfRangeError:
                raise Refusal(
                    f"The learned log no longer holds {self._fold.models.version}, where this worker stands: "
                    "it stood still for so long that others deleted what they had saved.",
                    fix="start it again, it goes on from the newest snapshot",
                ) from None
            for messages in batches.values():
                for first in range(0, len(messages), _AT_ONCE):
                    await self._take(messages[first : first + _AT_ONCE])

    async def to_end(self) -> None:
        """Return when the fold has reached the end that the log has now (rule 2)."""
        _, end = await persist("the learned log", self.bounds)
        async with self._progress:
            await self._progress.wait_for(lambda: self._failure is not None or self._fold.models.version >= end)
        if self._failure is not None:
            raise self._failure
        self.caught_up = True

    async def _take(self, messages: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        async with self._lock:
            before = self._fold.models.left()
            with self._metrics.stage("fold"):
                folded = await self._folded(messages)
            for kind, left in self._fold.models.left().items():
                # Fewer where a reset let the models begin anew.
                self._metrics.evicted.labels(kind).inc(max(0, left - before[kind]))
        for record, accepted in folded:
            if self._teacher.refused(record, accepted=accepted):
                self._metrics.refused_records.inc()
                self._on_refused(record.partition)
        self._metrics.learned_offset.set(self._fold.models.version)
        async with self._progress:
            self._progress.notify_all()

    async def _folded(self, messages: Sequence[ConsumerRecord[bytes, bytes]]) -> list[tuple[Record, bool]]:
        if len(messages) <= _FEW:
            # Two threads that take turns at the interpreter's lock would cost more than these few.
            return self._fold_all(messages)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._fold_all, messages)

    def _fold_all(self, messages: Sequence[ConsumerRecord[bytes, bytes]]) -> list[tuple[Record, bool]]:
        records = [(decode(message.value, message.offset), message.offset) for message in messages]
        return [(record, self._fold.fold(record, offset)) for record, offset in records]
