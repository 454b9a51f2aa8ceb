"""What tells segments apart agrees with plain loops, and with scipy's G-test."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import power_divergence

from streams.models.traits import NO_BAND, evidence, price_mass, token_mass

PROPERTY = settings(max_examples=60, deadline=None)


def counts(seed: int, segments: int, items: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.random((segments, items)) < 0.5, random.integers(1, 9, (segments, items)), 0).astype(np.float32)


@PROPERTY
@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(0, 12))
def test_a_token_is_visited_as_often_as_its_items(seed: int, segments: int, items: int) -> None:
    random = np.random.default_rng(seed)
    visited, tokens = counts(seed, segments, items + 3), random.integers(-1, 5, (items, 3)).astype(np.int32)
    mass, expected = np.zeros((segments, 5)), np.zeros((segments, 5))
    token_mass(visited, tokens, mass)
    for item, row in enumerate(tokens.tolist()):
        for token in row:
            if token >= 0:
                expected[:, token] += visited[:, item]
    np.testing.assert_array_equal(mass, expected)


@PROPERTY
@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(0, 20))
def test_a_price_is_low_or_high_by_the_weighted_median_of_its_category(seed: int, segments: int, items: int) -> None:
    random = np.random.default_rng(seed)
    visited, categories = counts(seed, segments, items), random.integers(-1, 3, items)
    bands = np.where(random.random(items) < 0.2, NO_BAND, random.integers(-3, 4, items))
    by_category: dict[int, list[int]] = defaultdict(list)
    for item, category in enumerate(categories.tolist()):
        if bands[item] != NO_BAND:
            by_category[category] += [int(bands[item])] * int(visited[:, item].sum())
    expected = np.zeros((segments, 3))
    for item, category in enumerate(categories.tolist()):
        prices = sorted(by_category[category])
        if bands[item] != NO_BAND and prices:
            usual = prices[(len(prices) - 1) // 2]
            expected[:, int(np.sign(bands[item] - usual)) + 1] += visited[:, item]
    np.testing.assert_allclose(price_mass(visited, bands, categories), expected)


def test_the_statistic_is_that_of_the_g_test() -> None:
    mass, total = np.array([[30.0, 2.0], [10.0, 40.0]]), np.array([50.0, 100.0])
    bits, lift, g = evidence(mass, total)
    for segment, trait in ((0, 0), (1, 1)):
        share = mass[:, trait].sum() / total.sum()
        seen = [mass[segment, trait], total[segment] - mass[segment, trait]]
        expected = [share * total[segment], (1 - share) * total[segment]]
        assert g[segment, trait] == pytest.approx(power_divergence(seen, expected, lambda_="log-likelihood").statistic)
        assert lift[segment, trait] == pytest.approx(seen[0] / expected[0])
        assert bits[segment, trait] == pytest.approx(g[segment, trait] / (2 * np.log(2) * total[segment]))


def test_what_a_segment_has_less_of_says_nothing() -> None:
    bits, _, g = evidence(np.array([[1.0], [9.0], [5.0]]), np.array([10.0, 10.0, 10.0]))
    assert bits[:, 0].tolist()[::2] == [0.0, 0.0]
    assert g[:, 0].tolist()[::2] == [0.0, 0.0]
    assert bits[1, 0] > 0


def test_nothing_at_all_is_no_error() -> None:
    bits, lift, g = evidence(np.zeros((2, 3)), np.zeros(2))
    assert not bits.any()
    assert not lift.any()
    assert not g.any()
    assert evidence(np.zeros((2, 0)), np.zeros(2))[0].shape == (2, 0)
    assert price_mass(np.zeros((2, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == [[0, 0, 0]] * 2
