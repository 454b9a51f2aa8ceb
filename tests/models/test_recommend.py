"""What becomes of the sources' scores: candidates, blend, list, reasons; and the corners of the world."""

from __future__ import annotations

import copy
import random
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from streams.models.blend import Blend
from streams.models.hidden import CONTEXT, HIDDEN, Net
from streams.models.query import Query, Ranked
from streams.models.reasons import LEAST_SHARE
from streams.models.recommend import Recommender
from streams.models.sources import (
    CONTENT,
    COVISIT,
    DISLIKED,
    FEATURES,
    NEIGHBORS,
    NEXT,
    PATH,
    PLACE,
    POPULAR,
    REPEAT,
    SINCE,
    SOURCES,
    VISITS,
)
from tests.models.oracle import DAY, NOW, ask, build, covisits, newest, recent, walked
from tests.models.strategies import ITEMS, random_histories, random_world

S = len(SOURCES)


def only(*sources: int) -> np.ndarray:
    weights = np.zeros((1, FEATURES), np.float32)
    weights[0, list(sources)] = 1
    return weights


def recommend(
    models: Any, query: Query, weights: Any = None, segments: Any = None, net: Net | None = None, **options: Any
) -> Ranked:
    n = len(query)
    weights = np.ones((n, FEATURES), np.float32) if weights is None else np.repeat(weights, n, axis=0)
    segments = np.full(n, -1, np.int16) if segments is None else np.array(segments, np.int16)
    return Recommender(**options).recommend(models, query, models.catalog.interest(query), segments, net or Net.plain(weights))


def random_net(seed: int, n: int) -> Net:
    random = np.random.default_rng(seed)
    parts = ((n, FEATURES), (FEATURES, HIDDEN), (CONTEXT, HIDDEN), (HIDDEN,))
    return Net(*(random.normal(size=shape).astype(np.float32) for shape in parts))


