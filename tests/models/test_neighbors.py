"""The measures agree with numpy and scipy, and the nearest users with brute force."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import pearsonr

from streams.models.hidden import Net
from streams.models.neighbors import MEASURES, cosine, euclidean, jaccard, pearson
from streams.models.recommend import Recommender
from streams.models.sources import FEATURES
from tests.models.oracle import DAY, NOW, ask, build, similarities
from tests.models.strategies import USERS, random_history, random_world

ratings = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=20)


def sums(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float, float]:
    return float(x.sum()), float(y.sum()), float(x @ x), float(y @ y), float(x @ y)


@given(ratings)
def test_pearson_is_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T / 2
    varied = len(set(x)) > 1 and len(set(y)) > 1
    expected = pearsonr(x, y).statistic if varied else 0.0
    assert pearson(len(x), *sums(x, y)) == pytest.approx(expected, abs=1e-9)


@given(ratings)
def test_euclidean_is_one_over_one_plus_scipys_distance(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T / 2
    assert euclidean(*sums(x, y)[2:]) == pytest.approx(1 / (1 + distance.euclidean(x, y)), abs=1e-6)


@given(st.sets(st.integers(0, 20), min_size=1), st.sets(st.integers(0, 20), min_size=1))
def test_jaccard_is_scipys_for_visitors_who_never_return(mine: set[int], theirs: set[int]) -> None:
    flags = [[item in side for item in range(21)] for side in (mine, theirs)]
    assert jaccard(len(mine & theirs), len(mine), len(theirs)) == pytest.approx(1 - distance.jaccard(*flags))


@given(st.dictionaries(st.integers(0, 20), st.floats(0.1, 9), min_size=1), st.sets(st.integers(0, 20), min_size=1))
def test_cosine_is_scipys_for_visitors_who_never_return(asked: dict[int, float], theirs: set[int]) -> None:
    x, y = ([side.get(item, 0.0) for item in range(21)] for side in (asked, dict.fromkeys(theirs, 1.0)))
    dot = sum(asked.get(item, 0.0) for item in theirs)
    assert cosine(dot, sum(w * w for w in asked.values()), len(theirs)) == pytest.approx(1 - distance.cosine(x, y), abs=1e-9)


def nearest(world: object, user: int, history: list[tuple[int, float, float, int]], **options: object) -> list[tuple[int, float]]:
    query = ask([history], users=[user])
    vectors, net = world.models.catalog.interest(query), Net.plain(np.ones((1, FEATURES), np.float32))
    ranked = Recommender(**options).recommend(world.models, query, vectors, np.array([-1], np.int16), net)
    return [(u, s) for u, s in zip(ranked.neighbors[0].tolist(), ranked.similarity[0].tolist(), strict=True) if u >= 0]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("most", [2, 50])
def test_the_nearest_users_are_those_of_brute_force(measure: str, most: int) -> None:
    for seed in range(15):
        world, history = random_world(seed), random_history(random.Random(seed + 99), 9)
        expected = {u: s for u, s in similarities(world, seed % USERS, history, measure=measure).items() if s > 1e-9}
        found = nearest(world, seed % USERS, history, measure=measure, neighbors=most)
        assert [s for _, s in found] == pytest.approx(sorted(expected.values(), reverse=True)[:most], abs=1e-5)
        assert [s for _, s in found] == pytest.approx([expected[u] for u, _ in found], abs=1e-5)


def test_of_equally_similar_users_the_one_with_the_newer_visit_is_nearer() -> None:
    world = build([(user, item, 1.0, NOW - DAY + user) for user in range(6) for item in (0, user + 1)])
    assert [user for user, _ in nearest(world, -1, [(0, 1.0, NOW, 0)], neighbors=3)] == [5, 4, 3]


def test_a_user_is_no_neighbor_of_their_own() -> None:
    world = build([(user, 0, 1.0, NOW - DAY) for user in range(3)])
    assert {user for user, _ in nearest(world, 1, [(0, 1.0, NOW, 0)])} == {0, 2}


def test_what_the_user_disliked_last_finds_no_neighbors() -> None:
    world = build([(user, 0, 1.0, NOW - DAY) for user in range(3)])
    assert nearest(world, -1, [(0, -1.0, NOW, 0), (0, 3.0, NOW - 1, 0)]) == []


def test_visits_that_fell_out_of_the_users_ring_are_forgotten() -> None:
    events = [(0, 0, 1.0, NOW - DAY), *((0, 1 + n, 1.0, NOW - DAY + n) for n in range(4))]
    assert nearest(build(events, length=4), -1, [(0, 1.0, NOW, 0)]) == []
    assert len(nearest(build(events, length=5), -1, [(0, 1.0, NOW, 0)])) == 1
