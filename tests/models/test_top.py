"""The best few: whatever the order of the offers, the greatest keys stay, in order, and what is told is enough to stay."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.models.top import index_of, key, offer, score_of

SCORES = st.floats(-1e6, 1e6, width=32)


@given(st.lists(SCORES, max_size=60), st.integers(1, 12))
def test_the_greatest_stay_in_order_and_equals_by_the_lower_index(scores, room):
    best, sizes = np.zeros((2, room), np.int64), np.zeros(2, np.int64)
    told = [offer(best, 1, sizes, key(score, index)) for index, score in enumerate(scores)]
    kept = sorted(enumerate(scores), key=lambda one: (-one[1], one[0]))[:room]
    assert [(index_of(one), float(score_of(one))) for one in best[1, : sizes[1]]] == [(at, score + 0.0) for at, score in kept]
    assert sizes.tolist() == [0, len(kept)]
    assert not best[0].any()
    assert all(least == 0.0 for least in told[: room - 1])
    if len(scores) >= room:
        assert told[-1] == np.float32(kept[-1][1])


@given(SCORES, SCORES, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_keys_order_as_scores_do_and_equal_ones_by_the_lower_index(one, other, at, place):
    assert (key(one, at) > key(other, place)) == ((one, -at) > (other, -place))
    assert (index_of(key(one, at)), float(score_of(key(one, at)))) == (at, one + 0.0)