def parts_of(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    """What each source adds: its two features, and the traits that belong to it where it speaks at all."""
    parts = weights[:S] * features[:S] + weights[S : 2 * S] * features[S : 2 * S]
    parts[REPEAT] += weights[PLACE : SINCE + 1] @ features[PLACE : SINCE + 1]
    parts[POPULAR] += weights[VISITS] * features[VISITS]
    found: np.ndarray = parts * (features[:S] > 0)
    return found


def random_weights(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (1, FEATURES)).astype(np.float32)


def random_case(seed: int, n: int = 5) -> tuple[Any, list[Any], Query]:
    histories = random_histories(seed, n)
    return random_world(seed), histories, ask(histories, users=[user - 1 for user in range(n)])


def as_bytes(ranked: Ranked) -> list[bytes]:
    return [getattr(ranked, field.name).tobytes() for field in fields(ranked)]


def in_order(scores: np.ndarray, judged: int = 10, room: float = 1e-6) -> bool:
    """Tell whether the judged ones are in order, and no other is better."""
    return bool((np.diff(scores[:judged]) <= room).all() and (scores[judged:] <= scores[:judged].min() + room).all())


@pytest.mark.parametrize("seed", range(10))
def test_the_list_is_the_weighted_sum_of_the_features_in_order(seed: int) -> None:
    world, histories, query = random_case(seed)
    weights = random_weights(seed)
    ranked = recommend(world.models, query, weights, keep=500, size=5)
    for n in range(len(histories)):
        mine = slice(ranked.starts[n], ranked.starts[n + 1])
        scores = ranked.features[mine] @ weights[0]
        assert in_order(scores)
        count = ranked.count[n]
        assert count == min(5, mine.stop - mine.start)
        assert ranked.items[n, :count].tolist() == ranked.candidates[mine][:count].tolist()
        assert ranked.scores[n, :count] == pytest.approx(scores[:count], rel=1e-5)
        assert (ranked.items[n, count:] == -1).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_hidden_layer_adds_what_matrices_say(seed: int) -> None:
    world, histories, query = random_case(seed)
    net = random_net(seed, len(histories))
    ranked = recommend(world.models, query, net=net, keep=500)
    for n in range(len(histories)):
        mine = slice(ranked.starts[n], ranked.starts[n + 1])
        features = ranked.features[mine].astype(np.float64)
        layer = np.maximum(features @ net.hidden + ranked.context[n] @ net.context, 0)
        scores = features @ net.linear[n] + layer @ net.out
        assert ranked.scores[n, : ranked.count[n]] == pytest.approx(scores[: ranked.count[n]], rel=1e-4, abs=1e-4)
        assert in_order(scores, room=1e-4)
        for rank in range(ranked.count[n]):
            weights = net.linear[n] + (net.hidden * (layer[rank] > 0)) @ net.out
            parts = np.maximum(parts_of(weights, features[rank]), 0)
            named = [source for source in ranked.source[n, rank].tolist() if source >= 0]
            if parts.any():
                assert parts[named] == pytest.approx(np.sort(parts)[::-1][: len(named)], abs=1e-3)
                assert ranked.share[n, rank][: len(named)] == pytest.approx(parts[named] / parts.sum(), abs=1e-3)
            else:
                assert (named, ranked.share[n, rank, 0]) == ([features[rank, :S].argmax()], 1)


@pytest.mark.parametrize("seed", range(10))
def test_traits_and_context_are_those_of_the_history(seed: int) -> None:
    world, histories, query = random_case(seed)
    ranked = recommend(world.models, query, keep=500)
    visits = world.models.visits.item_count
    for n, history in enumerate(histories):
        said = [entry for entry in history if entry[0] >= 0 and entry[1] != 0]
        items = list(dict.fromkeys(item for item, *_ in said))
        for at in range(ranked.starts[n], ranked.starts[n + 1]):
            item, (place, times, since, shown, visited, _) = int(ranked.candidates[at]), ranked.features[at, PLACE:]
            assert visited == pytest.approx(np.log2(1 + visits[item]) / 24 if item < len(visits) else 0, rel=1e-5)
            mine = [(weight, time) for found, weight, time, _ in history if found == item]
            first = next((place for place, (weight, _) in enumerate(mine) if weight), len(mine))
            assert shown == pytest.approx(min(first / 10, 1))
            times_said = [time for weight, time in mine if weight]
            assert times == pytest.approx(min(len(times_said) / 10, 1))
            if not times_said:
                assert (place, since) == (0, 0)
                continue
            assert place == pytest.approx(1 / (1 + items.index(item)))
            assert since == pytest.approx(min(np.log2(1 + NOW - min(times_said[0], NOW)) / 28, 1), rel=1e-5)
        met = [time for item, _, time, _ in history if item >= 0]
        gap = NOW - min(met[0], NOW) if met else 0
        count = max(len(said), 1)
        alone = 1 - len(items) / count
        expected = [1, np.log1p(len(said)) / 3, 1 / count, np.log1p(gap) / 10, 600 / (600 + gap), alone]
        assert ranked.context[n] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_candidates_like_what_a_user_disliked_are_told_by_the_cosine(seed: int) -> None:
    world, histories, query = random_case(seed)
    catalog = world.models.catalog
    items = len(catalog.content)

    def unit(vectors: np.ndarray) -> np.ndarray:
        lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=-1, keepdims=True))
        return np.divide(vectors, lengths, out=np.zeros(vectors.shape), where=lengths > 1e-6)

    vectors = unit(unit(catalog.content) + unit(catalog.context))
    ranked = recommend(world.models, query, keep=500)
    for n, history in enumerate(histories):
        aversion = np.zeros(vectors.shape[1])
        for item, weight, time, _ in history:
            if weight < 0 and 0 <= item < items:
                aversion += -weight * 2.0 ** (-max(NOW - time, 0.0) / (14 * DAY)) * vectors[item]
        mine = slice(ranked.starts[n], ranked.starts[n + 1])
        expected = np.maximum(vectors[ranked.candidates[mine]] @ unit(aversion), 0)
        assert ranked.features[mine, DISLIKED] == pytest.approx(expected, abs=2e-4)


def test_what_was_shown_for_nothing_and_what_is_like_the_disliked_go_down() -> None:
    world, _, _ = random_case(3)
    blend = Blend()
    liked = [(item, 1.0, NOW - 10.0 * item, 0) for item in range(4)]
    before = recommend(world.models, ask([liked], users=[-1]), net=blend.net([-1]), size=30, judged=30)
    best = int(before.items[0, 0])
    shown = [(best, 0.0, NOW, 0)] * 5
    after = recommend(world.models, ask([shown + liked], users=[-1]), net=blend.net([-1]), size=30, judged=30)
    assert after.items[0].tolist().index(best) > 0
    query = ask([[(best, -1.0, NOW, 1), *liked]], users=[-1])
    worse = recommend(world.models, query, net=blend.net([-1]), size=30, judged=30)
    assert best not in worse.items[0]
    careless = Blend()
    careless.weights[DISLIKED] = 0
    blind = recommend(world.models, query, net=careless.net([-1]), size=30, judged=30)
    scores = dict(zip(blind.items[0].tolist(), blind.scores[0].tolist(), strict=True))
    alike = dict(zip(worse.candidates.tolist(), worse.features[:, DISLIKED].tolist(), strict=True))
    assert max(alike.values()) > 0.5
    for item, score in zip(worse.items[0].tolist(), worse.scores[0].tolist(), strict=True):
        assert score == pytest.approx(scores[item] - alike.get(item, 0), abs=1e-3)


