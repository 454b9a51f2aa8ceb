from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streams.models.hidden import CONTEXT
from streams.models.kept import Kept
from streams.models.sources import FEATURES


def test_candidates_are_kept_best_first_cut_and_padded() -> None:
    kept = Kept(slots=8, keep=3, features=2, context=1)
    features = np.arange(12, dtype=np.float32).reshape(6, 2) * 21
    kept.keep([5, 2, 3], [0, 4, 4, 6], [10, 11, 12, 13, 14, 15], features / 255, np.zeros((3, 1)))
    assert kept.items[[5, 2, 3]].tolist() == [[10, 11, 12], [-1, -1, -1], [14, 15, -1]]
    np.testing.assert_array_equal(kept.features[5], features[:3])
    np.testing.assert_array_equal(kept.features[3], [*features[4:], [0, 0]])
    kept.keep([5], [0, 1], [99], features[5:] / 255, [[0.0]])
    assert kept.items[5].tolist() == [99, -1, -1]
    np.testing.assert_array_equal(kept.features[5], [features[5], [0, 0], [0, 0]])


@given(arrays.arrays(np.float32, 50, elements=st.floats(0, 1, width=32)))
def test_features_come_back_within_half_a_step(values: np.ndarray) -> None:
    kept = Kept(slots=1, keep=50, features=1, context=1)
    kept.keep([0], [0, 50], np.zeros(50), values[:, None], [[0.0]])
    np.testing.assert_allclose(kept.read([0])[0, :, 0], values, atol=0.5 / 255 + 1e-6)


def test_the_ends_and_the_tenth_rank_stay_what_they_are() -> None:
    kept = Kept(slots=1, keep=4, features=1, context=1)
    kept.keep([0], [0, 4], np.zeros(4), [[0.0], [1.0], [1 / 10], [1 / 11]], [[0.0]])
    none, one, tenth, eleventh = kept.read([0])[0, :, 0]
    assert (none, one) == (0, 1)
    assert tenth > 1 / 10.5 > eleventh


def test_what_was_known_of_the_user_is_kept_as_it_was() -> None:
    kept = Kept(slots=3, keep=1, features=1, context=2)
    kept.keep([2, 0], [0, 0, 0], [], np.zeros((0, 1)), [[0.1, 7.5], [3.0, 4.0]])
    np.testing.assert_array_equal(kept.contexts[[0, 2]], np.float32([[3.0, 4.0], [0.1, 7.5]]))


def test_who_holds_the_target_is_told_and_pads_are_nobodys() -> None:
    kept = Kept(slots=4, keep=3, features=1, context=1)
    kept.keep([0, 1], [0, 3, 4], [7, 8, 9, 7], np.zeros((4, 1)), np.zeros((2, 1)))
    assert kept.hold([0, 0, 1, 1, 2], [9, 6, 7, -1, -1]).tolist() == [True, False, True, False, False]


def test_clearing_leaves_nothing_of_the_user_before() -> None:
    kept = Kept(slots=2, keep=2, features=1, context=1)
    kept.keep([0], [0, 2], [8, 9], [[1.0], [0.5]], [[2.0]])
    kept.clear(0)
    assert kept.items[0].tolist() == [-1, -1]
    assert kept.features[0].tolist() == [[0], [0]]
    assert kept.contexts[0].tolist() == [0]


def test_columns_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="starts"):
        Kept(slots=4).keep([0], [0, 3], [1, 2], np.zeros((2, FEATURES)), np.zeros((1, CONTEXT)))
    with pytest.raises(ValueError, match="starts"):
        Kept(slots=4).keep([0], [0, 2], [1, 2], np.zeros((2, FEATURES)), np.zeros((2, CONTEXT)))
