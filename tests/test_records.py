"""The learned log's records come back as they went in, or are refused."""

import dataclasses
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streams.failures import Refusal
from streams.models.catalog_change import CatalogChange
from streams.models.ids import pack
from streams.models.lesson import Lesson
from streams.models.sources import FEATURES, SOURCES
from streams.records import (
    COMMON,
    VERSION,
    Centers,
    Kind,
    Record,
    decode,
    decode_catalog,
    decode_centers,
    decode_lesson,
    encode,
    encode_catalog,
    encode_centers,
    encode_lesson,
)

PROPERTY = settings(max_examples=60, deadline=None)
ids = st.lists(st.binary(min_size=1, max_size=12), max_size=6).map(pack)
sizes = st.integers(0, 5)


def column(dtype, shape, **bounds):
    kind = np.dtype(dtype).kind
    values = st.floats(width=8 * np.dtype(dtype).itemsize, **bounds) if kind == "f" else None
    return arrays.arrays(dtype, shape, elements=values)


@st.composite
def lessons(draw):
    visits, touched, dimensions, blended = draw(sizes), draw(sizes), draw(st.integers(1, 5)), draw(sizes)
    shapes = {
        "user_segments": (np.int16, draw(sizes)),
        "users": (np.uint32, visits),
        "items": (np.uint32, visits),
        "weights": (np.float32, visits),
        "times": (np.float64, visits),
        "kinds": (np.uint8, visits),
        "segments": (np.int16, touched),
        "counts": (np.float64, touched),
        "sums": (np.float64, (touched, dimensions)),
        "sse": (np.float64, touched),
        "sample": (np.float32, (draw(sizes), dimensions)),
        "blend_segments": (np.int16, blended),
        "blend_events": (np.int64, blended),
        "gradient": (np.float64, (blended, 2 * FEATURES)),
        "hidden": (np.float32, (min(blended, 1), 7)),
        "hits": (np.int64, len(SOURCES) + 2),
        "origins": (np.int64, (draw(sizes), 2)),
    }
    columns = {name: draw(column(*shape)) for name, shape in shapes.items()}
    counts = st.integers(0, 2**63)
    return Lesson(events=draw(counts), judged=draw(counts), user_ids=draw(ids), item_ids=draw(ids), types=draw(ids), **columns)


@st.composite
def changes(draw):
    entries, tokens = draw(sizes), draw(ids)
    shapes = {"offsets": (np.int64, entries), "gone": (np.uint8, entries), "available": (np.uint8, entries)}
    columns = {name: draw(column(*shape)) for name, shape in shapes.items()}
    return CatalogChange(draw(ids), token_starts=draw(column(np.int64, draw(sizes))), tokens=tokens, **columns)


def same(one, other):
    """Compare field by field and byte by byte, for NaN is to come back too."""
    for field in dataclasses.fields(one):
        sent, found = getattr(one, field.name), getattr(other, field.name)
        if isinstance(sent, tuple):
            assert [part.tolist() for part in sent] == [part.tolist() for part in found]
        elif isinstance(sent, np.ndarray):
            assert (sent.shape, sent.dtype, sent.tobytes()) == (found.shape, found.dtype, found.tobytes()), field.name
        else:
            assert struct.pack("<d", sent) == struct.pack("<d", found)


records = st.builds(
    Record,
    st.sampled_from(Kind),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.binary(max_size=60),
)
SAMPLE = encode(Record(Kind.LESSON, 7, 3, 40, 44, encode_lesson(Lesson(events=4, user_ids=pack([b"u"])))))


@PROPERTY
@given(lessons())
def test_a_lesson_comes_back_as_it_went_in(lesson):
    same(lesson, decode_lesson(encode_lesson(lesson)))


@PROPERTY
@given(changes())
def test_a_catalogue_change_comes_back_as_it_went_in(change):
    same(change, decode_catalog(encode_catalog(change)))


@PROPERTY
@given(st.integers(0, 2**63), st.floats(), column(np.float64, (3, 2)))
def test_centers_come_back_as_they_went_in(generation, at, centers):
    sent = Centers(generation, at, centers)
    same(sent, decode_centers(encode_centers(sent)))


@PROPERTY
@given(records)
def test_a_record_comes_back_as_it_went_in(record):
    assert decode(encode(record), 0) == record


def test_numbers_of_either_byte_order_are_written_alike():
    swapped = Lesson(times=np.array([1.0, 2.0]).astype(">f8"))
    assert encode_lesson(swapped) == encode_lesson(Lesson(times=np.array([1.0, 2.0])))


def test_damage_to_any_byte_is_noticed():
    for place in range(len(SAMPLE)):
        for change in range(1, 256):
            damaged = bytearray(SAMPLE)
            damaged[place] ^= change
            with pytest.raises(Refusal):
                decode(bytes(damaged), 12)


def test_a_record_truncated_anywhere_is_refused():
    for length in range(len(SAMPLE)):
        with pytest.raises(Refusal, match="damaged at offset 12"):
            decode(SAMPLE[:length], 12)


@pytest.mark.parametrize("value", [None, b"", b"{}", SAMPLE + b"\0"])
def test_what_is_no_record_is_refused_and_never_skipped(value):
    with pytest.raises(Refusal, match="A log is never skipped over") as refusal:
        decode(value, 12)
    assert "upwell reset --models" in refusal.value.fix


def test_a_record_of_a_newer_version_is_refused_with_what_to_do():
    newer = SAMPLE[:2] + bytes([VERSION + 1]) + SAMPLE[3:]
    with pytest.raises(Refusal) as refusal:
        decode(newer, 12)
    assert refusal.value.message == (
        f"The learned log holds a record of version {VERSION + 1} at offset 12; this program reads up to version {VERSION}."
    )
    assert refusal.value.fix == "upgrade this worker to the version of the others"


def test_a_record_of_an_older_version_is_refused_with_what_to_do():
    older = SAMPLE[:2] + bytes([COMMON - 1]) + SAMPLE[3:]
    with pytest.raises(Refusal, match=f"of version {COMMON - 1} at offset 12; this program reads from {COMMON} on") as refusal:
        decode(older, 12)
    assert "upwell reset --models" in refusal.value.fix


def test_a_kind_that_this_version_does_not_know_is_refused():
    with pytest.raises(Refusal, match="kind 99 is unknown"):
        decode(encode(Record(99, 7, 3, 40, 44, b"")), 12)
