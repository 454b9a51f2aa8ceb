from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.compile import kernel
from streams.models.decay import exp2, weight

GOLDEN = [
    "0x1.6a09e667f3b96p+0",
    "0x1.6a09e667f3b96p-1",
    "0x1.3b2c47bff8329p+0",
    "0x1.2c3ee9468e86ap-8",
    "0x1.5f29e9ad54c63p+123",
    "0x1.125fbee2506b1p-1000",
]


@kernel
def fused_or_not(a: float, b: float, c: float) -> float:
    return a * b - c


@given(st.floats(-1000, 1000))
def test_exp2_agrees_with_numpy(x: float) -> None:
    assert exp2(x) == pytest.approx(float(np.exp2(x)), rel=1e-12, abs=0)


def test_whole_powers_are_exact() -> None:
    assert [exp2(float(n)) for n in range(-1000, 1001)] == [math.ldexp(1.0, n) for n in range(-1000, 1001)]


@pytest.mark.parametrize(
    ("x", "result"),
    [(-1000.5, 0.0), (-math.inf, 0.0), (math.nan, 0.0), (1000.5, 2.0**1000), (math.inf, 2.0**1000), (-0.0, 1.0)],
)
def test_exponents_out_of_range_are_clamped(x: float, result: float) -> None:
    assert exp2(x) == result


def test_exp2_gives_these_bits_on_every_machine() -> None:
    bits = [exp2(x).hex() for x in (0.5, -0.5, 0.3, -7.77, 123.456, -999.9)]
    assert bits == GOLDEN


def test_compiled_code_rounds_every_product() -> None:
    a = 1.0 + 2.0**-30
    assert fused_or_not(a, a, a * a) == 0.0  # a fused multiply-add gives 2**-60


def test_a_weight_halves_with_every_half_life_and_the_future_counts_fully() -> None:
    assert [weight(elapsed, 10.0) for elapsed in (-5.0, 0.0, 10.0, 20.0, 1e9)] == [1.0, 1.0, 0.5, 0.25, 0.0]


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(1, 1e8))
def test_older_never_weighs_clearly_more(one: float, other: float, half_life: float) -> None:
    newer, older = sorted((one, other))
    assert weight(older, half_life) <= weight(newer, half_life) * (1 + 1e-12)
