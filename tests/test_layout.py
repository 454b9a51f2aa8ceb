"""Bubbles lie as far apart as what they stand for, and never on one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from streams.layout import apart, flat

SIZE, MARGIN, GAP = (500.0, 400.0), 20.0, 4.0


def test_places_are_the_principal_components_up_to_their_signs():
    points = np.random.default_rng(0).normal(size=(9, 5)) * [5, 3, 1, 1, 1]
    places, kept = flat(points)
    pca = PCA(2).fit(points)
    np.testing.assert_allclose(np.abs(places), np.abs(pca.transform(points)), atol=1e-9)
    assert kept == pytest.approx(pca.explained_variance_ratio_.sum())


def test_points_of_a_plane_keep_all_their_distances():
    plane = np.random.default_rng(1).normal(size=(6, 2))
    points = plane @ np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0][:2]
    places, kept = flat(points)
    assert kept == pytest.approx(1.0)
    np.testing.assert_allclose(distances(places), distances(plane))


def distances(places: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[:, None] - places[None], axis=2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_points_and_points_in_one_place_have_places_too(count):
    places, kept = flat(np.ones((count, 4)))
    assert places.tolist() == [[0.0, 0.0]] * count
    assert kept == 1.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 64))
def test_no_bubble_touches_another_or_leaves_the_map(seed, count):
    random = np.random.default_rng(seed)
    radii = np.sqrt(random.dirichlet(np.full(count, 0.5)) * 0.1 * SIZE[0] * SIZE[1] / np.pi) + 4
    # Some in one place, for centers may be alike.
    places = apart(random.normal(size=(count, 2)).round(), radii, SIZE, MARGIN, GAP)
    room = distances(places) - radii[:, None] - radii[None] + np.diag(np.full(count, np.inf))
    assert room.min(initial=np.inf) > 0
    assert ((places - radii[:, None] > 0) & (places + radii[:, None] < SIZE)).all()


def test_bubbles_that_do_not_touch_keep_the_shape_of_the_map():
    places = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    found = apart(places, np.full(3, 5.0), SIZE, MARGIN, GAP)
    ratio = distances(found)[np.triu_indices(3, 1)] / distances(places)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(ratio, ratio[0])
