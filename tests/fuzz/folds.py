"""The learned log and snapshots from the inside: checksums are right, and what they cover is bad."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from random import Random

import msgspec

from state.profiles import Stored
from streams import records
from streams.decode import Batch
from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Teacher
from streams.pipeline import Pipeline
from streams.records import Kind, decode, encode
from streams.settings import Settings
from streams.snapshots import freeze, thaw
from tests.fuzz import seeds
from tests.fuzz.mutate import mutated, numbers
from tests.fuzz.target import Target
from tests.rules_worker import METRICS, SETTINGS

__all__ = ["Folds", "Snapshots"]

LAST = (1 << 63) - 1
_HEAD = records._COLUMN
_COLUMNS = {
    Kind.LESSON: (records._LESSON_SCALARS.size, records._LESSON),
    Kind.CATALOG: (0, records._CATALOG),
    Kind.CENTERS: (records._CENTERS_SCALARS.size, records._typed("2f8")),
}


def worlds() -> list[World]:
    """Learn a little in each of the ways that there are."""
    models = SETTINGS.models.model_copy(update={"max_users": 4, "max_items": 5})
    methods = [SETTINGS.segments.model_copy(update={"method": name}) for name in ("dbstream", "som")]
    auto = SETTINGS.segments.model_copy(update={"k": "auto"})
    ways = [SETTINGS.model_copy(update={"segments": segments}) for segments in (*methods, auto)]
    return [World(settings) for settings in (SETTINGS, SETTINGS.model_copy(update={"models": models}), *ways)]


class Nobody:
    """No profile is stored."""

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        return [None] * len(user_ids)


class World:
    """A fold that learned a little, to be set back after each input that it took."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.parameters = settings, settings.parameters()
        self.log, self.fold = asyncio.run(seeds.learn(settings))
        self.data = b"".join(freeze(self.fold).parts())
        self.end = self.fold.taught.ends[0]
        self.state = state(self.fold)
        self._pristine = thaw(self.data, self.parameters)
        self.use(self.fold)  # compiles what is not yet
        self.begin()

    def begin(self) -> None:
        """Stand again where the log ended."""
        self.fold = deepcopy(self._pristine)

    def use(self, fold: Fold) -> None:
        """Recommend from what was folded, and go on learning: what points outside shows itself."""
        begin = fold.taught.ends.get(0, 0)
        if begin > LAST - 10:
            return
        teacher = Teacher(1, fold.taught)
        teacher.resume(0, None)
        pipeline = Pipeline(self.settings, fold.models, teacher, Nobody(), METRICS)
        messages = [replace(seeds.event(n), offset=begin + n) for n in range(3)]
        answer = asyncio.run(pipeline.prepare(Batch({0: messages}, {0: begin}), 1))
        for value in answer.records:
            assert fold.fold(decode(value, 13), 13)


def state(fold: Fold) -> tuple[object, ...]:
    """Give all that a fold is, by value."""
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in fold.models.arrays().items()}
    origins = {partition: dict(known) for partition, known in fold.taught.origins.items()}
    return arrays, dict(fold.taught.ends), origins, fold.partitions, fold.resets


class Folds(Target):
    """Records whose envelope is right: folded, refused by rule 1, or Refusal, after which all is as it was, byte for byte."""

    def __init__(self) -> None:
        self._worlds = worlds()

    def make(self, chance: Random) -> bytes:
        place = chance.randrange(len(self._worlds))
        world = self._worlds[place]
        record = decode(chance.choice(world.log), 0)
        body = _columns(chance, record.kind, record.body) if chance.random() < 0.9 else mutated(chance, [record.body or b"\0"])
        start = world.end if chance.random() < 0.9 else chance.choice((0, -1, LAST - 1, world.end + 1))
        partition = record.partition if chance.random() < 0.9 else chance.choice((-1, 0, 5, (1 << 31) - 1))
        end = min(start + 4, LAST)
        return bytes([place]) + encode(replace(record, partition=partition, start=start, end=end, body=body))

    def run(self, data: bytes) -> bool:
        world = self._worlds[data[0]]
        try:
            accepted = world.fold.fold(decode(data[1:], 12), 12)
        except Refusal:
            assert state(world.fold) == world.state, "a refused record changed something"
            return False
        except Exception:
            world.begin()
            raise
        fold = world.fold
        world.begin()
        if accepted:
            world.use(fold)
        return accepted


