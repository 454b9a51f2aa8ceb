from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models import ids as module
from streams.models.ids import Ids, pack
from tests.models import worlds

batches = st.lists(st.lists(worlds.ids, max_size=20), max_size=6)


@given(batches)
def test_indexes_are_those_of_a_dict_that_numbers_in_order_of_appearance(batches: list[list[bytes]]) -> None:
    ids, oracle = Ids(), {}
    for batch in batches:
        expected = [oracle.setdefault(name, len(oracle)) for name in batch]
        assert ids.add(pack(batch)).tolist() == expected
    assert len(ids) == len(oracle)
    assert ids.names(range(len(ids))) == list(oracle)


@given(batches, st.lists(worlds.ids, max_size=20))
def test_find_gives_minus_one_for_the_unknown_and_learns_nothing(batches: list[list[bytes]], asked: list[bytes]) -> None:
    ids, known = Ids(), [name for batch in batches for name in batch]
    oracle = {name: index for index, name in enumerate(dict.fromkeys(known))}
    ids.add(pack(known))
    assert ids.find(pack(asked)).tolist() == [oracle.get(name, -1) for name in asked]
    assert len(ids) == len(oracle)


def test_it_grows_through_many_ids_in_one_batch() -> None:
    names = [f"{number}-{'x' * (number % 70)}".encode() for number in range(30_000)]
    ids = Ids()
    assert ids.add(pack(names)).tolist() == list(range(30_000))
    assert ids.find(pack(names[::-1])).tolist() == list(range(29_999, -1, -1))
    assert ids.names([0, 29_999]) == [names[0], names[-1]]


def test_ids_whose_hashes_collide_are_told_apart_by_their_bytes() -> None:
    ids, packed = Ids(), pack([b"ada", b"bob", b"eve", b"bo"])
    ids.add(pack([b"ada", b"bob"]))
    table = np.zeros(16, np.uint64)
    table[:2] = [1, 2]
    ends = [0, *packed.ends.tolist()]
    places = [
        module._place(table, np.uint64(0), ids.blob, ids.ends, packed.blob, start, end) for start, end in itertools.pairwise(ends)
    ]
    assert places == [0, 1, 2, 2]


def test_the_empty_id_is_an_id() -> None:
    ids = Ids()
    assert ids.add(pack([b"", b"a", b""])).tolist() == [0, 1, 0]
    assert ids.name(0) == b""


def test_the_arena_can_be_read_by_kernels() -> None:
    ids = Ids()
    ids.add(pack([b"ada", b"bob"]))
    assert ids.blob[: ids.ends[1]].tobytes() == b"adabob"
    assert ids.ends[:2].tolist() == [3, 6]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_without_an_id_is_an_error(index: int) -> None:
    ids = Ids()
    ids.add(pack([b"ada", b"bob"]))
    with pytest.raises(IndexError, match=f"index {index} is not one of 2 ids"):
        ids.name(index)


def test_reserving_changes_no_index() -> None:
    ids = Ids()
    ids.add(pack([b"ada", b"bob"]))
    ids.reserve(100_000, 1_000_000)
    blob, ends = ids.blob, ids.ends
    assert ids.add(pack([b"bob", b"eve"])).tolist() == [1, 2]
    assert ids.blob is blob
    assert ids.ends is ends


def test_a_short_difference_anywhere_in_a_long_id_counts() -> None:
    base = bytes(range(1, 41))
    names = [base[:at] + b"\0" + base[at + 1 :] for at in range(40)] + [base[:n] for n in range(41)]
    assert Ids().add(pack(names)).tolist() == list(range(81))
