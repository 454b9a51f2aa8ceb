"""Clusters of any shape are found in one pass, as DBSCAN finds them; noise is told; ids stay; bots distort nobody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from sklearn.cluster import DBSCAN
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from streams.models import density
from streams.models.dbstream import DBStream


def groups(n, k=8, d=32, spread=0.06, seed=0, shares=None):
    """Unit vectors around k directions, as users of k tastes; and which is whose."""
    random = np.random.default_rng(seed)
    centers = unit(random.normal(size=(k, d)))
    who = random.choice(k, n, p=shares)
    return unit(centers[who] + spread * random.normal(size=(n, d))), who


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scattered(points, who, share, clear, seed=0):
    """Add a share of uniform noise that is at least ``clear`` away from every point, in random order; noise is -1."""
    random = np.random.default_rng(seed)
    low, high = points.min(axis=0), points.max(axis=0)
    noise = random.uniform(low - 0.3 * (high - low), high + 0.3 * (high - low), (int(2 * share * len(points)), points.shape[1]))
    noise = noise[cKDTree(points).query(noise)[0] > clear][: int(share * len(points))]
    order = random.permutation(len(points) + len(noise))
    return np.r_[points, noise][order], np.r_[who, np.full(len(noise), -1)][order]


def precision_recall(found, true):
    both = ((found < 0) & (true < 0)).sum()
    return both / max((found < 0).sum(), 1), both / (true < 0).sum()


WORLDS = {
    "two moons": make_moons(5000, noise=0.05, random_state=1),
    "rings": make_circles(5000, noise=0.04, factor=0.5, random_state=1),
    "blobs of 4 dimensions": make_blobs(5000, 4, centers=8, center_box=(-20, 20), random_state=2),
    "blobs of 16 dimensions": make_blobs(5000, 16, centers=8, center_box=(-20, 20), random_state=2),
    "users of 8 tastes": groups(5000),
    "users of tastes of unlike sizes": groups(5000, shares=[0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.05, 0.03]),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e5])
def test_well_parted_clusters_are_found_without_a_parameter_whatever_their_shape_and_scale(name, scale):
    points, who = WORLDS[name]
    found = DBStream().partial_fit(scale * points).predict(scale * points)
    assert adjusted_rand_score(who, found) >= 0.98
    assert (found < 0).mean() < 0.02


@pytest.mark.parametrize("name", WORLDS)
def test_labels_agree_with_dbscan_and_noise_is_found(name):
    points, who = WORLDS[name]
    radius = DBStream().partial_fit(points).radius_
    points, who = scattered(points, who, 0.05, 1.5 * radius)
    found = DBStream().partial_fit(points).predict(points)
    reference = DBSCAN(eps=radius, min_samples=10).fit_predict(points)
    assert adjusted_rand_score(reference, found) >= 0.95
    precision, recall = precision_recall(found, who)
    assert precision >= 0.9
    assert recall >= 0.9


def test_a_cluster_that_moves_keeps_its_id():
    random = np.random.default_rng(3)
    model = DBStream(half_life=500.0)
    for step in range(100):
        centers = np.array([[0.0, 0.1 * step], [10.0, 0.0]])
        who = random.integers(0, 2, 100)
        model.partial_fit(centers[who] + 0.3 * random.normal(size=(100, 2)))
        if step == 10:
            first = model.predict([[0.0, 1.0], [10.0, 0.0]]).tolist()
    assert -1 not in first
    assert first[0] != first[1]
    assert model.predict([[0.0, 9.8], [10.0, 0.0]]).tolist() == first
    assert model.predict([[0.0, 1.0]]).tolist() == [-1], "where it was is forgotten"
    np.testing.assert_allclose(model.cluster_centers_[first], [[0.0, 9.6], [10.0, 0.0]], atol=0.7)


def fed(model, centers, n=2000, seed=0, spread=0.3):
    random = np.random.default_rng(seed)
    centers = np.array(centers)
    return model.partial_fit(centers[random.integers(0, len(centers), n)] + spread * random.normal(size=(n, centers.shape[1])))


def test_a_cluster_that_dies_goes_and_its_id_is_given_away_last():
    model = fed(DBStream(half_life=300.0), [[0.0, 0.0], [10.0, 0.0]])
    left, right = model.predict([[0.0, 0.0], [10.0, 0.0]])
    fed(model, [[0.0, 0.0]], 4000)
    assert model.predict([[0.0, 0.0], [10.0, 0.0]]).tolist() == [left, -1]
    assert np.flatnonzero(model.counts_).tolist() == [left]
    fed(model, [[0.0, 0.0], [20.0, 20.0]], 2000)
    kept, new = model.predict([[0.0, 0.0], [20.0, 20.0]])
    assert kept == left
    assert new not in {left, right, -1}


def test_of_a_split_cluster_the_heavier_part_keeps_the_id_and_of_merged_ones_the_heavier_id_stays():
    bar = [[0.5 * step, 0.0] for step in range(9)]
    model = fed(DBStream(half_life=400.0, radius=0.6), bar)
    assert set(model.predict(bar)) == {0}
    fed(model, [bar[0], bar[0], bar[-1]], 4000)
    heavy, light = model.predict([bar[0], bar[-1]])
    assert heavy == 0
    assert light > 0
    fed(model, bar, 4000)
    assert set(model.predict(bar)) == {0}
    assert np.flatnonzero(model.counts_).tolist() == [0]


def test_a_lone_outlier_and_a_small_clump_of_bots_are_noise_and_move_nobody():
    people, who = groups(6000, seed=4)
    random = np.random.default_rng(5)
    outliers = unit(random.normal(size=(40, 32)))
    bots = unit(unit(random.normal(size=(1, 32))) + 1e-4 * random.normal(size=(60, 32)))
    order = random.permutation(len(people) + 100)
    everyone = np.r_[people, outliers, bots][order]
    model, alone = DBStream().partial_fit(everyone), DBStream().partial_fit(people)
    assert (model.predict(outliers) < 0).mean() >= 0.9
    assert (model.predict(bots) < 0).all()
    assert adjusted_rand_score(who, model.predict(people)) >= 0.99
    mine, theirs = (one.cluster_centers_[np.flatnonzero(one.counts_)] for one in (model, alone))
    assert len(mine) == len(theirs) == 8
    assert cKDTree(theirs).query(mine)[0].max() < 0.2


def test_many_bots_are_a_cluster_of_their_own_and_move_nobody():
    people, who = groups(4000, seed=4)
    random = np.random.default_rng(5)
    bots = unit(unit(random.normal(size=(1, 32))) + 1e-4 * random.normal(size=(2000, 32)))
    order = random.permutation(6000)
    model = DBStream().partial_fit(np.r_[people, bots][order])
    (theirs,) = set(model.predict(bots))
    assert theirs >= 0
    assert theirs not in model.predict(people)
    assert adjusted_rand_score(who, model.predict(people)) >= 0.99


def test_a_cluster_that_hovers_about_the_least_share_does_not_come_and_go():
    random = np.random.default_rng(6)
    model = DBStream(radius=1.5, half_life=2000.0, min_share=0.05)
    seen = set()
    for step in range(60):
        small = 6 if step < 30 else 4
        points = np.r_[random.normal(size=(100 - small, 2)), 20 + 0.1 * random.normal(size=(small, 2))]
        model.partial_fit(points[random.permutation(100)])
        if step >= 20:
            seen.add(int(model.predict([[20.0, 20.0]])[0]))
    assert seen == {1}


def test_by_time_a_weight_halves_in_the_half_life_and_late_rows_do_not_turn_the_clock_back():
    model = DBStream(radius=1.0, half_life=3600.0)
    model.partial_fit([[0.0], [9.0]], times=[1.7e9, 1.7e9 + 3600])
    assert model.micro_clusters()[1].tolist() == pytest.approx([0.5, 1.0], rel=1e-12)
    model.partial_fit([[0.0]], times=[1.7e9])
    assert model.micro_clusters()[1].tolist() == pytest.approx([1.5, 1.0], rel=1e-12)
    model.partial_fit([[9.0]], times=[1.7e9 + 10 * 3600])
    assert model.micro_clusters()[1].tolist() == pytest.approx([1.5 * 2**-9, 1 + 2**-9], rel=1e-9)


def test_by_weight_what_is_held_is_what_the_half_life_leaves_of_all_rows():
    points, _ = groups(3000)
    weights = np.random.default_rng(1).choice([0.5, 1.0, 2.0], 3000)
    model = DBStream(radius=3.0, half_life=700.0).partial_fit(points, weights)
    after = weights.sum() - np.cumsum(weights)
    assert model.counts_.sum() == pytest.approx((weights * 2 ** (-after / 700.0)).sum(), rel=1e-9)


def test_relative_weights_count_by_the_mean_of_late_ones_and_at_most_as_one():
    points, _ = groups(2000)
    once, shrinking = np.ones(2000), 1 / np.arange(1.0, 2001)
    models = [DBStream(radius=0.5, relative=True).partial_fit(points, weights) for weights in (0.01 * once, once)]
    assert models[0].counts_.tolist() == pytest.approx(models[1].counts_.tolist())
    model = DBStream(radius=3.0, relative=True, half_life=1e9).partial_fit(points, shrinking)
    assert 200 < model.counts_.sum() < 2000, "and not the 8 that their weights add up to"
    model = DBStream(radius=3.0, relative=True, half_life=1e9, min_weight=1.5).partial_fit(points[:2], [1.0, 3.0])
    assert model.counts_.sum() == pytest.approx(2)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**20))
def test_deltas_add(first, second, seed):
    points = np.random.default_rng(seed).normal(size=(first + second, 2))
    one, two = (DBStream(buffer=20, gap=16, micro=10, min_weight=1.5) for _ in range(2))
    before, after = one.delta(points[:first]), one.delta(points[first:])
    one.apply(before)
    one.apply(after)
    two.apply(before + after)
    assert all(one.arrays()[name].tobytes() == two.arrays()[name].tobytes() for name in one.arrays())


@settings(max_examples=40)
@given(st.integers(0, 2**20))
def test_clusters_are_those_of_a_plain_search_over_the_shared_density_graph(seed):
    random = np.random.default_rng(seed)
    model = DBStream(radius=0.6, half_life=150.0, min_weight=1.5, micro=40, gap=10**6, min_share=0.02)
    model.partial_fit(random.uniform(0, random.uniform(1, 6), (300, 2)))
    _, weights, labels = model.micro_clusters()
    held = model.arrays()
    shared = (held["shared"] + held["shared"].T) * weights[0] / held["mass"][0]
    strong = weights >= 1.5
    linked = (shared >= 0.1 * (weights[:, None] + weights) / 2) & strong & strong[:, None]
    reached = np.linalg.matrix_power(linked + np.diag(strong).astype(float), len(weights)) > 0
    for c in range(len(weights)):
        mates = np.flatnonzero(reached[c])
        heavy = strong[c] and held["own"][mates].sum() >= 0.02 * held["own"].sum()
        assert set(labels[mates]) == ({labels[c]} if strong[c] else set())
        assert (labels[c] >= 0) == heavy
        assert all(not reached[c, other] or other in mates for other in np.flatnonzero(labels == labels[c]) if heavy)


def test_the_radius_is_the_quantile_of_the_distance_to_a_neighbor_elsewhere():
    points = np.repeat(np.random.default_rng(2).normal(size=(100, 3)), 2, axis=0)
    apart = np.sort(np.linalg.norm(points[:, None] - points, axis=2), axis=1)
    found = density.reach(points, np.ones(200), 5, 0.5)
    assert found == pytest.approx(np.sort(apart[:, 6])[99], rel=1e-12)
    heavy = np.where(apart[:, 6] == apart[:, 6].max(), 1000.0, 1.0)
    assert density.reach(points, heavy, 5, 0.5) == pytest.approx(apart[:, 6].max(), rel=1e-12)


def test_no_more_micro_clusters_than_there_is_room_for():
    points = np.random.default_rng(0).uniform(0, 1000, (3000, 2))
    model = DBStream(radius=1.0, micro=50).partial_fit(points)
    assert len(model.micro_clusters()[1]) == 50
    assert (model.predict(points) == -1).all()


def test_ids_stay_below_the_bound_and_the_clusters_beyond_it_are_noise():
    centers = [[20.0 * x, 20.0 * y] for x in range(4) for y in range(4)]
    model = fed(DBStream(radius=2.0, k=10), centers, 4000)
    assert sorted(model.predict(centers)) == [-1] * 6 + list(range(10))
    assert model.cluster_centers_.shape == (10, 2)


def test_before_the_radius_is_known_nobody_has_a_cluster():
    points, _ = groups(255)
    model = DBStream().partial_fit(points)
    assert not model.initialised
    assert (model.predict(points) == -1).all()
    assert not model.counts_.any()
    assert model.partial_fit(points[:1]).initialised
    assert (model.predict(points) >= 0).mean() > 0.5


def test_equal_points_are_no_trouble():
    model = DBStream(buffer=10).partial_fit(np.full((3000, 3), 0.1))
    assert not model.initialised, "one place has no scale"
    model.partial_fit(np.random.default_rng(0).normal(size=(100, 3)))
    assert model.initialised


def test_a_larger_buffer_is_sampled_by_the_seed():
    points, _ = groups(1000)
    first, again, other = (DBStream(buffer=1000, seed=seed).partial_fit(points).radius_ for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(other, rel=0.1)


@pytest.mark.parametrize(
    ("points", "more"),
    [
        ([[np.nan, 0.0]], {}),
        ([[0.0, 0.0]], {"sample_weight": [np.inf]}),
        ([[0.0, 0.0]], {"sample_weight": [-1.0]}),
        ([[0.0, 0.0]], {"times": [np.nan]}),
        ([[0.0, 0.0]], {"times": [1.0, 2.0]}),
        ([[0.0, 0.0, 0.0]], {}),
        ([0.0, 0.0], {}),
    ],
)
def test_bad_points_are_refused_and_change_nothing(points, more):
    model = DBStream(radius=1.0).partial_fit([[0.0, 0.0], [0.1, 0.0]])
    before = model.arrays()
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own sentence
        model.partial_fit(points, **more)
    assert all((before[name] == array).all() for name, array in model.arrays().items())


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        DBStream(half_life=0)
    with pytest.raises(ValueError, match="must be positive"):
        DBStream(quantile=1.0)
