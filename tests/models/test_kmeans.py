from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_blobs
from sklearn.preprocessing import StandardScaler

from streams.models.assignment import assignment
from streams.models.breathing import breathe
from streams.models.kmeans import Delta, KMeans, match
from streams.models.lloyd import seeds, settle
from streams.models.reservoir import Reservoir

LADDER = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0], [5.0, 6.0]])


def blobs(n: int = 8192, d: int = 16, k: int = 8, seed: int = 1, spread: float = 1.0) -> NDArray[np.float64]:
    points: NDArray[np.float64] = make_blobs(n, d, centers=k, cluster_std=spread, random_state=seed)[0]
    return points


def inertia(points: NDArray[np.float64], centers: NDArray[np.float64]) -> float:
    parts = np.array_split(points, len(points) // 512 + 1)
    return sum(((p[:, None] - centers) ** 2).sum(axis=2).min(axis=1).sum() for p in parts) / len(points)


def learned(points: NDArray[np.float64], batch: int = 256, **parameters: object) -> KMeans:
    model = KMeans(**parameters)  # type: ignore[arg-type]
    for start in range(0, len(points), batch):
        model.partial_fit(points[start : start + batch])
    return model


def test_one_step_follows_the_worked_example_and_then_stays() -> None:
    model = KMeans(k=2, solve_self=False)
    model.adopt([[1.0, 2.0], [4.0, 5.0]])
    for _ in range(3):
        assert model.predict(LADDER).tolist() == [0, 0, 1, 1, 1]
        model.apply(model.delta(LADDER))
        assert model.cluster_centers_.tolist() == [[1.5, 2.5], [4.0, 5.0]]


def test_one_step_agrees_with_scikit_learn() -> None:
    points = blobs(500, spread=8.0)
    reference = Reference(8, init=points[:8], n_init=1, max_iter=1, algorithm="lloyd")
    reference.fit(points)
    model = KMeans(k=8, solve_self=False)
    model.adopt(points[:8])
    model.apply(model.delta(points))
    np.testing.assert_allclose(model.cluster_centers_, reference.cluster_centers_, rtol=1e-12)
    assert (model.predict(points) == reference.predict(points)).all()


@pytest.mark.parametrize("spread", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_pass_is_as_good_as_ten_batch_runs_of_scikit_learn(spread: float, seed: int) -> None:
    points = blobs(seed=seed, spread=spread)
    reference = Reference(8, n_init=10, random_state=0).fit(points)
    model = learned(points, seed=seed)
    assert inertia(points, model.cluster_centers_) <= 1.005 * reference.inertia_ / len(points)


def skewed(seed: int, k: int = 12, n: int = 20_000, d: int = 16) -> NDArray[np.float64]:
    """Few groups have most of the points, and groups are of unlike width."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, k + 1) ** 1.8
    centers, widths = random.uniform(-8, 8, (k, d)), random.uniform(0.5, 2.5, k)
    of = random.choice(k, n, p=shares / shares.sum())
    points: NDArray[np.float64] = centers[of] + random.normal(size=(n, d)) * widths[of][:, None]
    return points


@pytest.mark.parametrize(
    ("points", "k"),
    [
        (load_digits().data, 10),
        (StandardScaler().fit_transform(load_digits().data), 10),
        (StandardScaler().fit_transform(load_wine().data), 3),
        (StandardScaler().fit_transform(load_breast_cancer().data), 2),
        (skewed(4), 12),
        (skewed(3, 10, 10_000, 2), 10),
    ],
    ids=["digits", "digits standardized", "wine", "cancer", "skewed", "skewed in a plane"],
)
def test_one_pass_in_any_order_comes_near_ten_batch_runs(points: NDArray[np.float64], k: int) -> None:
    reference = Reference(k, n_init=10, random_state=0).fit(points).inertia_ / len(points)
    orders = [np.random.default_rng(seed).permutation(len(points)) for seed in range(3)]
    ratios = [inertia(points, learned(points[order], k=k).cluster_centers_) / reference for order in orders]
    assert max(ratios) <= 1.02
    assert np.mean(ratios) <= 1.01


def test_the_running_inertia_is_that_of_the_points() -> None:
    points = blobs(spread=3.0)
    model = learned(points)
    assert model.inertia_ == pytest.approx(inertia(points, model.cluster_centers_), rel=0.03)


def test_same_seed_gives_the_same_bytes_and_inputs_stay_unchanged() -> None:
    points = blobs(2000)
    copy = points.copy()
    first, second = learned(points, seed=3), learned(points, seed=3)
    assert all(first.arrays()[name].tobytes() == second.arrays()[name].tobytes() for name in first.arrays())
    assert (points == copy).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**20))
def test_deltas_add(k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(size=(60, 3))
    model, other = KMeans(k, solve_self=False), KMeans(k, solve_self=False)
    for each in (model, other):
        each.adopt(points[:k])
    first, second = model.delta(points[:20]), model.delta(points[20:])
    model.apply(first)
    model.apply(second)
    other.apply(first + second)
    np.testing.assert_allclose(model.cluster_centers_, other.cluster_centers_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.counts_, other.counts_)


def test_a_weight_counts_as_that_many_points() -> None:
    points = blobs(300, 4, 3)
    weights = np.random.default_rng(0).integers(0, 4, len(points))
    models = KMeans(k=3, solve_self=False), KMeans(k=3, solve_self=False)
    for model in models:
        model.adopt(points[:3])
    weighted, repeated = models[0].delta(points, weights), models[1].delta(np.repeat(points, weights, axis=0))
    np.testing.assert_allclose(weighted.counts, repeated.counts)
    np.testing.assert_allclose(weighted.sums, repeated.sums, atol=1e-9)
    np.testing.assert_allclose(weighted.sse, repeated.sse)


def test_points_without_weight_teach_nothing() -> None:
    points = blobs(2000, 4, 3)
    ignored = points + 1000
    weights = np.r_[np.ones(len(points)), np.zeros(len(ignored))]
    order = np.random.default_rng(0).permutation(len(weights))
    model = KMeans(k=3).partial_fit(np.r_[points, ignored][order], weights[order])
    assert inertia(points, model.cluster_centers_) <= 1.005 * inertia(points, learned(points, k=3).cluster_centers_)


def test_a_point_counts_half_after_the_half_life() -> None:
    model = KMeans(k=1, half_life=100, solve_self=False)
    model.adopt([[0.0]])
    model.apply(Delta(np.array([100.0]), np.array([[0.0]]), np.array([0.0])))
    model.apply(Delta(np.array([100.0]), np.array([[300.0]]), np.array([0.0])))
    assert model.counts_[0] == pytest.approx(150)
    assert model.cluster_centers_[0, 0] == pytest.approx(2)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**20), st.booleans())
def test_the_assignment_costs_no_more_than_scipys(k: int, seed: int, whole: bool) -> None:
    random = np.random.default_rng(seed)
    cost = random.integers(0, 5, (k, k)).astype(np.float64) if whole else random.normal(size=(k, k))
    columns = assignment(cost)
    assert sorted(columns.tolist()) == list(range(k))
    rows, best = linear_sum_assignment(cost)
    assert cost[np.arange(k), columns].sum() == pytest.approx(cost[rows, best].sum())


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**20))
def test_where_there_are_fewer_centres_on_one_side_the_others_stay_alone(old: int, new: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    before, after = random.normal(size=(old, 2)), random.normal(size=(new, 2))
    found = match(before, after)
    assert sorted(found[found >= 0].tolist()) == sorted(set(found.tolist()) - {-1})
    assert (found >= 0).sum() == min(old, new)
    cost = ((before[:, None] - after) ** 2).sum(axis=2)
    pairs = found >= 0
    assert cost[pairs, found[pairs]].sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum())


def test_match_finds_a_shuffle() -> None:
    centers = np.random.default_rng(0).normal(size=(9, 4))
    order = np.random.default_rng(1).permutation(9)
    assert (centers[order][match(centers, centers[order])] == centers).all()


def test_ids_survive_a_new_solve() -> None:
    points = blobs()
    model = learned(points)
    before = model.predict(points)
    model.adopt(model.solve(points, seed=99))
    assert (model.predict(points) == before).mean() > 0.99


@pytest.mark.parametrize("half_life", [None, 2000.0])
@pytest.mark.parametrize("phase", [0, 100])
def test_after_a_jump_of_all_centres_it_recovers_within_2048_points(half_life: float | None, phase: int) -> None:
    model = learned(blobs(20_000 + phase), half_life=half_life)
    after = blobs(6144, seed=77) + 3
    for start in range(0, 2048, 256):
        model.partial_fit(after[start : start + 256])
    reference = Reference(8, n_init=10, random_state=0).fit(after)
    assert inertia(after, model.cluster_centers_) <= 1.02 * reference.inertia_ / len(after)


def test_no_false_alarm_in_a_steady_million() -> None:
    centers = np.random.default_rng(5).uniform(-10, 10, (8, 2))
    random = np.random.default_rng(6)
    model = KMeans(k=8)
    model.partial_fit(centers[random.integers(0, 8, 4096)] + random.normal(size=(4096, 2)))
    solves = model.generation
    for _ in range(61):
        model.partial_fit(centers[random.integers(0, 8, 16_384)] + random.normal(size=(16_384, 2)))
    assert model.generation == solves


@pytest.mark.parametrize("freedom", [2.1, 3.0])
def test_no_false_alarm_where_a_few_far_points_make_most_of_the_inertia(freedom: float) -> None:
    random = np.random.default_rng(6)
    centers = random.uniform(-10, 10, (8, 4))
    model = KMeans(k=8)
    for start in range(31):
        model.partial_fit(centers[random.integers(0, 8, 16_384)] + random.standard_t(freedom, (16_384, 4)))
        if start == 0:
            solves = model.generation
    assert model.generation == solves


def test_a_dying_centre_moves_to_where_it_is_needed() -> None:
    random = np.random.default_rng(8)
    wells = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]])
    model = KMeans(k=4, solve_self=False, buffer=512)
    model.adopt([[0.0, 0.0], [20.0, 0.0], [10.0, 20.0], [500.0, 500.0]])
    for _ in range(17):
        points = wells[random.integers(0, 4, 256)] + random.normal(size=(256, 2))
        model.apply_sample(points)
        model.apply(model.delta(points))
    for _ in range(17):
        points = wells[random.integers(0, 4, 256)] + random.normal(size=(256, 2))
        model.apply(model.delta(points))
    gaps = np.abs(model.cluster_centers_[match(wells, model.cluster_centers_)] - wells)
    assert gaps.max() < 1
    assert model.counts_.min() > 0


def test_followers_fold_a_log_of_deltas_samples_and_solves_to_the_same_bytes() -> None:
    worker, follower = KMeans(k=4, solve_self=False, buffer=128), KMeans(k=4, solve_self=False, buffer=128)
    points = np.r_[blobs(6000, 4, 4), blobs(6000, 4, 4, seed=9) + 40]
    for start in range(0, len(points), 100):
        batch = points[start : start + 100]
        delta, sample = worker.delta(batch), batch[::2]
        centers = worker.solve() if worker.needs_solve() else None
        for model in (worker, follower):
            model.apply_sample(sample)
            model.apply(delta)
            if centers is not None:
                assert model.adopt(centers)
                assert not model.adopt(centers, generation=model.generation)
        follower = KMeans.from_arrays(follower.arrays(), 4, solve_self=False, buffer=128)
    assert all(worker.arrays()[name].tobytes() == follower.arrays()[name].tobytes() for name in worker.arrays())
    late = points[6000:]
    assert inertia(late, worker.cluster_centers_) <= 1.05 * inertia(late, learned(late, k=4).cluster_centers_)


def test_before_the_first_solve_there_is_no_segment() -> None:
    model = KMeans(k=8).partial_fit(LADDER)
    assert model.predict(LADDER).tolist() == [-1] * 5
    assert not model.delta(LADDER).counts.any()
    with pytest.raises(ValueError, match="8 centres need at least as many points, not 5"):
        model.solve()


def test_equal_points_are_no_trouble() -> None:
    model = learned(np.full((5000, 3), 0.1), k=3)
    assert np.isfinite(model.cluster_centers_).all()
    assert model.inertia_ == pytest.approx(0, abs=1e-12)


def test_an_empty_batch_changes_nothing() -> None:
    model = learned(blobs(600))
    before = {name: array.copy() for name, array in model.arrays().items()}
    model.partial_fit(np.zeros((0, 16)))
    assert model.predict(np.zeros((0, 16))).shape == (0,)
    assert all((before[name] == array).all() for name, array in model.arrays().items())


@pytest.mark.parametrize(
    ("points", "weights"),
    [
        ([[np.nan, 0.0]], None),
        ([[np.inf, 0.0]], None),
        ([[0.0, 0.0]], [np.nan]),
        ([[0.0, 0.0]], [-1.0]),
        ([[0.0, 0.0]], [1.0, 1.0]),
        ([[0.0, 0.0, 0.0]], None),
        ([0.0, 0.0], None),
    ],
)
def test_bad_points_are_refused_and_change_nothing(points: list[object], weights: list[float] | None) -> None:
    model = KMeans(k=2).partial_fit(LADDER)
    before = {name: array.copy() for name, array in model.arrays().items()}
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own sentence
        model.partial_fit(points, weights)
    assert all((before[name] == array).all() for name, array in model.arrays().items())


def test_bad_parameters_and_centres_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        KMeans(k=0)
    with pytest.raises(ValueError, match="2 finite centres"):
        KMeans(k=2).adopt([[1.0, 2.0]])


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**20))
def test_a_breath_never_makes_it_worse(k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points, mass = random.normal(size=(80, 2)), random.integers(1, 4, 80).astype(np.float64)
    start = seeds(points, mass, k, random.random((k, 2)))
    settled = start.copy()
    lowest = settle(points, mass, settled, 100)
    centers, found = breathe(points, mass, start, random, 2)
    assert centers.shape == start.shape
    assert found <= lowest
    nearest = ((points[:, None] - centers) ** 2).sum(axis=2).min(axis=1)
    assert found == pytest.approx((mass * nearest).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.lists(st.integers(0, 9), max_size=6), st.integers(0, 2**20))
def test_the_reservoir_holds_the_latest_points_with_weight(size: int, batches: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    reservoir, all_of_them = Reservoir(size), []
    for rows in batches:
        points, weights = random.normal(size=(rows, 2)), random.integers(0, 3, rows).astype(np.float64)
        reservoir.put(points, weights)
        all_of_them += [(*point, weight) for point, weight in zip(points.astype(np.float32), weights, strict=True) if weight]
    points, weights = reservoir.sample()
    held = [(*point, weight) for point, weight in zip(points, weights, strict=True)]
    assert sorted(held) == sorted(all_of_them[-size:])