def _places(kind: Kind, body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Give where each column of a good body is: its head, rows, width and the size of a number."""
    at, types = _COLUMNS.get(kind, (0, ()))
    for column in types:
        rows, width = _HEAD.unpack_from(body, at)
        yield at, rows, width, column.size
        at += _HEAD.size + rows * width * column.size


def _columns(chance: Random, kind: Kind, body: bytes) -> bytes:
    """Change numbers or the size of a column or two, so that the body stays a row of columns."""
    data = bytearray(body)
    places = list(_places(kind, body))
    for at, rows, width, size in sorted(chance.sample(places, min(len(places), chance.choice((1, 1, 2)))), reverse=True):
        way = chance.random()
        if way < 0.25 and width == 1:
            longer = chance.random() < 0.5
            data[at : at + _HEAD.size] = _HEAD.pack(rows + 1 if longer else max(rows, 1) - 1, 1)
            data[at + _HEAD.size : at + _HEAD.size + (0 if longer else size * min(rows, 1))] = (
                numbers(chance, size) if longer else b""
            )
        elif way < 0.35:
            data[at : at + _HEAD.size] = _HEAD.pack(
                *chance.choice(((rows, width + 1), (0, 9), (9, 0), (width, rows), (rows, 1 << 31)))
            )
        elif rows * width:
            place = at + _HEAD.size + size * chance.randrange(rows * width)
            data[place : place + size] = numbers(chance, size)
    if chance.random() < 0.1 and data:
        place = chance.randrange(min(16, len(data)))
        data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


class Snapshots(Target):
    """Snapshots whose checksum and stream are right: thawed and of use, or Refusal."""

    def __init__(self) -> None:
        self._worlds = worlds()

    def make(self, chance: Random) -> bytes:
        place = chance.randrange(len(self._worlds))
        data = self._worlds[place].data
        if chance.random() < 0.2:
            return bytes([place]) + mutated(chance, [data])
        size = int.from_bytes(data[6:10], "little")
        header, body = data[10 : 10 + size], bytearray(zlib.decompress(data[10 + size :]))
        header = mutated(chance, [header]) if chance.random() < 0.3 else _array(chance, header, body)
        packed = zlib.compress(bytes(body) + bytes(chance.choice((*[0] * 20, 1, 1 << 20))), 1)
        return bytes([place]) + data[:6] + len(header).to_bytes(4, "little") + header + packed

    def run(self, data: bytes) -> bool:
        world = self._worlds[data[0]]
        try:
            fold = thaw(data[1:], world.parameters)
        except Refusal:
            return False
        world.use(fold)
        return True


def _array(chance: Random, header: bytes, body: bytearray) -> bytes:
    """Change some numbers of an array, or let it be longer or shorter by a row, here and in its header."""
    told = msgspec.json.decode(header)
    sizes = [int(dtype[2]) * math.prod(shape) for _, dtype, shape in told["arrays"]]
    for _ in range(chance.randint(1, 2)):
        which = chance.randrange(len(sizes))
        _, dtype, shape = told["arrays"][which]
        at, width = sum(sizes[:which]), int(dtype[2])
        if chance.random() < 0.3 and shape[0]:
            row, shorter = width * math.prod(shape[1:]), chance.random() < 0.5
            shape[0] += -1 if shorter else 1
            body[at : at + (row if shorter else 0)] = b"" if shorter else numbers(chance, max(row, 1))[:row]
            sizes[which] += -row if shorter else row
        elif sizes[which]:
            place = at + width * chance.randrange(sizes[which] // width)
            body[place : place + width] = numbers(chance, width)
    return msgspec.json.encode(told)