def test_what_would_be_shown_as_nothing_is_no_reason() -> None:
    world, _histories, query = random_case(0)
    weights = random_weights(0)
    weights[:, 1:S] *= 1e-6
    weights[:, S + 1 : 2 * S] *= 1e-6
    ranked = recommend(world.models, query, weights, keep=500)
    shares = ranked.share[ranked.source >= 0]
    assert (shares >= 0.0001).all()
    assert (ranked.share[ranked.source < 0] == 0).all()
    assert (ranked.source[ranked.items >= 0, 0] >= 0).all()


@pytest.mark.parametrize("seed", range(10))
def test_reasons_are_the_strongest_parts_of_the_score(seed: int) -> None:
    world, histories, query = random_case(seed)
    weights = random_weights(seed)
    ranked = recommend(world.models, query, weights, keep=500)
    for n in range(len(histories)):
        for rank in range(ranked.count[n]):
            features = ranked.features[ranked.starts[n] + rank]
            parts = parts_of(weights[0], features)
            parts = parts / parts.sum()
            order = np.argsort(-parts, kind="stable")[: min(3, int((parts >= LEAST_SHARE).sum()))]
            named = [source for source in ranked.source[n, rank].tolist() if source >= 0]
            assert parts[named] == pytest.approx(parts[order], abs=1e-6)
            assert ranked.share[n, rank][: len(named)] == pytest.approx(parts[named], abs=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_reasons_name_the_items_that_contributed_most(seed: int) -> None:
    world, histories, query = random_case(seed)
    for source, parts_of in ((NEIGHBORS, walked), (PATH, walked), (COVISIT, covisits), (NEXT, covisits)):
        ranked = recommend(world.models, query, only(source))
        for n, history in enumerate(histories):
            parts = parts_of(world, n - 1, history)[SOURCES[source]]
            for rank in range(ranked.count[n]):
                if ranked.scores[n, rank] > 0:
                    expected = sorted(parts[int(ranked.items[n, rank])].items(), key=lambda pair: -pair[1])[:2]
                    named = [item for item in ranked.because[n, rank, 0].tolist() if item >= 0]
                    found = [parts[int(ranked.items[n, rank])][item] for item in named]
                    assert found == pytest.approx([part for _, part in expected], rel=1e-4)


def test_repeat_names_the_item_itself_and_content_the_likest() -> None:
    tokens = {item: [b"brand:%d" % (item % 2), b"tag:%d" % (item % 2)] for item in range(8)}
    world = build([(0, item, 1.0, NOW - DAY) for item in range(8)], tokens=tokens)
    query = ask([[(0, 1.0, NOW, 0), (1, 1.0, NOW, 0)]])
    again = recommend(world.models, query, only(REPEAT))
    assert again.because[0, :2, 0].tolist() == [[0, -1], [1, -1]]
    alike = recommend(world.models, query, only(CONTENT))
    for item, source, names in zip(
        *(found.tolist() for found in (alike.items[0], alike.source[0, :, 0], alike.because[0, :, 0, 0])), strict=True
    ):
        assert source != CONTENT or names == item % 2
    assert (alike.because[0, 0, 0] >= 0).any()


def test_kept_are_the_blends_best_in_order_then_those_of_every_source_then_others() -> None:
    for seed in range(10):
        world, histories, query = random_case(seed)
        weights = random_weights(seed)
        every = recommend(world.models, query, weights, keep=500)
        kept = recommend(world.models, query, weights, keep=9, judged=2, size=3)
        for n in range(len(histories)):
            items = every.candidates[every.starts[n] : every.starts[n + 1]].tolist()
            ranks = every.features[every.starts[n] : every.starts[n + 1], S : 2 * S]
            judged = {item for item, mine in zip(items, ranks, strict=True) if (mine >= 1 / 2).any()} | {*items[:2]}
            found = kept.candidates[kept.starts[n] : kept.starts[n + 1]].tolist()
            assert found[:2] == items[:2]
            assert len({*found}) == len(found) == min(9, len(items))
            assert {*found} <= judged if len(judged) > 9 else {*found} >= judged
            assert {*found} <= {*items}


def test_each_source_names_no_more_than_its_best() -> None:
    world, _, query = random_case(4)
    every, few = (recommend(world.models, query, keep=500, per_source=most) for most in (50, 3))
    for n in range(len(query)):
        items = every.candidates[every.starts[n] : every.starts[n + 1]]
        first = (every.features[every.starts[n] : every.starts[n + 1]][:, S : 2 * S] >= 0.33).any(axis=1)
        assert set(few.candidates[few.starts[n] : few.starts[n + 1]].tolist()) == set(items[first].tolist())


def test_equal_scores_go_by_item() -> None:
    world = build([(user, item, 1.0, NOW - DAY) for user in range(4) for item in (7, 3, 5, 1)])
    ranked = recommend(world.models, ask([[]]), only(SOURCES.index("popular")))
    assert ranked.items[0, :4].tolist() == [1, 3, 5, 7]


@pytest.mark.parametrize("source", [NEIGHBORS, PATH, COVISIT, NEXT])
def test_checkerboard_the_right_item_comes_first(source: int) -> None:
    """Users of one colour visit the items of that colour in order; the one left out is the right one."""
    events = []
    for user in range(20):
        items = [item for item in range(20) if item % 2 == user % 2 and item != user]
        events += [(user, item, 1.0, NOW - DAY + n) for n, item in enumerate(items)]
    world = build(events)
    for user in range(2, 18):
        history = [(item, 1.0, NOW - n, int(item != user)) for n, item in enumerate(range(user - 2, -1, -2))]
        barred = [(item, 0.0, NOW - DAY, 1) for item in range(20) if item % 2 == user % 2 and item > user]
        ranked = recommend(world.models, ask([history + barred], users=[user]), only(source))
        assert ranked.items[0, 0] == user


@pytest.mark.parametrize("source", [COVISIT, NEXT])
def test_what_follows_is_what_comes_next(source: int) -> None:
    world = build([(user, item, 1.0, NOW - DAY + item) for user in range(10) for item in range(8)])
    for item in range(7):
        history = [(item, 1.0, NOW, 1)] + ([(item - 1, 0.0, NOW, 1)] if item else [])
        assert recommend(world.models, ask([history]), only(source)).items[0, 0] == item + 1


def test_an_empty_world_gives_empty_lists() -> None:
    ranked = recommend(build([]).models, ask([[], [(-1, 1.0, NOW, 0)]], users=[-1, -1]), segments=[0, -1])
    assert ranked.count.tolist() == [0, 0]
    assert ranked.starts.tolist() == [0, 0, 0]


def test_no_users_give_no_lists() -> None:
    ranked = recommend(random_world(1).models, ask([]))
    assert len(ranked.count) == 0
    assert ranked.starts.tolist() == [0]


def test_all_blocked_gives_an_empty_list() -> None:
    history = [(item, 1.0, NOW - item, 1) for item in range(ITEMS)]
    ranked = recommend(random_world(2).models, ask([history], users=[1]), segments=[1])
    assert ranked.count[0] == 0
    assert ranked.starts.tolist() == [0, 0]
    assert (ranked.items == -1).all()
    assert (ranked.source == -1).all()
    assert ranked.neighbors[0, 0] >= 0


def test_blocked_and_unavailable_items_are_never_candidates() -> None:
    for seed in range(20):
        world, histories, query = random_case(seed)
        ranked = recommend(world.models, query, keep=500)
        for n, history in enumerate(histories):
            barred = world.unavailable | {item for item, _, _, blocked in history if blocked}
            assert not barred & set(ranked.candidates[ranked.starts[n] : ranked.starts[n + 1]].tolist())


def test_scores_that_are_almost_nothing_are_none_and_no_feature_is_no_number() -> None:
    for days in range(1500, 2200, 20):  # half-lives of 14 days: around the least float32
        world = build([(user, item, 1.0, NOW - days * DAY + item) for user in range(3) for item in range(4)])
        ranked = recommend(world.models, ask([[(0, 1.0, NOW, 0)]]), keep=500)
        assert np.isfinite(ranked.features).all()
        assert ranked.features.min() >= 0
        assert ranked.features.max() <= 1


def test_times_to_come_count_as_now() -> None:
    world = random_world(5)
    late = [[(1, 1.0, NOW + 9 * DAY, 0), (2, 1.0, NOW + DAY, 0), (3, 1.0, NOW - DAY, 0)]]
    now = [[(item, weight, min(time, NOW), blocked) for item, weight, time, blocked in late[0]]]
    vectors, net, segments = np.zeros((1, 16), np.float32), Net.plain(np.ones((1, FEATURES), np.float32)), np.zeros(1, np.int16)
    answers = [Recommender().recommend(world.models, ask(each), vectors, segments, net) for each in (late, now)]
    assert as_bytes(answers[0]) == as_bytes(answers[1])


def test_items_the_models_do_not_know_change_nothing() -> None:
    world = random_world(6)
    known = [(1, 1.0, NOW, 0), (2, 1.0, NOW - 5, 0)]
    strange = [(-1, 2.0, NOW, 1), (10**6, 1.0, NOW, 0)]
    vectors, net, segments = np.zeros((1, 16), np.float32), Net.plain(np.ones((1, FEATURES), np.float32)), np.zeros(1, np.int16)
    histories = known, [strange[0], known[0], strange[1], known[1]]
    answers = [Recommender().recommend(world.models, ask([each]), vectors, segments, net) for each in histories]
    assert as_bytes(answers[0]) == as_bytes(answers[1])


def test_same_input_same_bytes_and_inputs_unchanged() -> None:
    world, _, query = random_case(7)
    before = copy.deepcopy((query, world.models.visits.arrays(), world.models.popularity.arrays(), world.models.catalog.arrays()))
    recommender = Recommender()
    arguments = (
        world.models,
        query,
        world.models.catalog.interest(query),
        np.zeros(5, np.int16),
        Net.plain(np.ones((5, FEATURES), np.float32)),
    )
    first, second = as_bytes(recommender.recommend(*arguments)), as_bytes(recommender.recommend(*arguments))
    assert first == second == as_bytes(Recommender().recommend(*arguments))
    after = query, world.models.visits.arrays(), world.models.popularity.arrays(), world.models.catalog.arrays()
    np.testing.assert_equal([vars_of(before[0]), *before[1:]], [vars_of(after[0]), *after[1:]])


def vars_of(query: Query) -> dict[str, Any]:
    return {field.name: getattr(query, field.name) for field in fields(query)}


def test_one_by_one_is_as_all_at_once() -> None:
    world, histories, query = random_case(8, n=9)
    together = recommend(world.models, query)
    for n, history in enumerate(histories):
        alone = recommend(world.models, ask([history], users=[n - 1]))
        assert alone.items[0].tolist() == together.items[n].tolist()
        assert alone.scores[0].tobytes() == together.scores[n].tobytes()
        assert alone.because[0].tobytes() == together.because[n].tobytes()
        assert alone.neighbors[0].tobytes() == together.neighbors[n].tobytes()


def test_scratch_grows_with_the_models_and_with_histories() -> None:
    chance, recommender = random.Random(1), Recommender()
    for items in (10, 700, 30):
        events = [(chance.randrange(items), chance.randrange(items), 1.0, NOW - DAY) for _ in range(3 * items)]
        world = build(events)
        history = [(item, 1.0, NOW - n, 0) for n, item in enumerate(range(items))]
        query = ask([history])
        arguments = (
            world.models,
            query,
            world.models.catalog.interest(query),
            np.zeros(1, np.int16),
            Net.plain(np.ones((1, FEATURES), np.float32)),
        )
        assert as_bytes(recommender.recommend(*arguments)) == as_bytes(Recommender().recommend(*arguments))
        assert len(newest(history)) == items
        assert len(recent(history, 10)) == 10


@pytest.mark.parametrize(
    "wrong", [{"measure": "dot"}, {"size": 0}, {"query_items": 63}, {"query_half_life": 0.0}, {"next_damping": 0.3}]
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is not one of|not above 0|above 62|not a quarter"):
        Recommender(**wrong)


def test_arrays_of_another_length_are_refused() -> None:
    world, _, query = random_case(1)
    with pytest.raises(ValueError, match="5 users, 4 segments"):
        Recommender().recommend(
            world.models, query, np.zeros((5, 16)), np.zeros(4, np.int16), Net.plain(np.ones((5, FEATURES), np.float32))
        )
