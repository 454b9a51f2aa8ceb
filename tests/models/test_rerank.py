"""The list that is shown is what boosts, pins, diversity and chance ask for, by plain Python; and nobody barred is in it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from streams.models.chance import seeds
from streams.models.hidden import Net
from streams.models.ids import pack
from streams.models.query import Query, Ranked
from streams.models.recommend import Recommender
from streams.models.rerank import GIVEN, HEAD, NEUTRAL, PIN, PLACES, Rerank
from streams.models.sources import FEATURES
from tests.models.oracle import DAY, NOW, World, ask, build

ITEMS, USERS, SIZE = 40, 4, 5
EVERYTHING = 500


def shop(seed: int, items: int = ITEMS) -> tuple[World, Query]:
    """A catalogue of few brands and categories, some items without an entry, some unavailable; and users who barred some."""
    chance = random.Random(seed)
    tokens = {
        item: [
            b"brand:%d" % chance.randrange(4),
            b"category:%d" % (up := chance.randrange(3)),
            b"category:%d/%d" % (up, item % 2),
        ]
        + [b"tag:sale"] * chance.randrange(2)
        for item in range(items)
        if chance.random() < 0.9
    }
    events = [(chance.randrange(USERS), chance.randrange(items), 1.0, NOW - chance.uniform(0, 9 * DAY)) for _ in range(120)]
    away = {item for item in tokens if chance.random() < 0.1}
    world = build(sorted(events, key=lambda event: event[3]), tokens=tokens, unavailable=away)
    barred = [[(chance.randrange(items), 1.0, NOW - n, int(chance.random() < 0.3)) for n in range(8)] for _ in range(USERS)]
    return world, ask(barred, users=list(range(USERS)))


def wishes(world: World, boosts: dict[bytes, float], **more: Any) -> Rerank:
    """What is asked, with boosts by token, and by item where the name is a number."""
    tokens = world.models.catalog.tokens
    named = {int(tokens.find(pack([name]))[0]): boost for name, boost in boosts.items() if not name.isdigit()}
    items = {int(name): boost for name, boost in boosts.items() if name.isdigit()}
    sorted_ = [sorted((number, boost) for number, boost in part.items() if number >= 0) for part in (named, items)]
    columns = [
        np.array([pair[at] for pair in part], dtype) for part in sorted_ for at, dtype in enumerate((np.int32, np.float32))
    ]
    pins = np.array(more.get("pins", []), np.int32)
    initials = np.array([tokens.name(number)[0] for number in range(len(tokens))], np.uint8)
    return Rerank(*columns, pins, more.get("diversity", 0.0), more.get("explore", 0), initials)


def recommend(world: World, query: Query, asked: Rerank = NEUTRAL, chance: Any = None, size: int = SIZE, seed: int = 0) -> Ranked:
    n = len(query)
    weights = np.random.default_rng(seed).uniform(0, 1, (1, FEATURES)).astype(np.float32).repeat(n, axis=0)
    models: Any = world.models
    nobody = np.full(n, -1, np.int16)
    recommender = Recommender(size=size, keep=EVERYTHING)
    return recommender.recommend(models, query, models.catalog.interest(query), nobody, Net.plain(weights), asked, chance)


def described(world: World, item: int) -> set[bytes]:
    """The brand and categories of an item."""
    catalog: Any = world.models.catalog
    names = [catalog.tokens.name(token) for token in catalog.item_tokens[item].tolist() if token >= 0]
    return {name for name in names if name.startswith((b"brand:", b"category:"))}


def likeness(world: World, one: int, other: int) -> float:
    mine, theirs = described(world, one), described(world, other)
    return len(mine & theirs) / len(mine | theirs) if mine and theirs else 0.0


def barred(world: World, query: Query, user: int) -> set[int]:
    mine = slice(query.starts[user], query.starts[user + 1])
    return world.unavailable | {int(item) for item, no in zip(query.items[mine], query.blocked[mine], strict=True) if no}


def boosted(world: World, boosts: dict[bytes, float], items: list[int], scores: np.ndarray) -> list[tuple[int, float]]:
    """The candidates with their scores, best first, each boosted by what is asked for it."""
    catalog: Any = world.models.catalog
    unit = scores.std() or 1.0
    found = []
    for item, score in zip(items, scores.tolist(), strict=True):
        names = {catalog.tokens.name(token) for token in catalog.item_tokens[item].tolist() if token >= 0}
        found.append((item, score + unit * sum(boost for name, boost in boosts.items() if name in {*names, b"%d" % item})))
    return sorted(found, key=lambda pair: (-np.float32(pair[1]), pair[0]))


def brute_force(world: World, order: list[tuple[int, float]], pins: list[int], diversity: float, size: int) -> list[int]:
    """The list place by place by maximal marginal relevance as Carbonell and Goldstein wrote it, around the pinned items."""
    head = order[: HEAD * size]
    top, low = head[0][1], head[-1][1]
    relevance = {item: (score - low) / (top - low) if top > low else 1.0 for item, score in head}
    shown: list[int] = []
    for place in range(size):
        left = [item for item, _ in head if item not in shown and item not in pins]
        if place < len(pins) and pins[place] >= 0:
            shown.append(pins[place])
        elif left:
            like = {item: max((likeness(world, item, other) for other in shown), default=0.0) for item in left}
            values = {item: (1 - diversity) * relevance[item] - diversity * like[item] for item in left}
            best = max(values.values())
            shown.append(next(item for item in left if values[item] > best - 1e-6))
    return shown


boosts_asked = st.dictionaries(
    st.sampled_from([b"brand:1", b"brand:2", b"category:0", b"category:1/0", b"tag:sale", b"3", b"17", b"tag:nowhere"]),
    st.sampled_from([-2.0, -0.5, 0.25, 1.0, 3.0]),
)
pins_asked = st.lists(st.integers(-1, ITEMS + 3), max_size=SIZE + 2).filter(
    lambda pins: len([pin for pin in pins if pin >= 0]) == len({pin for pin in pins if pin >= 0})
)


@given(st.integers(0, 30), boosts_asked, pins_asked, st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_the_list_is_what_brute_force_makes_of_the_blends_order(
    seed: int, boosts: dict[bytes, float], pins: list[int], diversity: float
) -> None:
    world, query = shop(seed)
    plain = recommend(world, query, size=EVERYTHING)
    ranked = recommend(world, query, wishes(world, boosts, pins=pins, diversity=diversity))
    known = len(world.models.catalog.available)
    for user in range(USERS):
        items, scores = plain.items[user, : plain.count[user]].tolist(), plain.scores[user, : plain.count[user]]
        order = boosted(world, boosts, items, scores)
        standing = [pin if 0 <= pin < known and pin not in barred(world, query, user) else -1 for pin in pins]
        expected = brute_force(world, order, standing[:SIZE], diversity, SIZE)
        assert ranked.items[user, : ranked.count[user]].tolist() == expected
        score_of = dict(order)
        for rank, item in enumerate(expected):
            assert ranked.scores[user, rank] == pytest.approx(score_of.get(item, 0.0), rel=1e-5, abs=1e-5)
            assert (ranked.source[user, rank, 0] == PIN) == (item in standing[:SIZE])
        assert not ranked.propensity.any()


@given(
    st.integers(0, 30),
    boosts_asked,
    pins_asked,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, SIZE + 1),
    st.integers(0, 2**63 - 1),
)
def test_no_item_is_shown_twice_and_none_that_is_barred_or_unavailable(
    seed: int, boosts: dict[bytes, float], pins: list[int], diversity: float, explore: int, chance: int
) -> None:
    world, query = shop(seed)
    asked = wishes(world, boosts, pins=pins, diversity=diversity, explore=explore)
    ranked = recommend(world, query, asked, seeds(chance, range(USERS), range(USERS)))
    plain = recommend(world, query, size=EVERYTHING)
    for user in range(USERS):
        shown = ranked.items[user, : ranked.count[user]].tolist()
        assert len(set(shown)) == len(shown)
        assert not barred(world, query, user) & set(shown)
        assert (ranked.items[user, ranked.count[user] :] == -1).all()
        # A pin may stand where no candidate does; all others are candidates, so a list is only short of those.
        assert len(shown) >= min(SIZE, plain.count[user])


@given(st.integers(0, 30), pins_asked, st.sampled_from([0.0, 0.5]), st.integers(1, SIZE + 1), st.integers(0, 2**63 - 1))
def test_the_last_places_are_drawn_from_those_dealt_to_them(
    seed: int, pins: list[int], diversity: float, explore: int, chance: int
) -> None:
    world, query = shop(seed)
    asked = wishes(world, {}, pins=pins, diversity=diversity, explore=explore)
    ranked = recommend(world, query, asked, seeds(chance, range(USERS), range(USERS)))
    plain = recommend(world, query, size=EVERYTHING)
    for user in range(USERS):
        shown = ranked.items[user, : ranked.count[user]].tolist()
        drawn = ranked.propensity[user, : ranked.count[user]] > 0
        fixed = {item for item, by_chance in zip(shown, drawn, strict=True) if not by_chance}
        allowed = barred(world, query, user)
        slots = sum(
            not (place < len(pins) and 0 <= pins[place] < len(world.models.catalog.available) and pins[place] not in allowed)
            for place in range(max(SIZE - explore, 0), SIZE)
        )
        left = [item for item in plain.items[user, : plain.count[user]].tolist() if item not in fixed]
        hands = [left[slot::slots] for slot in range(slots)]
        assert drawn.sum() == sum(bool(hand) for hand in hands)
        for hand, rank in zip(hands, np.flatnonzero(drawn).tolist(), strict=False):
            assert shown[rank] in hand
            assert ranked.propensity[user, rank] == pytest.approx(1 / len(hand))


@pytest.mark.parametrize("explore", [1, 3])
def test_items_are_drawn_as_often_as_their_propensities_say(explore: int) -> None:
    world, query = shop(11)
    lists, one = 4000, ask([[(1, 1.0, NOW, 0), (2, 1.0, NOW - 5, 0)]], users=[1])
    many = Query(
        users=one.users.repeat(lists),
        now=one.now.repeat(lists),
        starts=np.arange(lists + 1) * 2,
        items=np.tile(one.items, lists),
        times=np.tile(one.times, lists),
        weights=np.tile(one.weights, lists),
        blocked=np.tile(one.blocked, lists),
    )
    chance = seeds(5, np.arange(lists) % 8, np.arange(lists) // 8)
    ranked = recommend(world, many, wishes(world, {}, explore=explore), chance)
    assert (ranked.items[:, : SIZE - explore] == ranked.items[0, : SIZE - explore]).all()
    for rank in range(SIZE - explore, SIZE):
        counts = Counter(ranked.items[:, rank].tolist())
        said = dict(zip(ranked.items[:, rank].tolist(), ranked.propensity[:, rank].tolist(), strict=True))
        assert sum(said.values()) == pytest.approx(1.0, rel=1e-5)
        expected = np.array([said[item] for item in counts]) * lists
        assert stats.chisquare(list(counts.values()), expected * lists / expected.sum()).pvalue > 1e-3
    # Draws of one list do not depend on each other.
    if explore > 1:
        _, columns = np.unique(ranked.items[:, -1], return_inverse=True)
        _, rows = np.unique(ranked.items[:, -2], return_inverse=True)
        table = np.zeros((rows.max() + 1, columns.max() + 1))
        np.add.at(table, (rows, columns), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-3
    assert query.users.size == USERS


def test_weighing_by_the_propensity_gives_back_what_all_would_have_done() -> None:
    world, _ = shop(11)
    lists, one = 6000, ask([[(1, 1.0, NOW, 0)]], users=[1])
    many = Query(*(getattr(one, field.name).repeat(lists, axis=0) for field in fields(one)))
    many.starts = np.arange(lists + 1)
    ranked = recommend(world, many, wishes(world, {}, explore=2), seeds(0, np.zeros(lists), np.arange(lists)))
    liked = {int(item) for item in np.unique(ranked.items[:, -1]) if item % 3 == 0}  # what this user would always take
    taken = np.isin(ranked.items[:, -1], list(liked))
    estimate = (taken / ranked.propensity[:, -1]).mean()
    assert estimate == pytest.approx(len(liked), rel=0.1)


def test_a_list_made_again_is_the_same_and_other_triggers_give_others() -> None:
    world, query = shop(3)
    asked = wishes(world, {b"brand:1": 1.0}, pins=[7], diversity=0.4, explore=2)

    def made(seed: int, offset: int) -> list[bytes]:
        ranked = recommend(world, query, asked, seeds(seed, [2] * USERS, np.arange(USERS) + offset))
        return [getattr(ranked, field.name).tobytes() for field in fields(ranked)]

    assert made(1, 100) == made(1, 100)
    assert made(1, 100) != made(1, 200)
    assert made(1, 100) != made(2, 100)


def test_nothing_asked_changes_nothing() -> None:
    for seed in range(10):
        world, query = shop(seed)
        plain, asked = recommend(world, query), recommend(world, query, wishes(world, {}), seeds(9, range(USERS), range(USERS)))
        assert all(getattr(plain, one.name).tobytes() == getattr(asked, one.name).tobytes() for one in fields(plain))
        for user in range(USERS):
            mine = slice(plain.starts[user], plain.starts[user + 1])
            count = plain.count[user]
            assert plain.candidates[mine][:count].tolist() == plain.items[user, :count].tolist()
            assert plain.shown[mine].tolist() == [*range(1, count + 1), *[0] * (mine.stop - mine.start - count)]
        assert not plain.propensity.any()
        assert plain.source.max() < PIN


def test_a_boost_means_the_same_whatever_the_scale_of_the_scores() -> None:
    world, query = shop(4)
    asked = wishes(world, {b"brand:1": 0.7, b"tag:sale": -0.4})
    models: Any = world.models
    found = []
    for scale in (1.0, 64.0):
        net = Net.plain(np.linspace(0.1, 1, FEATURES, dtype=np.float32)[None].repeat(USERS, axis=0) * np.float32(scale))
        nobody, vectors = np.full(USERS, -1, np.int16), models.catalog.interest(query)
        found.append(Recommender(size=SIZE).recommend(models, query, vectors, nobody, net, asked).items.tolist())
    assert found[0] == found[1]


def test_kept_candidates_stay_in_the_order_of_the_blend_and_say_where_they_were_shown() -> None:
    for seed in range(10):
        world, query = shop(seed)
        asked = wishes(world, {b"brand:2": 2.0}, pins=[-1, 9], diversity=0.5, explore=2)
        plain, ranked = recommend(world, query), recommend(world, query, asked, seeds(seed, range(USERS), range(USERS)))
        for user in range(USERS):
            mine = slice(ranked.starts[user], ranked.starts[user + 1])
            candidates = ranked.candidates[mine].tolist()
            before = plain.candidates[plain.starts[user] : plain.starts[user + 1]].tolist()
            assert (candidates[:10], sorted(candidates)) == (before[:10], sorted(before))
            for rank, item in enumerate(ranked.items[user, : ranked.count[user]].tolist()):
                if item in candidates:
                    shown = int(ranked.shown[mine][candidates.index(item)])
                    given_away = ranked.propensity[user, rank] > 0 or ranked.source[user, rank, 0] == PIN
                    assert (shown & PLACES, bool(shown & GIVEN)) == (rank + 1, given_away)
            assert np.count_nonzero(ranked.shown[mine]) <= ranked.count[user]


def test_what_is_shown_is_kept_however_low_the_blend_has_it() -> None:
    world, query = shop(2)
    models: Any = world.models
    net, nobody = Net.plain(np.full((USERS, FEATURES), 0.5, np.float32)), np.full(USERS, -1, np.int16)
    arguments = models, query, models.catalog.interest(query), nobody, net
    every = Recommender(size=EVERYTHING, keep=EVERYTHING).recommend(*arguments)
    last = int(every.items[0, every.count[0] - 1])
    few = Recommender(size=SIZE, keep=15, judged=1)
    for boosts, is_kept in (({}, False), ({b"%d" % last: 10.0}, True)):
        ranked = few.recommend(*arguments, wishes(world, boosts))
        assert ranked.starts[1] == 15
        assert (last in ranked.candidates[:15].tolist()) == is_kept == (ranked.items[0, 0] == last)


def test_diversity_spreads_a_list_over_categories() -> None:
    tokens = {item: [b"category:%d" % (item % 4)] for item in range(ITEMS)}
    # The first category is by far the most popular.
    events = [(user, item, 1.0, NOW - DAY) for user in range(4) for item in range(ITEMS) for _ in range(1 if item % 4 else 9)]
    world, query = build(events, tokens=tokens), ask([[]], users=[-1])
    shown = {
        diversity: [item % 4 for item in recommend(world, query, wishes(world, {}, diversity=diversity)).items[0].tolist()]
        for diversity in (0.0, 0.6)
    }
    assert len(set(shown[0.0])) == 1
    assert set(shown[0.6]) == {0, 1, 2, 3}


def test_few_candidates_leave_no_gaps() -> None:
    world = build([(0, item, 1.0, NOW - DAY) for item in range(3)])
    ranked = recommend(world, ask([[]], users=[-1]), wishes(world, {}, pins=[-1, -1, -1, 1], explore=1))
    assert ranked.count[0] == 3
    assert sorted(ranked.items[0, :3].tolist()) == [0, 1, 2]
    nobody = recommend(build([]), ask([[]], users=[-1]), wishes(build([]), {}, pins=[-1, 900], diversity=0.5, explore=2))
    assert nobody.count.tolist() == [0]
