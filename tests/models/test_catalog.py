from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.models.catalog import Catalog
from streams.models.ids import pack
from streams.models.query import Query
from streams.models.tokens import label, tokenize

DAY = 86400.0


def entries(catalog: Catalog, *rows: tuple[int, list[bytes], int, int]) -> None:
    """Apply rows of (item, tokens, available, offset)."""
    items, tokens, available, offsets = zip(*rows, strict=True)
    starts = np.cumsum([0, *(len(each) for each in tokens)])
    packed = pack([token for each in tokens for token in each])
    catalog.apply(np.array(items, np.int32), packed, starts, np.array(available, np.uint8), np.array(offsets, np.int64))


def visits(catalog: Catalog, users: list[int], items: list[int]) -> None:
    catalog.visit(None, np.array(users, np.int32), np.array(items, np.int32))


def query(*histories: list[tuple[int, float, float]], now: float = 0.0) -> Query:
    """Ask for users with histories of (item, age, weight)."""
    rows = [row for history in histories for row in history]
    items, ages, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return Query(
        users=np.arange(len(histories), dtype=np.int32),
        now=np.full(len(histories), now),
        starts=np.cumsum([0, *map(len, histories)]),
        items=np.array(items, np.int32),
        times=now - np.array(ages, np.float64),
        weights=np.array(weights, np.float32),
        blocked=np.zeros(len(rows), np.uint8),
    )


def unit(vector: NDArray[np.float32]) -> NDArray[np.float64]:
    length = np.linalg.norm(vector.astype(np.float64))
    return vector / length if length > 0 else vector.astype(np.float64)


def shelf(catalog: Catalog, token: bytes) -> set[int]:
    (index,) = catalog.tokens.find(pack([token]))
    return set(catalog.postings[index].tolist()) - {-1}


def test_tokens_come_in_the_order_of_what_they_say() -> None:
    assert tokenize("Salt & Vinegar crisps 150 g", "ACME  Foods", "Grocery/Snacks", 5.0, ["Vegan"]) == [
        b"brand:acme foods",
        b"category:grocery",
        b"category:grocery/snacks",
        b"tag:vegan",
        b"price:2",
        b"word:salt",
        b"word:vinegar",
        b"word:crisps",
    ]


@pytest.mark.parametrize("category", ["a/b", "A / B", "a > b", "a|b", "a.b", ["a", "b"], "/a//b/"], ids=str)
def test_every_spelling_of_a_path_gives_the_same_categories(category: str | list[str]) -> None:
    assert tokenize(category=category) == [b"category:a", b"category:a/b"]


@pytest.mark.parametrize("price", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_nothing_is_said_of_a_price_that_is_none(price: float | None) -> None:
    assert tokenize(price=price) == []


@given(st.text(), st.text(), st.text(), st.floats(), st.lists(st.text()))
def test_any_texts_give_few_short_distinct_tokens(name: str, brand: str, category: str, price: float, tags: list[str]) -> None:
    tokens = tokenize(name, brand, category, price, tags)
    assert len(set(tokens)) == len(tokens) <= 16
    assert all(0 < len(token) <= 256 for token in tokens)


def test_labels_name_interests_and_nothing_else() -> None:
    tokens = [b"brand:acme", b"category:grocery/produce", b"tag:x:y", b"word:crisps", b"price:3"]
    assert [label(token) for token in tokens] == ["acme", "grocery/produce", "x:y", None, None]
    catalog = Catalog()
    entries(catalog, (2, tokens, 1, 0))
    assert catalog.item_labels(2) == [0, 1, 2]
    assert catalog.labels(2) == ["acme", "grocery/produce", "x:y"]
    assert catalog.labels(0) == catalog.labels(99) == catalog.labels(-1) == []
    assert catalog.label(4) is None


def test_an_older_entry_changes_nothing() -> None:
    catalog = Catalog()
    entries(catalog, (0, [b"brand:new"], 0, 7), (0, [b"brand:old"], 1, 7), (0, [b"brand:older"], 1, 3))
    assert catalog.labels(0) == ["new"]
    assert catalog.available[0] == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 1), st.integers(0, 9)), max_size=20))
def test_a_batch_of_entries_is_the_same_as_one_by_one(rows: list[tuple[int, int, int, int]]) -> None:
    whole, single = Catalog(posting=3), Catalog(posting=3)
    changes = [(item, [b"tag:%d" % tag, b"brand:a"], available, offset) for item, tag, available, offset in rows]
    if changes:
        entries(whole, *changes)
    for change in changes:
        entries(single, change)
    assert {name: array.tobytes() for name, array in whole.arrays().items()} == {
        name: array.tobytes() for name, array in single.arrays().items()
    }


def test_a_deleted_item_is_unavailable_until_a_newer_entry_comes() -> None:
    catalog = Catalog()
    entries(catalog, (0, [b"brand:acme"], 1, 5))
    catalog.forget(np.array([0], np.int32), np.array([4]))
    assert catalog.available[0]
    catalog.forget(np.array([0], np.int32), np.array([6]))
    assert not catalog.available[0]
    assert not catalog.known[0]
    assert not catalog.content[0].any()
    assert catalog.labels(0) == []
    entries(catalog, (0, [b"brand:acme"], 1, 6))
    assert not catalog.available[0]
    entries(catalog, (0, [b"brand:acme"], 1, 7))
    assert catalog.available[0]


