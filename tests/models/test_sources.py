"""Every source agrees with brute force on random small worlds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from streams.models.hidden import Net
from streams.models.neighbors import MEASURES
from streams.models.query import Ranked
from streams.models.recommend import Recommender
from streams.models.sources import FEATURES, SOURCES
from tests.models.oracle import ask, sources
from tests.models.strategies import USERS, random_histories, random_world

N = 6
EVERYTHING = 1000


def recommend(recommender: Recommender, world: Any, histories: Any, users: list[int], segments: list[int]) -> tuple[Ranked, Any]:
    query = ask(histories, users=users)
    vectors = world.models.catalog.interest(query)
    net = Net.plain(np.ones((len(histories), FEATURES), np.float32))
    return recommender.recommend(world.models, query, vectors, np.array(segments, np.int16), net), vectors


@pytest.fixture(scope="module")
def recommenders() -> dict[str, Recommender]:
    return {measure: Recommender(measure=measure, keep=EVERYTHING) for measure in MEASURES}


def check_source(source: int, items: Any, features: Any, expected: dict[int, float]) -> None:
    shares, ranks = features[:, source], features[:, len(SOURCES) + source]
    assert {int(item) for item in items[shares > 0]} == set(expected), SOURCES[source]
    best = max(expected.values(), default=1.0)
    for item, share in zip(items.tolist(), shares.tolist(), strict=True):
        assert share == pytest.approx(math.sqrt(expected.get(item, 0.0) / best), rel=1e-3, abs=1e-6), (SOURCES[source], item)
    order = np.argsort(-ranks[ranks > 0], kind="stable")
    assert 1 / ranks[ranks > 0][order] == pytest.approx(np.arange(1, len(order) + 1))
    assert (np.diff(shares[ranks > 0][order]) <= 0).all(), SOURCES[source]


@pytest.mark.parametrize(("measure", "seed"), [(m, seed) for m in MEASURES for seed in range(40 if m == "cosine" else 12)])
def test_every_source_scores_as_brute_force_does(recommenders: dict[str, Recommender], measure: str, seed: int) -> None:
    world, histories = random_world(seed), random_histories(seed, N)
    users, segments = [(seed + n) % USERS - 1 for n in range(N)], [n % 4 - 1 for n in range(N)]
    ranked, vectors = recommend(recommenders[measure], world, histories, users, segments)
    for n, history in enumerate(histories):
        expected = sources(world, users[n], history, vectors[n], segments[n], measure=measure)
        mine = slice(ranked.starts[n], ranked.starts[n + 1])
        assert set(ranked.candidates[mine].tolist()) == {item for found in expected.values() for item in found}
        for source, name in enumerate(SOURCES):
            check_source(source, ranked.candidates[mine], ranked.features[mine], expected[name])


def test_users_without_a_history_get_popular_trending_segment_and_new_only(recommenders: dict[str, Recommender]) -> None:
    ranked, _ = recommend(recommenders["cosine"], random_world(3), [[]], [-1], [1])
    named = {SOURCES[s] for s in np.flatnonzero(ranked.features[:, : 2 * len(SOURCES)].any(axis=0)) % len(SOURCES)}
    assert named == {"popular", "trending", "segment", "new"}
    assert ranked.count[0] == 10
    assert (ranked.because == -1).all()
