"""Rules 1 to 4 of the learned log, without any I/O: what a follower accepts, and where a worker reads on and teaches from.

ARCHITECTURE.md lists all eight rules and where each lives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.records import Kind, Record

__all__ = ["Taught", "Teacher"]


@dataclass(slots=True)
class Taught:
    """How far each events partition has been taught, as every follower of the same log knows it.

    ``ends`` maps a partition to the end of its last accepted record; ``origins`` maps a partition to, for each partition that
    re-keyed events came from, the offset of the last one taught, so that an event re-published twice is taught once (rule 8).
    """

    ends: dict[int, int] = field(default_factory=dict)
    origins: dict[int, dict[int, int]] = field(default_factory=dict)

    def accept(self, record: Record) -> bool:
        """Rule 1: take a record that begins where its partition's last one ended; refuse any other and change nothing."""
        if record.start >= record.end or self.ends.get(record.partition, record.start) != record.start:
            return False
        self.ends[record.partition] = record.end
        return True

    def remember(self, partition: int, origins: Iterable[tuple[int, int]]) -> None:
        """Note the last re-keyed event of each origin that an accepted record held."""
        known = self.origins.setdefault(partition, {})
        for origin, offset in origins:
            known[origin] = max(offset, known.get(origin, -1))

    def clear(self) -> None:
        """Forget every position: the events topic was recreated and the operator accepted it."""
        self.ends.clear()
        self.origins.clear()


@dataclass(slots=True)
class _Chain:
    """A partition that this worker reads: its own records that the log has not shown yet, and the origins after them."""

    flying: deque[tuple[int, int]] = field(default_factory=deque)
    origins: dict[int, int] = field(default_factory=dict)


class Teacher:
    """A worker's side of the rules: where to begin reading, where to begin teaching, and when to go back."""

    def __init__(self, writer: int, taught: Taught) -> None:
        self.writer = writer
        self.taught = taught
        self._chains: dict[int, _Chain] = {}

    def resume(self, partition: int, applied: int | None) -> int | None:
        """Rule 2: the offset to read on from, ``min(applied, taught)``; None stands for the beginning of the partition.

        Call it with the log followed to its end. Records still under way are no longer waited for.
        """
        self._chains[partition] = _Chain(origins=dict(self.taught.origins.get(partition, {})))
        taught = self.taught.ends.get(partition)
        return None if applied is None or taught is None else min(applied, taught)

    def release(self, partition: int) -> None:
        """Forget a partition that went to another worker."""
        self._chains.pop(partition, None)

    def start(self, partition: int, begin: int) -> int:
        """Rule 3: where a batch read from ``begin`` starts to teach; its events below are applied and answered only.

        That is the end of the worker's own last record, or of what is taught if that is more. It may lie below ``begin`` when
        Kafka deleted events that were never taught: the record then covers the gap, or the chain would never go on.
        """
        chain = self._chains[partition]
        known = [chain.flying[-1][1]] if chain.flying else []
        known += [self.taught.ends[partition]] if partition in self.taught.ends else []
        return max(known, default=begin)

    def send(self, partition: int, start: int, end: int) -> None:
        """Note a record under way."""
        self._chains[partition].flying.append((start, end))

    def fresh(self, partition: int, origin: int, offset: int) -> bool:
        """Tell whether a re-keyed event is not taught yet, and count it as taught by the record being made (rule 8).

        Another worker's record may have taught it since this one resumed, so that both are asked.
        """
        known, taught = self._chains[partition].origins, self.taught.origins.get(partition, {})
        if offset <= max(known.get(origin, -1), taught.get(origin, -1)):
            return False
        known[origin] = offset
        return True

    def refused(self, record: Record, *, accepted: bool) -> bool:
        """Rule 4: tell whether a record seen in the log is one of ours under way that was refused: go back by rule 2.

        A refused record stays in its chain until then: a batch that is being made meanwhile begins after it and is refused
        as well, where one that began at what is taught would be accepted without the events in between.
        """
        chain = self._chains.get(record.partition)
        if record.writer != self.writer or record.kind is not Kind.LESSON or chain is None:
            return False
        span = (record.start, record.end)
        if span not in chain.flying:
            return False
        if accepted:
            chain.flying.remove(span)
        return not accepted
