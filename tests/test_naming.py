"""Names say what sets a segment apart, stay while little changes, and no two are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.naming import BETWEEN, Facet, Trait, name_all

VISITS = 1000.0


def labels(*shares: dict[str, float], visits: float = VISITS, most: int = 2) -> Facet:
    """Segments whose visits have these shares of labels; a slash makes a path."""
    paths = list(dict.fromkeys(path for row in shares for path in row))
    traits = [Trait(path.rsplit("/", 1)[-1], tuple(path.split("/")) if most > 1 else ()) for path in paths]
    mass = np.array([[visits * row.get(path, 0.0) for path in paths] for row in shares])
    return Facet(traits, most, mass, np.full(len(shares), visits))


def named(*facets: Facet, before: dict[int, str] | None = None) -> list[str]:
    names = name_all(range(len(facets[0].total)), facets, before or {})
    return list(names.values())


def test_a_segment_is_named_by_what_it_has_more_of_than_everyone():
    assert named(labels({"tea": 0.3, "milk": 0.1}, {"tea": 0.1, "milk": 0.3})) == ["tea", "milk"]


def test_a_name_says_labels_then_hours_then_prices_and_three_words_at_most():
    goods = labels({"tea": 0.3, "milk": 0.3, "soap": 0.25}, {"tea": 0.1})
    week = labels({"weekend": 0.5}, {"weekend": 0.2}, most=1)
    price = labels({"low price": 0.4}, {"low price": 0.1}, most=1)
    assert named(goods, week, price)[0] == "milk · soap · low price"
    assert named(goods, week)[0] == "milk · soap · weekend"


def test_what_is_common_and_distinctive_goes_before_what_is_only_rare():
    assert named(labels({"tea": 0.4, "saffron": 0.01}, {"tea": 0.1, "saffron": 0.0}), before={})[0].startswith("tea")


def test_where_nothing_sets_a_segment_apart_it_has_its_number():
    assert named(labels({"tea": 0.2}, {"tea": 0.2})) == ["segment 0", "segment 1"]
    assert named(labels({"tea": 0.3}, {"tea": 0.1}, visits=8.0)) == ["segment 0", "segment 1"], "eight visits may be chance"
    assert named(labels({"tea": 0.505}, {"tea": 0.495}, visits=1e6)) == ["segment 0", "segment 1"], "sure, but who would care"


def test_the_mainstream_is_named_by_less_where_no_word_holds():
    assert named(labels({"tea": 0.55, "milk": 0.2}, {"tea": 0.5, "milk": 0.6}, visits=1e4)) == ["tea", "milk"]


def test_a_category_above_is_no_further_word_and_one_below_only_if_much_sharper():
    same = labels({"food": 0.4, "food/tea": 0.2}, {"food": 0.2, "food/tea": 0.1})
    assert named(same)[0] == "food"
    sharp = labels({"food": 0.45, "food/tea": 0.04}, {"food": 0.2, "food/tea": 0.0})
    assert named(sharp)[0] == "food · tea"
    narrow = labels({"food": 0.3, "food/tea": 0.29}, {"food": 0.2, "food/tea": 0.01})
    assert named(narrow)[0] == "tea"


def test_words_that_share_a_part_are_not_put_side_by_side():
    assert named(labels({"green tea": 0.3, "black tea": 0.2}, {"green tea": 0.05, "black tea": 0.05}))[0] == "green tea"


def test_a_word_that_another_segment_has_gives_way_to_one_of_its_own():
    goods = {"tea": 0.3, "milk": 0.1, "soap": 0.09}
    assert named(labels(goods, goods, {"tea": 0.0}, visits=9000.0)) == ["tea · milk", "tea · soap", "segment 2"]


def test_segments_that_are_alike_are_told_apart_by_a_further_word_or_their_number():
    week = labels({"weekend": 0.5}, {"weekend": 0.5}, {"weekend": 0.1}, most=1)
    tea = labels({"tea": 0.5}, {"tea": 0.5}, {"tea": 0.1})
    assert named(tea, week) == ["tea · weekend", "tea · weekend · segment 1", "segment 2"]


def test_a_name_stays_until_another_word_says_half_as_much_again():
    def at(tea: float, milk: float, before: str) -> str:
        return named(labels({"tea": tea, "milk": milk}, {"tea": 0.1, "milk": 0.1}, most=1), before={0: before})[0]

    assert (at(0.20, 0.21, ""), at(0.20, 0.21, "tea")) == ("milk", "tea")
    assert (at(0.20, 0.26, ""), at(0.20, 0.26, "tea")) == ("milk", "milk")


def test_a_word_stays_until_it_says_half_of_what_a_new_one_must():
    def at(share: float, before: str) -> str:
        return named(labels({"tea": share}, {"tea": 0.1}), before={0: before})[0]

    shares = np.arange(0.1, 0.3, 0.001)
    comes = min(share for share in shares if at(share, "") == "tea")
    goes = max(share for share in shares if at(share, "tea") != "tea")
    assert goes < comes - 0.003
    assert all(at(share, "") == at(share, "tea") for share in shares if not goes <= share <= comes)


def test_words_keep_their_order_when_what_they_say_changes():
    def at(tea: float, milk: float, before: str) -> str:
        return named(labels({"tea": tea, "milk": milk}, {"tea": 0.1, "milk": 0.1}), before={0: before})[0]

    assert at(0.4, 0.3, "") == "tea · milk"
    assert at(0.3, 0.4, "") == "milk · tea"
    assert at(0.3, 0.4, "tea · milk") == "tea · milk"


shares = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "b/c", "b/c/d", "e f", "f g"]), st.floats(0, 1)), min_size=1, max_size=12
)


@settings(deadline=None)
@given(shares, st.dictionaries(st.integers(0, 12), st.sampled_from(["", "a", "a · b", "c · segment 3", "x"])))
def test_names_differ_whatever_the_segments_are_and_were_called(drawn, before):
    facet = labels(*drawn)
    names = name_all(range(len(drawn)), [facet], before)
    assert len({frozenset(name.split(BETWEEN)) for name in names.values()}) == len(drawn)
    assert all(1 <= len(name.split(BETWEEN)) <= 4 for name in names.values())
    assert name_all(range(len(drawn)), [facet], before) == names


@pytest.mark.parametrize("seed", range(5))
def test_names_stand_still_when_nothing_changes(seed):
    mass = np.random.default_rng(seed).gamma(0.3, 300, (8, 12))
    facet = Facet([Trait(f"w{n}") for n in range(12)], 2, mass, mass.sum(axis=1))
    names = name_all(range(8), [facet], {})
    for _ in range(3):
        again = name_all(range(8), [facet], names)
        assert again == names


def test_a_little_noise_changes_fewer_names_than_without_memory():
    random = np.random.default_rng(1)
    mass = random.gamma(0.3, 300, (8, 30)) + 20
    traits = [Trait(f"w{n}") for n in range(30)]
    kept: dict[int, str] = {}
    fresh: dict[int, str] = {}
    changes = {"kept": 0, "fresh": 0}
    for _ in range(40):
        noisy = mass * random.uniform(0.9, 1.1, mass.shape)
        facet = Facet(traits, 2, noisy, noisy.sum(axis=1))
        now, new = name_all(range(8), [facet], kept), name_all(range(8), [facet], {})
        changes["kept"] += sum(kept.get(k, name) != name for k, name in now.items())
        changes["fresh"] += sum(fresh.get(k, name) != name for k, name in new.items())
        kept, fresh = now, new
    assert changes["kept"] * 5 < changes["fresh"]
