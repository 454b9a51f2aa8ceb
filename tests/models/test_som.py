"""The map keeps near what is near, places its nodes about as well as K-means does, and follows the stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from streams.models import kohonen
from streams.models.som import SOM


def error(points, nodes):
    """Mean distance of a point to its nearest node."""
    return np.sqrt(((points[:, None] - nodes) ** 2).sum(axis=2).min(axis=1)).mean()


def torn(points, model):
    """Share of points whose two nearest nodes are no neighbors on the map."""
    nearest = ((points[:, None] - model.cluster_centers_) ** 2).sum(axis=2).argsort(axis=1)
    one, two = model.positions_[nearest[:, 0]], model.positions_[nearest[:, 1]]
    return (np.linalg.norm(one - two, axis=1) > 1.5).mean()


def square(n=6000, seed=0):
    return np.random.default_rng(seed).uniform(size=(n, 2))


@pytest.mark.parametrize("grid", ["hexagonal", "rectangular"])
@pytest.mark.parametrize("k", [16, 36])
def test_on_a_square_the_map_is_nearly_as_good_as_k_means_and_is_not_torn(grid, k):
    points = square()
    model = SOM(k, grid=grid).partial_fit(points)
    reference = KMeans(k, n_init=3, random_state=0).fit(points)
    assert error(points, model.cluster_centers_) <= 1.06 * error(points, reference.cluster_centers_)
    assert torn(points, model) <= 0.03


@pytest.mark.parametrize("d", [8, 32])
def test_with_as_many_dimensions_as_users_have_it_is_nearly_as_good_as_k_means(d):
    points = np.random.default_rng(1).normal(size=(6000, d)) * np.linspace(2, 0.2, d)
    model = SOM(16).partial_fit(points)
    reference = KMeans(16, n_init=3, random_state=0).fit(points)
    assert error(points, model.cluster_centers_) <= 1.05 * error(points, reference.cluster_centers_)


def test_clusters_that_lie_in_a_row_lie_in_a_row_on_the_map():
    random = np.random.default_rng(2)
    along = np.repeat(np.arange(6.0), 500)[random.permutation(3000)]
    points = np.outer(along, [3.0, 1.0, -2.0]) + 0.3 * random.normal(size=(3000, 3))
    model = SOM(shape=(1, 6)).partial_fit(points)
    nodes = model.predict(np.outer(np.arange(6.0), [3.0, 1.0, -2.0])).tolist()
    assert nodes in (list(range(6)), list(range(6))[::-1])


def test_the_map_follows_when_the_world_moves():
    points = make_blobs(8000, 4, centers=6, random_state=3)[0]
    model = SOM(9).partial_fit(points)
    before = error(points, model.cluster_centers_)
    assert error(points + 5, model.cluster_centers_) > 2 * before
    model.partial_fit(points + 5)
    assert error(points + 5, model.cluster_centers_) <= 1.2 * before


def test_the_counts_are_the_rows_of_each_node_and_half_after_the_memory():
    model = SOM(shape=(1, 2), memory=100.0, least_rate=1e-9, rate=1e-9)
    model.adopt([[0.0], [10.0]])
    model.partial_fit([[0.0]], [50.0]).partial_fit([[10.0]] * 100)
    assert model.counts_[0] == pytest.approx(25, rel=1e-9)
    assert model.counts_[1] == pytest.approx(sum(2 ** (-age / 100) for age in range(100)), rel=1e-9)


def test_the_running_inertia_is_that_of_the_points():
    points = square(8000)
    model = SOM(16).partial_fit(points)
    squares = ((points[:, None] - model.cluster_centers_) ** 2).sum(axis=2).min(axis=1)
    assert model.inertia_ == pytest.approx(squares.mean(), rel=0.05)


def test_the_plane_is_that_of_the_largest_singular_values():
    points = np.random.default_rng(4).normal(size=(200, 5)) * [5, 3, 1, 1, 0.5] + 7
    mean, first, second = kohonen.plane(points, np.ones(200), np.random.default_rng(0).random((2, 5)) - 0.5)
    _, values, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(mean, points.mean(axis=0))
    for axis, value, right in zip((first, second), values, axes, strict=False):
        assert np.linalg.norm(axis) == pytest.approx(value / np.sqrt(200), rel=1e-6)
        assert abs(axis @ right) == pytest.approx(np.linalg.norm(axis), rel=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**20))
def test_deltas_add(first, second, seed):
    points = np.random.default_rng(seed).normal(size=(first + second, 2))
    one, two = SOM(6, buffer=20), SOM(6, buffer=20)
    before, after = one.delta(points[:first]), one.delta(points[first:])
    one.apply(before)
    one.apply(after)
    two.apply(before + after)
    assert all(one.arrays()[name].tobytes() == two.arrays()[name].tobytes() for name in one.arrays())


def test_neighbors_on_a_hexagonal_grid_are_six_at_distance_1():
    places = SOM(shape=(5, 5)).positions_
    apart = np.linalg.norm(places[:, None] - places[12], axis=2).ravel()
    assert np.isclose(apart, 1).sum() == 6
    assert np.sort(apart)[7] > 1.5
    assert [SOM(k).shape for k in (1, 2, 7, 8, 16, 36, 64)] == [(1, 1), (1, 2), (1, 7), (2, 4), (4, 4), (6, 6), (8, 8)]


@pytest.mark.parametrize("points", [np.full((600, 3), 0.1), np.zeros((600, 1)), square(600)[:, :1]])
def test_points_without_a_plane_are_no_trouble(points):
    model = SOM(6).partial_fit(points)
    assert np.isfinite(model.cluster_centers_).all()
    assert error(points, model.cluster_centers_) < 0.1


def test_before_the_first_plane_there_is_no_node():
    model = SOM(4).partial_fit(square(255))
    assert not model.initialised
    assert model.predict(square(3)).tolist() == [-1, -1, -1]
    assert model.partial_fit(square(1)).initialised
    assert (model.predict(square(3)) >= 0).all()


@pytest.mark.parametrize(("points", "weights"), [([[np.nan, 0.0]], None), ([[0.0, 0.0]], [-1.0]), ([[0.0]], None)])
def test_bad_points_are_refused_and_change_nothing(points, weights):
    model = SOM(4).partial_fit(square(300))
    before = model.arrays()
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own sentence
        model.partial_fit(points, weights)
    assert all((before[name] == array).all() for name, array in model.arrays().items())


def test_bad_parameters_and_nodes_are_refused():
    for wrong in ({"k": 0}, {"rate": 2.0}, {"shape": (0, 3)}, {"least_radius": 0.0}):
        with pytest.raises(ValueError, match="must be positive"):
            SOM(**wrong)
    with pytest.raises(ValueError, match="4 finite nodes are needed"):
        SOM(4).adopt([[1.0, 2.0]])
    with pytest.raises(ValueError, match="6 nodes, 4 by the parameters"):
        SOM.from_arrays(SOM(6).arrays(), k=4)
