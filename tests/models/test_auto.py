"""K-means that chooses its own number of centres."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from streams.models.choosing import criterion
from streams.models.kmeans import KMeans
from streams.models.lesson import Lesson
from streams.models.models import Models
from tests.models.worlds import lesson, world


def groups(k: int, n: int = 4096, d: int = 8, seed: int = 0, width: float = 1.0) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    points: NDArray[np.float64] = random.uniform(-12, 12, (k, d))[random.integers(0, k, n)] + random.normal(0, width, (n, d))
    return points


def learned(points: NDArray[np.float64], model: KMeans | None = None) -> KMeans:
    model = model or KMeans(k="auto")
    for start in range(0, len(points), 256):
        model.partial_fit(points[start : start + 256])
    return model


@pytest.mark.parametrize("k", [4, 6, 10, 20, 40])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_true_number_is_found(k: int, seed: int) -> None:
    assert len(learned(groups(k, seed=seed)).ids) == k


def test_where_there_are_no_groups_there_are_as_few_as_may_be() -> None:
    random = np.random.default_rng(0)
    assert len(learned(random.normal(size=(4096, 16))).ids) == 4
    assert len(learned(random.uniform(size=(4096, 8))).ids) == 4


def test_the_criterion_is_the_likelihood_of_round_heaps_less_half_the_parameters_times_log_n() -> None:
    points, centers = groups(3, 200, 4), groups(5, 5, 4, seed=9)
    nearest = ((points[:, None] - centers) ** 2).sum(axis=2)
    of, variance = nearest.argmin(axis=1), nearest.min(axis=1).sum() / (4 * (200 - 5))
    shares = np.bincount(of, minlength=5) / 200
    likelihood = sum(
        multivariate_normal(centers[c], variance * np.eye(4)).logpdf(x) + math.log(shares[c])
        for x, c in zip(points, of, strict=True)
    )
    expected = likelihood - (4 + 1 + 5 * 4) / 2 * math.log(200)
    assert criterion(points, np.ones(200), centers) == pytest.approx(expected)
    assert criterion(np.repeat(points, 2, axis=0), np.ones(400), centers) != pytest.approx(expected)
    assert criterion(points, np.full(200, 3.0), centers) == pytest.approx(expected)


def test_ids_stay_where_groups_come_and_go_and_a_new_one_takes_the_lowest_that_is_free() -> None:
    random = np.random.default_rng(3)
    wells = random.uniform(-40, 40, (7, 4))

    def points(which: list[int], n: int) -> NDArray[np.float64]:
        found: NDArray[np.float64] = wells[random.choice(which, n)] + random.normal(size=(n, 4))
        return found

    model = learned(points([0, 1, 2, 3, 4], 4096))
    first = model.predict(wells[:5]).tolist()
    assert model.ids.tolist() == [0, 1, 2, 3, 4] == sorted(first)
    learned(points([0, 1, 2, 3, 4, 5, 6], 12_288), model)
    assert model.predict(wells[:5]).tolist() == first
    assert sorted(model.predict(wells[5:]).tolist()) == [5, 6]
    learned(points([1, 2, 4, 5, 6], 24_576), model)
    kept = [1, 2, 4, 5, 6]
    gone = {first[0], first[3]}
    assert set(model.ids.tolist()) == set(range(7)) - gone
    assert [model.predict(wells[kept]).tolist()[place] for place in (0, 1, 2)] == [first[1], first[2], first[4]]
    learned(points([0, 1, 2, 4, 5, 6], 24_576), model)
    assert model.predict(wells[:1]).tolist() == [min(gone)]


def test_a_number_that_is_as_good_changes_nothing() -> None:
    points = groups(12, 60_000, width=4.0)
    model = learned(points[:4096])
    numbers = {len(learned(points[start : start + 4096], model).ids) for start in range(4096, len(points), 4096)}
    assert numbers == {12}


def test_after_a_jump_it_is_solved_once_and_as_many_as_there_are_now() -> None:
    model = learned(groups(6, 12_000, 16))
    solves = model.generation
    after = groups(9, 2048, 16, seed=5)
    learned(after[:1024], model)
    assert model.generation <= solves + 2
    assert len(model.ids) == 9
    of = model.predict(after)
    apart = ((after - model.cluster_centers_[of]) ** 2).sum(axis=1)
    assert apart.mean() < 1.1 * 16


def test_followers_and_a_restored_one_reach_the_same_bytes() -> None:
    worker, follower = KMeans("auto", solve_self=False), KMeans("auto", solve_self=False)
    points = np.r_[groups(6, 6000), groups(9, 12_000, seed=4)]
    for start in range(0, len(points), 200):
        batch = points[start : start + 200]
        delta = worker.delta(batch)
        for model in (worker, follower):
            model.apply(delta)
            model.apply_sample(batch)
        if worker.needs_solve():
            centers, number = worker.solve(), worker.generation + 1
            assert worker.adopt(centers, number)
            assert follower.adopt(centers, number)
        follower = KMeans.from_arrays(follower.arrays(), "auto", solve_self=False)
    assert len(worker.ids) == 9
    assert all(worker.arrays()[name].tobytes() == follower.arrays()[name].tobytes() for name in worker.arrays())


def test_what_a_batch_says_of_a_free_id_is_not_heard() -> None:
    model = KMeans("auto", solve_self=False)
    rows = np.full((64, 2), np.inf)
    rows[:5] = groups(5, 5, 2)
    model.adopt(rows)
    old = model.delta(rows[:5])
    rows[4] = np.inf
    model.adopt(rows)
    model.apply(old)
    assert model.ids.tolist() == [0, 1, 2, 3]
    assert model.counts_[4] == 0
    assert (model.cluster_centers_[:4] == rows[:4]).all()


def test_centres_that_are_none_or_half_are_refused() -> None:
    rows = np.full((64, 2), np.inf)
    with pytest.raises(ValueError, match="finite centres"):
        KMeans("auto").adopt(rows)
    rows[0, 0] = 1.0
    with pytest.raises(ValueError, match="finite centres"):
        KMeans("auto").adopt(rows)


def adopted(models: Models, ids: list[int]) -> None:
    rows = np.full((64, 2), np.inf)
    rows[ids] = np.arange(2 * len(ids)).reshape(-1, 2)
    assert models.adopt(rows, models.segments.generation + 1, 5.0)


def test_sizes_are_exact_while_segments_come_and_go() -> None:
    models, random = Models(segments={"k": "auto"}), np.random.default_rng(0)
    expected: dict[bytes, int] = {}
    for round_, ids in enumerate([[0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]):
        adopted(models, ids)
        expected = {user: segment for user, segment in expected.items() if segment in ids}
        for seed in range(4):
            # Some are late: they name segments that are gone.
            taught = lesson(world(10 * round_ + seed, events=60))
            taught.user_segments = random.integers(-1, 6, len(taught.user_segments)).astype(np.int16)
            models.apply(taught)
            for user, segment in zip(_names(taught), taught.user_segments.tolist(), strict=True):
                if segment in ids:
                    expected[user] = segment
                else:
                    expected.pop(user, None)
        sizes = np.bincount([*expected.values()], minlength=64)
        assert models.members.sizes.tolist() == sizes.tolist()
        assert (models.popularity.totals[:-1] > 0).nonzero()[0].tolist() == [s for s in ids if sizes[s]]
    restored = Models.from_arrays(models.arrays(), segments={"k": "auto"})
    assert all(restored.arrays()[name].tobytes() == array.tobytes() for name, array in models.arrays().items())


def _names(taught: Lesson) -> list[bytes]:
    ends = taught.user_ids.ends.tolist()
    return [bytes(taught.user_ids.blob[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def test_what_was_learned_of_a_segment_goes_with_it() -> None:
    models = Models(segments={"k": "auto"})
    adopted(models, [0, 1, 2, 3])
    models.apply(lesson(world(1)))
    models.blend.offsets[[2, 3]] = 1.0
    assert models.popularity.lift(3, 5).size
    adopted(models, [0, 1, 2])
    assert not models.popularity.lift(3, 5).size
    assert models.popularity.lift(2, 5).size
    assert (models.blend.offsets[2] == 1).all()
    assert not models.blend.offsets[3].any()
    assert models.drift()[3] == 0


def test_a_look_that_changes_nothing_keeps_since_and_the_centres() -> None:
    models = Models(segments={"k": "auto"})
    adopted(models, [0, 1, 2, 3])
    before = models.segments.cluster_centers_.copy()
    assert models.adopt(np.zeros((0, 2)), 2, 99.0)
    assert (models.segments.cluster_centers_ == before).all()
    assert models.solved_at[models.segments.ids].tolist() == [5.0] * 4
    assert models.segments.generation == 2
