"""What a shop asks of its lists, through the whole service, read by a client that is not ours."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from state import Reader
from streams.embedded import RedisServer
from tests.e2e.conftest import renamed, serving
from tests.outside import Outside, event

USERS, ITEMS = 12, 24
RERANK = {
    "boosts": json.dumps({"brand:Brand 1": 8.0, "tag:old": -3.0}),
    "pins": json.dumps({2: "i5", 3: "i6"}),
    "diversity": 0.5,
    "explore": 2,
    "seed": 3,
}


def entry(number: int, *, available: bool = True) -> tuple[bytes, bytes]:
    said = {"brand": f"Brand {number % 3}", "category": f"all/c{number % 4}", "tags": ["old"] * (number > 20)}
    return b"i%d" % number, json.dumps({"item_id": f"i{number}", "available": available} | said).encode()


@pytest.fixture(scope="module")
def shop(shared_tree):
    """A worker that reranks, and what it published last to each user; i6 has gone out of stock before."""
    with ExitStack() as stack:
        tree = renamed(shared_tree, "rerank", rerank=RERANK, redis=stack.enter_context(RedisServer()).url)
        stack.enter_context(serving(tree))
        outside = stack.enter_context(Outside(tree))
        outside.send("items", [entry(number) for number in range(ITEMS)])
        outside.wait(lambda: outside.hash(f"item:i{ITEMS - 1}"), "the catalogue")
        for step in range(4):
            outside.push(*(event(f"u{user}", f"i{(7 * step + user) % ITEMS}") for user in range(USERS)))
            outside.settle()
        outside.send("items", [entry(6, available=False)])
        outside.wait(lambda: outside.hash("item:i6").get("available") == "0", "i6 is out of stock")
        # Redis knows it before the models do.
        outside.wait(lambda: int(outside.hash("model")["version"]) >= outside.ends("learned")[0], "the models know it")
        outside.push(*(event(f"u{user}", f"i{user}", "dislike" if user == 5 else "view") for user in range(USERS)))
        outside.settle()
        yield tree, outside, {user: one["items"] for user, one in outside.newest().items()}


def test_pins_stand_in_their_places_unless_unavailable_or_disliked(shop):
    _, _, lists = shop
    for user, items in lists.items():
        names = [item["item_id"] for item in items]
        assert len({*names}) == len(names) == 10
        assert "i6" not in names
        if user == "u5":
            assert "i5" not in names
        else:
            assert items[1]["item_id"] == "i5"
            assert items[1]["reasons"] == [{"source": "pin", "share": 1.0, "because": []}]
        pinned = [item["item_id"] for item in items if item["reasons"][0]["source"] == "pin"]
        assert pinned == ([] if user == "u5" else ["i5"])


def test_a_boosted_brand_comes_first_and_categories_are_mixed(shop):
    _, _, lists = shop
    for items in lists.values():
        numbers = [int(item["item_id"][1:]) for item in items]
        assert numbers[0] % 3 == 1
        assert len({number % 4 for number in numbers[:8]}) >= 3


def test_drawn_items_say_their_propensity_and_the_last_places_differ_between_users(shop):
    _, outside, lists = shop
    for items in lists.values():
        assert [list(item) for item in items] == [["item_id", "score", "reasons"]] * 8 + [
            ["item_id", "score", "reasons", "propensity"]
        ] * 2
        assert all(1 / ITEMS <= item["propensity"] <= 1 for item in items[8:])
    assert len({items[9]["item_id"] for items in lists.values()}) > 2
    assert not outside.read("dead")


def test_redis_and_the_reader_tell_the_same(shop):
    tree, outside, lists = shop
    with Reader(tree["redis"], tree["prefix"]) as reader:
        for user, items in lists.items():
            assert outside.user(user)["recommendations"]["items"] == items
            read = reader.recommendations(user)
            assert read is not None
            assert [item.propensity for item in read.items] == [item.get("propensity") for item in items]
