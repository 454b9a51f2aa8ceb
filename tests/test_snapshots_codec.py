"""A fold that was frozen and thawed is the fold that it was, and goes on as it would have."""

import json

import pytest
from prometheus_client import CollectorRegistry

from streams.decode import Batch
from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Taught, Teacher
from streams.metrics import Metrics
from streams.models.models import Models
from streams.pipeline import Pipeline
from streams.records import Centers, Kind, Record, decode, encode, encode_centers, encode_knobs
from streams.snapshots import VERSION, freeze, thaw
from tests.rules_worker import NOW, PARAMETERS, SETTINGS, Message


class Nobody:
    async def load(self, user_ids):
        return [None] * len(user_ids)


def event(offset):
    body = {"type": "view", "user_id": f"u{offset % 5}", "item_id": f"i{offset % 7}", "timestamp": NOW + offset}
    return Message(offset, json.dumps(body).encode())


@pytest.fixture
async def log():
    """What twenty batches of four events taught, with segments solved in the middle."""
    fold = Fold(Models(**PARAMETERS), Taught())
    teacher = Teacher(1, fold.taught)
    pipeline = Pipeline(SETTINGS, fold.models, teacher, Nobody(), Metrics(CollectorRegistry()), clock=lambda: NOW)
    teacher.resume(0, None)
    records = [encode(Record(Kind.LAYOUT, 1, 3, 0, 0, encode_knobs(PARAMETERS)))]
    for first in range(0, 80, 4):
        answer = await pipeline.prepare(Batch({0: [event(first + n) for n in range(4)]}, {0: first}), 1)
        records += answer.records
        if first == 40:
            centers = fold.models.segments.solve()
            records.append(encode(Record(Kind.CENTERS, 1, 0, 0, 0, encode_centers(Centers(1, NOW, centers)))))
        follow(fold, records)
    return records


def follow(fold, log, end=None):
    for offset in range(fold.models.version, len(log) if end is None else end):
        fold.fold(decode(log[offset], offset), offset)
    return fold


def data(fold):
    return b"".join(freeze(fold).parts())


def state(fold):
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in fold.models.arrays().items()}
    return arrays, fold.taught, fold.partitions, fold.knobs


@pytest.mark.parametrize("end", [0, 1, 5, 14, 22])
async def test_a_thawed_fold_goes_on_as_the_one_that_was_frozen(log, end):
    fold = follow(Fold(Models(**PARAMETERS), Taught()), log, end)
    fold.taught.remember(0, [(2, 17)])
    thawed = thaw(data(fold), PARAMETERS)
    assert thawed.models.version == end
    assert state(thawed) == state(fold)
    assert data(thawed) == data(fold)
    assert state(follow(thawed, log)) == state(follow(fold, log))


async def test_a_frozen_fold_does_not_change_while_the_fold_goes_on(log):
    fold = follow(Fold(Models(**PARAMETERS), Taught()), log, 5)
    frozen, expected = freeze(fold), data(fold)
    follow(fold, log)
    assert frozen.offset == 5
    assert b"".join(frozen.parts()) == expected


async def test_a_snapshot_may_be_read_from_a_buffer(log):
    fold = follow(Fold(Models(**PARAMETERS), Taught()), log)
    assert state(thaw(bytearray(data(fold)), PARAMETERS)) == state(fold)


def test_a_snapshot_of_a_newer_version_is_refused_with_what_to_do():
    known = data(Fold(Models(**PARAMETERS), Taught()))
    newer = known.replace(b'"version":1', b'"version":%d' % (VERSION + 1))
    with pytest.raises(Refusal, match=f"of version {VERSION + 1}; this program reads up to version {VERSION}") as refusal:
        thaw(newer, PARAMETERS)
    assert refusal.value.fix == "upgrade this worker to the version of the others"


LIMITED = PARAMETERS | {"limits": {"users": 3, "items": 4}}


@pytest.mark.parametrize("end", [1, 5, 14, 22])
async def test_a_thawed_fold_goes_on_alike_where_users_and_items_leave(log, end):
    log = [encode(Record(Kind.LAYOUT, 1, 3, 0, 0, encode_knobs(LIMITED))), *log[1:]]
    fold = follow(Fold(Models(**LIMITED), Taught()), log, end)
    thawed = thaw(data(fold), LIMITED)
    assert data(thawed) == data(fold)
    assert state(follow(thawed, log)) == state(follow(fold, log))
    assert min(fold.models.left().values()) > 0


def test_only_a_fold_with_limits_is_written_as_a_version_that_older_programs_do_not_read():
    for parameters, version in ((PARAMETERS, 1), (LIMITED, VERSION)):
        assert b'"version":%d' % version in data(Fold(Models(**parameters), Taught()))


OTHERS = [
    ("limits", "users", 20_000),
    ("visits", "visitors", 9),
    ("visits", "length", 9),
    ("popularity", "short", 7200.0),
    ("catalog", "dimensions", 16),
    ("catalog", "tokens_per_item", 8),
    ("catalog", "posting", 16),
    ("segments", "k", 3),
    ("blend", "rate", 0.5),
]


@pytest.mark.parametrize(("part", "knob", "value"), OTHERS)
async def test_a_snapshot_made_with_other_settings_is_refused_with_what_to_do(log, part, knob, value):
    fold = follow(Fold(Models(**PARAMETERS), Taught()), log)
    other = PARAMETERS | {part: PARAMETERS.get(part, {}) | {knob: value}}
    with pytest.raises(Refusal, match="made with other model settings") as refusal:
        thaw(data(fold), other)
    assert "upwell reset --models" in refusal.value.fix


@pytest.mark.parametrize("bytes_", [b"", b"ULSNAP"[:3], b"{}", b"\x80\x04pickle"])
def test_what_is_no_snapshot_is_refused(bytes_):
    with pytest.raises(Refusal, match="none of Upwell's"):
        thaw(bytes_, PARAMETERS)