def test_an_item_without_an_entry_is_available() -> None:
    catalog = Catalog()
    visits(catalog, [0], [5000])
    assert catalog.available[:5001].all()
    assert not catalog.known[:5001].any()


def test_items_of_the_same_tokens_have_the_same_content_and_others_are_far() -> None:
    catalog = Catalog(dimensions=256)
    rows = [(item, [b"brand:%d" % (item // 2), b"category:%d" % (item // 2)], 1, item) for item in range(40)]
    entries(catalog, *rows)
    vectors = np.array([unit(row) for row in catalog.content[:40]])
    likeness = vectors @ vectors.T
    pairs = likeness.reshape(20, 2, 20, 2)
    assert np.allclose(pairs[np.arange(20), 0, np.arange(20), 1], 1)
    others = likeness[np.arange(40)[:, None] // 2 != np.arange(40) // 2]
    assert abs(others.mean()) < 0.05
    assert others.max() < 0.6


def test_items_visited_together_have_a_like_context() -> None:
    random, catalog = np.random.default_rng(0), Catalog()
    for user in range(400):
        group = user % 4
        visits(catalog, [user] * 6, (group * 10 + random.choice(10, 6, replace=False)).tolist())
    vectors = np.array([unit(row) for row in catalog.context[:40]])
    likeness = (vectors @ vectors.T).reshape(4, 10, 4, 10).mean(axis=(1, 3))
    assert np.diag(likeness).min() > 0.8
    assert likeness[~np.eye(4, dtype=bool)].max() < 0.5


def test_the_same_item_again_is_one_visit() -> None:
    once, again = Catalog(), Catalog()
    visits(once, [0, 0], [1, 2])
    visits(again, [0, 0, 0, 0], [1, 1, 2, 2])
    assert (once.context == again.context).all()
    assert again.visited[:3].tolist() == [0, 1, 1]


def test_last_items_are_kept_newest_first_and_once() -> None:
    catalog = Catalog()
    visits(catalog, [0] * 6, [1, 2, 3, 4, 3, 5])
    assert catalog.recent[0].tolist() == [5, 3, 4]


def test_a_token_leads_to_the_items_lately_seen_under_it_each_once() -> None:
    catalog = Catalog(posting=4)
    entries(catalog, *((item, [b"tag:x"], 1, item) for item in range(3)), (3, [b"tag:x"], 0, 3))
    assert shelf(catalog, b"tag:x") == {0, 1, 2}
    visits(catalog, [0, 1, 2, 0], [2, 1, 2, 1])
    assert catalog.posting_count[0] == 3
    entries(catalog, *((item, [b"tag:x"], 1, item) for item in range(10, 13)))
    assert shelf(catalog, b"tag:x") == {2, 10, 11, 12}
    visits(catalog, [5], [0])
    assert shelf(catalog, b"tag:x") == {0, 10, 11, 12}


def test_interest_is_the_decayed_mean_of_the_items_vectors() -> None:
    random, catalog = np.random.default_rng(3), Catalog(half_life=2 * DAY)
    entries(catalog, *((item, [b"brand:%d" % random.integers(4), b"tag:%d" % item], 1, item) for item in range(8)))
    visits(catalog, random.integers(0, 5, 60).tolist(), random.integers(0, 12, 60).tolist())
    histories = [
        [(int(random.integers(-1, 14)), float(random.exponential(3 * DAY)), float(random.choice([-1, 1, 3])))
         for _ in range(random.integers(0, 9))]
        for _ in range(20)
    ]  # fmt: skip
    found = catalog.interest(query(*histories, now=1.7e9))
    for history, vector in zip(histories, found, strict=True):
        total = np.zeros(32)
        for item, age, weight in history:
            if item >= 0:
                both = unit(catalog.content[item]) + unit(catalog.context[item])
                total += weight * 2 ** (-age / (2 * DAY)) * unit(both)
        np.testing.assert_allclose(vector, unit(total), atol=2e-6)


def test_nothing_known_is_no_interest() -> None:
    catalog = Catalog()
    entries(catalog, (0, [b"brand:a"], 1, 0))
    found = catalog.interest(query([], [(-1, 0.0, 1.0), (999_999, 0.0, 1.0)], [(0, 0.0, 1.0), (0, 0.0, -1.0)]))
    assert not found.any()
    assert catalog.interest(query()).shape == (0, 32)


def test_content_needs_no_visits_and_context_no_entry() -> None:
    catalog = Catalog()
    entries(catalog, (0, [b"brand:a"], 1, 0))
    visits(catalog, [0, 0], [1, 2])
    found = catalog.interest(query([(0, 0.0, 1.0)], [(1, 0.0, 1.0)]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def test_a_crowd_of_visits_does_not_outgrow_float32() -> None:
    catalog = Catalog()
    visits(catalog, [0] * 200_000, [1, 2] * 100_000)
    assert np.isfinite(catalog.context).all()
    assert np.abs(catalog.context).max() < 2000


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions=0"):
        Catalog(dimensions=0)
