"""Dot products in lanes: the sums are in the order that is written down, so every CPU gives the same bytes."""

import numpy as np
import pytest
from numba.core.errors import TypingError

from streams.models.compile import lean
from streams.models.dot import LANES, dot


@lean
def _product(x, y):
    return dot(x, y)


def _by_hand(x, y):
    """Lane by lane, lanes in a tree, then the rest, each step rounded to a float32."""
    whole = len(x) - len(x) % LANES
    lanes = np.zeros(LANES, np.float32)
    for d in range(0, whole, LANES):
        lanes = lanes + x[d : d + LANES] * y[d : d + LANES]
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    total = lanes[0]
    for d in range(whole, len(x)):
        total = total + x[d] * y[d]
    return total


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 26, 32, 100, 256])
def test_sums_are_added_in_the_order_that_is_written_down(size):
    x, y = np.random.default_rng(size).standard_normal((2, size)).astype(np.float32)
    found = _product(x, y)
    assert found == _by_hand(x, y)
    assert found == pytest.approx(float(x.astype(np.float64) @ y.astype(np.float64)), abs=1e-4)


def test_a_row_within_a_table_need_not_begin_where_registers_do():
    table = np.random.default_rng(0).standard_normal((5, 13)).astype(np.float32)
    for row in table:
        assert _product(row, table[3]) == _by_hand(row, table[3])


@pytest.mark.parametrize("other", [np.zeros(8), np.zeros((8, 2), np.float32)[:, 0], np.zeros((2, 8), np.float32)])
def test_what_would_be_read_wrongly_does_not_compile(other):
    with pytest.raises(TypingError):
        _product(np.zeros(8, np.float32), other)
