"""Writes down a small learned log, a snapshot from its middle and what both fold to: `python -m tests.pinned.make FOLDER`.

A folder stays as it is once its version is released; a new version of records or snapshots gets a folder of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from streams.catalogue import change_of
from streams.decode import Batch
from streams.follower import Fold
from streams.learned import Taught, Teacher
from streams.metrics import Metrics
from streams.models.models import Models
from streams.pipeline import Pipeline
from streams.records import Centers, Kind, Record, decode, encode, encode_catalog, encode_centers, encode_knobs
from streams.schemas import Deleted, Item
from streams.settings import Settings
from streams.snapshots import freeze
from tests.rules_worker import NOW, Message

BATCHES, EVENTS = 40, 12
USERS, ITEMS = 30, 40
SIZE = struct.Struct("<I")


class _Nobody:
    async def load(self, user_ids: Sequence[str]) -> list[None]:
        return [None] * len(user_ids)


class Writer:
    """A worker whose records are kept."""

    def __init__(self) -> None:
        settings = Settings()
        self.fold = Fold(Models(**settings.parameters()), Taught())
        self.teacher = Teacher(1, self.fold.taught)
        metrics = Metrics(CollectorRegistry())
        self.pipeline = Pipeline(settings, self.fold.models, self.teacher, _Nobody(), metrics, clock=lambda: NOW)
        self.records: list[bytes] = []
        self.snapshot = b""

    def append(self, *records: bytes) -> None:
        """Let the log return some records."""
        for value in records:
            record = decode(value, len(self.records))
            self.teacher.refused(record, accepted=self.fold.fold(record, len(self.records)))
            self.records.append(value)

    async def teach(self, partition: int, chance: random.Random) -> None:
        """Carry batches of one partition; a record in the middle comes twice, as a late retry would."""
        self.teacher.resume(partition, None)
        for first in range(0, BATCHES * EVENTS, EVENTS):
            messages = [_message(first + place, chance) for place in range(EVENTS)]
            answer = await self.pipeline.prepare(Batch({partition: messages}, {partition: first}), 1)
            self.append(*answer.records)
            self.pipeline.profiles.let_go(answer.users)
        self.append(self.records[-1])

    def solve(self) -> None:
        """Log new centers, as the keeper does."""
        solver = self.fold.models.solver
        assert solver is not None
        centers = Centers(solver.generation + 1, self.fold.models.time, solver.solve())
        self.append(encode(Record(Kind.CENTERS, 0, 0, 0, 0, encode_centers(centers))))


def _message(offset: int, chance: random.Random) -> Message:
    if offset % 97 == 96:
        body: dict[str, object] = {"type": "forget", "user_id": f"u{chance.randrange(USERS)}", "timestamp": NOW + 60 * offset}
        return Message(offset, json.dumps(body).encode())
    user, item = int(USERS * chance.random() ** 2), int(ITEMS * chance.random() ** 2)
    kind = chance.choice(["view", "view", "cart", "purchase", "dislike"])
    body = {"type": kind, "user_id": f"u{user}", "item_id": f"i{item}", "timestamp": NOW + 60 * offset}
    return Message(offset, json.dumps(body).encode())


def _entries(first: int, chance: random.Random) -> bytes:
    entries: list[Item | Deleted] = [
        Item(f"i{number}", name=f"thing {number}", brand=f"b{chance.randrange(4)}", category=("c", f"d{chance.randrange(3)}"))
        for number in range(ITEMS)
    ]
    entries.append(Deleted("i3"))
    change = change_of([(0, first + place, entry) for place, entry in enumerate(entries)])
    return encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change)))


async def written() -> Writer:
    """A log with every kind of record, and the snapshot of its middle."""
    chance, writer = random.Random(2026), Writer()
    writer.append(encode(Record(Kind.LAYOUT, 1, 1, 0, 0, encode_knobs(writer.fold.models.parameters))), _entries(0, chance))
    await writer.teach(0, chance)
    writer.solve()
    writer.snapshot = b"".join(freeze(writer.fold).parts())
    writer.append(encode(Record(Kind.RESET, 0, 0, 0, 0, b"")), _entries(ITEMS + 1, chance))
    await writer.teach(0, chance)
    return writer


def checksums(models: Models) -> dict[str, str]:
    """Give type, shape and checksum of every array."""
    arrays = models.arrays()
    return {name: f"{array.dtype.str} {array.shape} {zlib.crc32(array.tobytes()):08x}" for name, array in arrays.items()}


def log_of(folder: Path) -> list[bytes]:
    """Read the records of a folder."""
    data, records, at = zlib.decompress((folder / "learned.z").read_bytes()), [], 0
    while at < len(data):
        (size,) = SIZE.unpack_from(data, at)
        records.append(data[at + SIZE.size : at + SIZE.size + size])
        at += SIZE.size + size
    return records


def main(folder: Path) -> None:
    """Write a folder."""
    writer = asyncio.run(written())
    folder.mkdir(exist_ok=True)
    data = b"".join(SIZE.pack(len(record)) + record for record in writer.records)
    (folder / "learned.z").write_bytes(zlib.compress(data, 9))
    (folder / "snapshot.bin").write_bytes(writer.snapshot)
    said = {"arrays": checksums(writer.fold.models), "taught": writer.fold.taught.ends, "events": writer.fold.models.events}
    (folder / "folded.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
