from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streams.models.kept import Kept, _half


def test_candidates_are_kept_best_first_cut_and_padded() -> None:
    kept = Kept(slots=8, keep=3, features=2)
    features = np.arange(12, dtype=np.float32).reshape(6, 2) / 8
    kept.keep([5, 2, 3], [0, 4, 4, 6], [10, 11, 12, 13, 14, 15], features)
    assert kept.items[[5, 2, 3]].tolist() == [[10, 11, 12], [-1, -1, -1], [14, 15, -1]]
    np.testing.assert_array_equal(kept.features[5], features[:3])
    np.testing.assert_array_equal(kept.features[3], [*features[4:], [0, 0]])
    kept.keep([5], [0, 1], [99], features[5:])
    assert kept.items[5].tolist() == [99, -1, -1]
    np.testing.assert_array_equal(kept.features[5], [features[5], [0, 0], [0, 0]])


@given(arrays.arrays(np.float32, 50, elements=st.floats(width=32)))
def test_features_are_rounded_as_numpy_rounds_them(values: np.ndarray) -> None:
    kept = Kept(slots=1, keep=50, features=1)
    kept.keep([0], [0, 50], np.zeros(50), values[:, None])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(kept.features[0, :, 0], values.astype(np.float16))


def test_every_float16_comes_back_and_halfway_values_go_to_even() -> None:
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    halfway = (every[:-1].astype(np.float32) + every[1:].astype(np.float32)) / 2
    for values in (every.astype(np.float32), halfway):
        found = np.array([_half(value) for value in values], np.uint16)
        np.testing.assert_array_equal(found, values.astype(np.float16).view(np.uint16))


def test_who_holds_the_target_is_told_and_pads_are_nobodys() -> None:
    kept = Kept(slots=4, keep=3, features=1)
    kept.keep([0, 1], [0, 3, 4], [7, 8, 9, 7], np.zeros((4, 1)))
    assert kept.hold([0, 0, 1, 1, 2], [9, 6, 7, -1, -1]).tolist() == [True, False, True, False, False]


def test_clearing_leaves_nothing_of_the_user_before() -> None:
    kept = Kept(slots=2, keep=2, features=1)
    kept.keep([0], [0, 2], [8, 9], [[1.0], [0.5]])
    kept.clear(0)
    assert kept.items[0].tolist() == [-1, -1]
    assert kept.features[0].tolist() == [[0], [0]]


def test_columns_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="starts"):
        Kept(slots=4).keep([0], [0, 3], [1, 2], np.zeros((2, 20)))
