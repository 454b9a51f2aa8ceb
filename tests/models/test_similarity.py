"""Running sums equal the full history, whatever the order; what is withdrawn leaves nothing; errors change nothing."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import pearsonr

from streams.bench.similarity import figures
from streams.models import neighbors
from streams.models.changes import Delta
from streams.models.similarity import FORMS, Similarity

USERS, ITEMS = 40, 60
NAN = float("nan")

# User, item, rating; None withdraws.
halves = st.integers(-2, 10).map(lambda half: half / 2)
updates = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.none() | halves), max_size=60)
History = list[tuple[int, int, float | None]]


def learned(history: History, model: Similarity | None = None) -> Similarity:
    model = Similarity() if model is None else model
    for user, item, value in history:
        if value is None:
            model.withdraw(user, item)
        else:
            model.update(user, item, value)
    return model


def standing(history: History) -> dict[tuple[int, int], float]:
    last = {(user, item): value for user, item, value in history}
    return {key: value for key, value in last.items() if value is not None}


def bytes_of(model: Similarity) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in model.arrays().items()}


def assert_equals_scipy(model: Similarity, ratings: np.ndarray) -> None:
    """Compare every pair with scipy on the matrix of all ratings, nan where there is none."""
    for a, b in combinations(range(len(ratings)), 2):
        both = ~np.isnan(ratings[a]) & ~np.isnan(ratings[b])
        x, y = ratings[a, both], ratings[b, both]
        flags = ~np.isnan(ratings[[a, b]])
        apart = distance.euclidean(x, y) if len(x) else math.inf
        varied = len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0
        assert model.shared(a, b) == len(x)
        assert model.distance(a, b) == pytest.approx(apart, abs=1e-10)
        assert model.euclidean(a, b) == pytest.approx(1 / (1 + apart), abs=1e-10)
        assert model.jaccard(a, b) == pytest.approx(1 - distance.jaccard(*flags) if flags.any() else 0.0, abs=1e-10)
        assert model.cosine(a, b) == pytest.approx(1 - distance.cosine(x, y) if x.any() and y.any() else 0.0, abs=1e-10)
        assert model.pearson(a, b) == pytest.approx(pearsonr(x, y).statistic if varied else 0.0, abs=1e-10)
        assert model.pearson(a, b) == model.pearson(b, a)


@pytest.mark.parametrize("halves", [True, False], ids=["stars in halves", "any number"])
def test_after_100_000_random_updates_every_pair_equals_scipy_on_the_full_history(halves):
    random = np.random.default_rng(11)
    model, ratings, left = Similarity(), np.full((USERS, ITEMS), NAN), 100_000
    while left:
        n = min(left, int(random.integers(1, 40)))
        users, items = random.integers(0, USERS, n), random.integers(0, ITEMS, n)
        if random.random() < 0.4:
            model.withdraw(users, items)
            ratings[users, items] = NAN
        else:
            values = random.integers(1, 11, n) / 2 if halves else random.normal(3, 40, n)
            model.partial_fit(users, items, values)
            for at in range(n):
                ratings[users[at], items[at]] = values[at]
        left -= n
    assert 0.2 < np.isnan(ratings).mean() < 0.8
    assert model.count == np.count_nonzero(~np.isnan(ratings))
    assert_equals_scipy(model, ratings)


@given(updates)
def test_small_histories_equal_scipy(history):
    ratings = np.full((6, 7), NAN)
    for (user, item), value in standing(history).items():
        ratings[user, item] = value
    assert_equals_scipy(learned(history), ratings)


@given(updates, st.randoms())
def test_the_same_final_ratings_give_the_same_bytes_whatever_the_history(history, chance):
    final = [(user, item, value) for (user, item), value in standing(history).items()]
    chance.shuffle(final)
    assert bytes_of(learned(history)) == bytes_of(learned(final))


@given(updates)
def test_when_all_is_withdrawn_nothing_is_left(history):
    model = learned(history)
    for user, item in standing(history):
        model.withdraw(user, item)
    assert bytes_of(model) == bytes_of(Similarity())
    assert not model._running.state.pairs.any()
    assert not model._running.state.users[:, 1:].any()


@given(updates, st.integers(0, 5))
def test_a_forgotten_user_never_acted(history, user):
    without = [update for update in history if update[0] != user]
    assert bytes_of(learned(history).forget(user)) == bytes_of(learned(without))


steps = st.integers(-(2**50), 2**50)


@given(st.lists(st.tuples(steps, steps), min_size=1, max_size=8))
def test_sums_are_exact_up_to_the_greatest_ratings(pairs):
    model, count = Similarity(), len(pairs)
    model.partial_fit([7] * count, range(count), [x * 2.0**-40 for x, _ in pairs])
    model.partial_fit([3] * count, range(count), [y * 2.0**-40 for _, y in pairs])
    # User 3 is the first of the pair.
    ((key, n, *sums),) = model.arrays()["pairs"].tolist()
    wide = [(sums[at] % 2**64) + sums[at + 1] * 2**64 for at in (2, 4, 6)]
    assert (key, n, sums[0], sums[1]) == ((3 << 32) | 7, count, sum(y for _, y in pairs), sum(x for x, _ in pairs))
    assert wide == [sum(y * y for _, y in pairs), sum(x * x for x, _ in pairs), sum(x * y for x, y in pairs)]


def exact_pearson(x: list[float], y: list[float]) -> float:
    xs, ys = [Fraction(value) for value in x], [Fraction(value) for value in y]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    xy = sum((a - x_mean) * (b - y_mean) for a, b in zip(xs, ys, strict=True))
    xx, yy = sum((a - x_mean) ** 2 for a in xs), sum((b - y_mean) ** 2 for b in ys)
    return math.copysign(math.sqrt(xy**2 / (xx * yy)), xy) if xx and yy else 0.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3)), min_size=2, max_size=9))
def test_pearson_loses_nothing_where_great_ratings_differ_little(pairs):
    x, y = [1000 + a * 2.0**-40 for a, _ in pairs], [b * 2.0**-30 - 900 for _, b in pairs]
    model, n = Similarity(), len(pairs)
    model.partial_fit([0] * n + [1] * n, [*range(n), *range(n)], x + y)
    assert model.pearson(0, 1) == pytest.approx(exact_pearson(x, y), abs=1e-13)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=20))
def test_the_measures_are_those_of_neighbors(pairs):
    x, y = np.array(pairs, float).T / 2
    model, n = Similarity(), len(x)
    model.partial_fit([0] * n + [1] * (n + 1), [*range(n), *range(n + 1)], [*x, *y, 1.0])
    sums = float(x @ x), float(y @ y), float(x @ y)
    assert model.euclidean(0, 1) == pytest.approx(neighbors.euclidean(*sums), abs=1e-10)
    assert model.pearson(0, 1) == pytest.approx(neighbors.pearson(n, float(x.sum()), float(y.sum()), *sums), abs=1e-10)
    assert model.jaccard(0, 1) == neighbors.jaccard(n, n, n + 1)


@given(updates, updates)
def test_deltas_add(first, second):
    one, other = learned(first), learned(first)
    deltas = []
    for start in range(0, len(second), 7):
        deltas += [delta_of(one, update) for update in [second[start : start + 7]]]
        one.apply(deltas[-1])
    if deltas:
        other.apply(sum(deltas[1:], deltas[0]))
    assert bytes_of(one) == bytes_of(other) == bytes_of(learned(first + second))


def delta_of(model: Similarity, part: History) -> Delta:
    """What a part of a history changes, as the sum of what its runs of ratings and of withdrawals change."""
    before, trial = bytes_of(model), Similarity.from_arrays(model.arrays())
    total = model.delta([], [], [])
    for user, item, value in part:
        delta = trial.delta([user], [item], None if value is None else [value])
        trial.apply(delta)
        total += delta
    assert bytes_of(model) == before
    return total


@given(updates, updates)
def test_the_delta_of_a_batch_is_what_the_batch_changes(first, second):
    batch = [(user, item, value) for user, item, value in second if value is not None]
    columns = [list(column) for column in zip(*batch, strict=True)] if batch else [[], [], []]
    model, other = learned(first), learned(first)
    delta = model.delta(*columns)
    assert (delta.counts | delta.values).all()
    model.apply(delta)
    assert bytes_of(model) == bytes_of(other.partial_fit(*columns))


def test_a_delta_made_from_other_ratings_is_refused_and_changes_nothing():
    model = learned([(0, 0, 3.0)])
    added, withdrawn = model.delta([0, 1], [1, 1], [2.0, 5.0]), model.delta([0], [0], None)
    model.apply(added)
    before = bytes_of(model)
    with pytest.raises(ValueError, match="other ratings"):
        model.apply(added)
    model.update(0, 0, 4.0)
    with pytest.raises(ValueError, match="other ratings"):
        model.apply(withdrawn)
    model.update(0, 0, 3.0)
    assert bytes_of(model) == before


@given(updates, st.sampled_from(neighbors.MEASURES), st.integers(1, 6))
def test_the_nearest_are_those_of_a_full_sort(history, measure, k):
    model = learned(history)
    for user in range(6):
        all_of_them = [(-getattr(model, measure)(user, other), other) for other in range(6) if other != user]
        expected = [(other, -negative) for negative, other in sorted(all_of_them) if negative < 0][:k]
        assert list(zip(*(column.tolist() for column in model.nearest(user, k, measure=measure)), strict=True)) == expected


@given(updates, st.sampled_from(FORMS), st.integers(1, 3), st.sets(st.integers(0, 6), min_size=1, max_size=3))
def test_predictions_are_those_of_the_formulas(history, form, k, items):
    model, final = learned(history), standing(history)
    means = {user: np.mean([r for (who, _), r in final.items() if who == user]) for user, _ in final}
    for user in range(6):
        near = []
        for other, similarity in zip(*model.nearest(user, 6, measure="euclidean"), strict=True):
            given = [final[other, item] for item in items if (other, item) in final]
            near += [(similarity, np.mean(given), means[other])] if given else []
        expected = means.get(user, NAN)
        if near:
            s, r, m = np.array(near[:k]).T
            adjusted = expected + (s * (r - m)).sum() / s.sum()
            expected = {"mean": r.mean(), "weighted": (s * r).sum() / s.sum(), "adjusted": adjusted}[form]
        found = model.predict(user, sorted(items), k=k, measure="euclidean", form=form)
        assert found == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_ratings_are_told_as_they_stand():
    model = learned([(2, 9, 4.5), (2, 4, 1.0), (0, 4, 3.0), (2, 9, 2.5)])
    items, values = model.ratings(2)
    assert (items.tolist(), values.tolist(), model.mean(2), model.rating(2, 9)) == ([4, 9], [1.0, 2.5], 1.75, 2.5)
    assert all(math.isnan(value) for value in (model.rating(2, 5), model.rating(50, 4), model.mean(1), model.mean(50)))
    assert model.ratings(50)[0].tolist() == []
    assert (model.count, model.pairs) == (3, 1)


def test_strangers_share_nothing():
    model = learned([(0, 0, 1.0), (1, 1, 1.0)])
    for other in (1, 2, 10**6, -1):
        assert [model.pearson(0, other), model.cosine(0, other), model.jaccard(0, other), model.euclidean(0, other)] == [0] * 4
        assert model.distance(0, other) == math.inf
    assert model.nearest(10**6)[0].tolist() == []
    with pytest.raises(ValueError, match="itself"):
        model.pearson(1, 1)


def test_ratings_in_steps_of_a_tenth_are_tenths():
    model = Similarity(step=0.1).partial_fit([0, 0, 1], [0, 1, 0], [0.30000000000000004, 0.7, 12345.6])
    assert model.arrays()["values"].tolist() == [3, 7, 123456]
    assert model.rating(0, 0) == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [0], [NAN]), "no number"),
        (([0], [0], [math.inf]), "no number"),
        (([0], [0], [1025.0]), "larger step"),
        (([0, 1], [0, -1], [1.0, 1.0]), "within 0"),
        (([0, 2**31], [0, 1], [1.0, 1.0]), "within 0"),
        (([0], [0.5], [1.0]), "whole numbers"),
        ((["ada"], [0], [1.0]), "whole numbers"),
        (([0, 1], [0], [1.0]), "shapes"),
        (([0, 1], [0, 1], [1.0]), "values of shape"),
    ],
)
def test_bad_columns_are_refused_with_the_reason_and_teach_nothing(columns, message):
    model = learned([(0, 0, 1.0)])
    before = bytes_of(model)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*columns)
    assert bytes_of(model) == before


@pytest.mark.parametrize(
    ("limits", "message"),
    [({"max_users": 5}, "max_users=5"), ({"max_items": 5}, "max_items=5"), ({"max_pairs": 5}, "max_pairs=5")],
)
def test_a_batch_for_which_there_is_no_room_teaches_nothing(limits, message):
    model, history = Similarity(**limits), [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 3.0), (3, 4, 2.0)]
    before = bytes_of(learned(history, model))
    with pytest.raises(OverflowError, match=message):
        model.partial_fit([2, 0, 3, 5], [0, 4, 0, 5], [5.0, 5.0, 5.0, 5.0])
    assert bytes_of(model) == before


def test_a_table_is_filled_to_the_last_pair():
    model = Similarity(max_pairs=6).partial_fit([0, 1, 2, 3], [0] * 4, [1.0] * 4)
    model.partial_fit([0, 1, 2, 3], [1] * 4, [2.0] * 4)
    assert model.pairs == 6
    with pytest.raises(OverflowError, match="max_pairs=6"):
        model.update(4, 1, 1.0)
    model.withdraw([3, 3], [0, 1])
    model.update(4, 1, 1.0)


def test_ratings_that_would_leave_64_bits_when_added_up_are_refused():
    model = Similarity().partial_fit([0] * 4096, range(4096), [1024.0] * 4096)
    before = bytes_of(model)
    with pytest.raises(OverflowError, match=r"user 0 .* larger step"):
        model.partial_fit([1, 0], [0, 4096], [1.0, -1024.0])
    assert bytes_of(model) == before
    model.withdraw(0, 7).update(0, 4096, -1024.0)


def test_memory_does_not_grow_while_ratings_come_and_go():
    random = np.random.default_rng(3)
    users, items = np.divmod(np.arange(1200), 60)
    model = Similarity().partial_fit(users, items, np.ones(1200))
    sizes = [array.nbytes for array in model._running.state]
    for _ in range(20):
        some = random.permutation(1200)[:500]
        model.withdraw(users[some], items[some]).partial_fit(users[some], items[some], random.random(500))
    assert [array.nbytes for array in model._running.state] == sizes


def test_restoring_takes_the_step_the_ratings_were_made_with():
    arrays = Similarity(step=0.5).arrays()
    with pytest.raises(ValueError, match=r"steps of \[0.5\]"):
        Similarity.from_arrays(arrays)
    full = learned([(user, 0, 1.0) for user in range(4)]).arrays()
    with pytest.raises(OverflowError, match="max_pairs=5"):
        Similarity.from_arrays(full, max_pairs=5)


@pytest.mark.parametrize("wrong", [{"step": 0}, {"step": NAN}, {"step": math.inf}, {"max_pairs": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        Similarity(**wrong)


@pytest.mark.parametrize("call", [lambda m: m.nearest(0, measure="l2"), lambda m: m.predict(0, 0, form="median")])
def test_unknown_names_are_refused_with_the_known_ones(call):
    with pytest.raises(ValueError, match=r"pearson|weighted"):
        call(Similarity())


def test_the_benchmark_tells_updates_per_second():
    told = figures(2000, runs=1)
    assert all(figure.value > 0 and figure.unit == "updates/s" for figure in told)
    assert any(figure.at_least for figure in told)
