"""Where this worker stands in the partitions it reads, and where it goes on (rules 2, 5, 6 and 8), without any I/O."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping

from state.store import Applied
from streams.failures import Refusal, Transient
from streams.learned import Teacher

__all__ = ["Positions", "RedisLost"]

log = logging.getLogger(__name__)


class RedisLost(Transient):
    """Redis came back with less than it had acknowledged (rule 6)."""


class Positions:
    """The next offset to read of every partition of this worker, and the offset that Redis is known to have applied."""

    def __init__(self, topic: str, teacher: Teacher) -> None:
        self._topic = topic
        self._teacher = teacher
        self._marks: deque[tuple[float, dict[int, int | None]]] = deque()
        self._bound = 0.0
        self.deleted = 0
        self.next: dict[int, int] = {}
        self.applied: dict[int, int | None] = {}

    def mark(self, now: float, rewind: float) -> None:
        """Remember what is applied now, and forget all but one of the marks that are older than ``rewind`` seconds.

        Call it when all of Redis was just seen to be what it was: what is marked is taken for safe ``rewind`` seconds later.
        """
        self._marks.append((now, dict(self.applied)))
        self._bound = now - rewind
        while len(self._marks) > 1 and self._marks[1][0] <= self._bound:
            self._marks.popleft()

    def safe(self) -> dict[int, int]:
        """Give what was applied long enough ago: the shards of a Redis Cluster lose different amounts, but not of that."""
        at, marked = self._marks[0] if self._marks else (self._bound, {})
        return {p: offset for p, offset in marked.items() if offset is not None and p in self.next} if at <= self._bound else {}

    def set_back(self, partition: int, at: int) -> None:
        """Take no more for safe than ``at``, for what is above is applied again."""
        for _, marked in self._marks:
            known = marked.get(partition)
            marked[partition] = at if known is None else min(known, at)

    def resume(self, partition: int, applied: int | None, begin: int, end: int) -> int:
        """Rule 2: take up a partition whose offsets run from ``begin`` to ``end``, of which Redis has ``applied``."""
        taught = self._teacher.taught.ends.get(partition)
        if max(applied or 0, taught or 0) > end:
            raise Refusal(
                f"{self._topic}[{partition}] ends at {end}, but events up to {max(applied or 0, taught or 0)} were applied: "
                "the topic was recreated.",
                fix="upwell reset",
            )
        at = self._teacher.resume(partition, applied)
        if at is not None and at < begin:
            log.warning("%s[%d]: events %d to %d were deleted before they were applied", self._topic, partition, at, begin)
            self.deleted += begin - at
        self.next[partition] = begin if at is None else max(at, begin)
        self.applied[partition] = applied
        return self.next[partition]

    def release(self, partition: int) -> None:
        """Forget a partition that went to another worker."""
        self.next.pop(partition, None)
        self.applied.pop(partition, None)
        for _, marked in self._marks:
            marked.pop(partition, None)
        self._teacher.release(partition)

    def begins(self, firsts: Mapping[int, int]) -> dict[int, int]:
        """Give where a batch begins whose messages have these first offsets; none lies below, unless the topic is another one."""
        for partition, first in firsts.items():
            if first < self.next[partition]:
                raise Refusal(
                    f"{self._topic}[{partition}] gave offset {first} where events up to {self.next[partition]} were read: "
                    "the topic was recreated while this worker ran.",
                    fix="upwell reset",
                )
        return {partition: self.next[partition] for partition in firsts}

    def read(self, ends: Mapping[int, int]) -> None:
        """Note that a batch was read up to these ends."""
        self.next.update(ends)

    def goals(self, ends: Mapping[int, int]) -> dict[int, Applied]:
        """Say how far a commit brings each partition, and from where at least Redis must have it (rule 6)."""
        return {partition: Applied(self.applied[partition], end) for partition, end in ends.items()}

    def loaded(self, known: Mapping[int, int | None], seen: Mapping[int, int] | None) -> None:
        """Hold what Redis had when profiles were read against what it had acknowledged before that was asked, ``known``.

        Of who is whose alias, or refuses, the profile alone tells: taught without it, an event would be taught to the wrong user.
        """
        if seen is not None:
            for partition in known.keys() & self.next.keys():
                self._check(partition, seen.get(partition), known[partition])

    def committed(self, goals: Mapping[int, Applied], before: Mapping[int, int | None]) -> None:
        """Take Redis' word for what it had before a commit: less than it had acknowledged means that it lost writes."""
        for partition, goal in goals.items():
            self._check(partition, before[partition], goal.expected)
            self.applied[partition] = max(before[partition] or 0, goal.end)

    @staticmethod
    def _check(partition: int, stored: int | None, expected: int | None) -> None:
        if expected is not None and (stored is None or stored < expected):
            raise RedisLost(f"Redis has offset {stored} of partition {partition}, it had acknowledged {expected}")
