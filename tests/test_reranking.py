"""Rerank through the whole pipeline: names looked up as they come, nobody barred ever shown, and what the shown lists teach."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalogue import change_of
from streams.decode import Batch
from streams.memory import Loop
from streams.models.lesson import Lesson
from streams.models.rerank import NEUTRAL
from streams.records import Kind, Record, decode, decode_lesson, encode, encode_catalog
from streams.reranking import Reranking
from streams.schemas import Item, Recommendation
from streams.settings import Settings

MOMENT = 1_700_000_000


class Shop:
    """A pipeline in memory, told events and catalogue entries one step at a time."""

    def __init__(self, **sections: Any) -> None:
        self.settings = Settings(**{"exclude": "dislike", "intake": {"cached_users": 100, "batch_events": 100}} | sections)
        self.loop = Loop(self.settings)
        self.offset = self.entries = 0
        self.lessons: list[Lesson] = []

    def stock(self, *items: Item) -> None:
        """Take catalogue entries."""
        placed = [(0, self.entries + n, item) for n, item in enumerate(items)]
        self.entries += len(items)
        self.loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change_of(placed))))])

    def tell(self, *events: tuple[str, str, str]) -> dict[str, Recommendation]:
        """Tell (user, item, type); gives the lists that answer them."""
        messages: Any = [
            SimpleNamespace(offset=self.offset + n, timestamp=1000 * MOMENT, key=None, headers=(), value=_event(*event))
            for n, event in enumerate(events)
        ]
        answer = asyncio.run(self.loop.pipeline.prepare(Batch({0: messages}, {0: self.offset}), 1))
        self.lessons += [decode_lesson(decode(value, 0).body) for value in answer.records]
        self.offset += len(events)
        self.loop.finish(answer)
        return {key.decode(): msgspec.json.decode(value, type=Recommendation) for key, value in answer.recommendations}


def _event(user: str, item: str, kind: str) -> bytes:
    return msgspec.json.encode({"type": kind, "user_id": user, "item_id": item, "timestamp": MOMENT})


def entry(number: int, *, available: bool = True) -> Item:
    return Item(f"i{number}", brand=f"Brand {number % 3}", category=("all", f"c{number % 4}"), available=available)


def crowd(shop: Shop, seed: int = 1, events: int = 120, items: int = 30) -> None:
    chance = random.Random(seed)
    shop.stock(*(entry(number) for number in range(items)))
    for _ in range(events // 10):
        shop.tell(*((f"u{chance.randrange(8)}", f"i{chance.randrange(items)}", "view") for _ in range(10)))


def ids(answer: Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


ALL: Any = {
    "boosts": {"brand: BRAND 1": 2.0, "category:All > C2": -1.5, "item:i7": 3.0, "tag:none": 1.0},
    "pins": {1: "i5", 4: "i11", 9: "never"},
    "diversity": 0.4,
    "explore": 3,
    "seed": 7,
}


def test_nothing_set_asks_for_nothing() -> None:
    shop = Shop()
    crowd(shop)
    assert Reranking(Settings().rerank).asked(shop.loop.fold.models) is NEUTRAL


def test_names_are_found_however_they_are_written_and_whenever_they_come() -> None:
    reranking, shop = Reranking(Settings(rerank=ALL).rerank), Shop()
    models = shop.loop.fold.models
    asked = reranking.asked(models)
    assert (len(asked.tokens), len(asked.items), asked.pins.tolist()) == (0, 0, [-1] * 9)
    crowd(shop)
    asked = reranking.asked(models)
    tokens = {
        models.catalog.tokens.name(token): boost
        for token, boost in zip(asked.tokens.tolist(), asked.token_boosts.tolist(), strict=True)
    }
    assert tokens == {b"brand:brand 1": 2.0, b"category:all/c2": -1.5}
    assert asked.tokens.tolist() == sorted(asked.tokens.tolist())
    assert models.items.names(asked.items) == [b"i7"]
    assert [models.items.name(pin) if pin >= 0 else None for pin in asked.pins.tolist()] == [
        b"i5", None, None, b"i11", None, None, None, None, None,
    ]  # fmt: skip


def test_what_is_asked_for_is_what_is_published() -> None:
    shop = Shop(rerank=ALL)
    crowd(shop)
    (answer,) = shop.tell(("u1", "i3", "view")).values()
    items = ids(answer)
    assert (items[0], items[3], len(items)) == ("i5", "i11", 10)
    for place, item in enumerate(answer.items):
        assert ([reason.source for reason in item.reasons] == ["pin"]) == (place in {0, 3})
        assert (item.propensity is not None) == (place >= 7)
    # What is boosted most stands first among those that are not pinned, and each answer names its candidates' chances.
    assert items[1] == "i7"
    assert all(0 < item.propensity <= 1 for item in answer.items if item.propensity is not None)


def test_a_list_made_again_from_the_same_log_is_the_same_with_the_same_id() -> None:
    answers = []
    for _ in range(2):
        shop = Shop(rerank=ALL)
        crowd(shop)
        answers.append(shop.tell(("u1", "i3", "view"), ("u2", "i4", "view")))
    for user, one in answers[0].items():
        again = answers[1][user]
        assert (one.recommendation_id, one.items) == (again.recommendation_id, again.items)
    other = Shop(rerank=ALL | {"seed": 8})
    crowd(other)
    lists = other.tell(("u1", "i3", "view"), ("u2", "i4", "view"))
    assert [ids(lists[user])[7:] for user in ("u1", "u2")] != [ids(answers[0][user])[7:] for user in ("u1", "u2")]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("stock"), st.integers(0, 19), st.booleans()),
        st.tuples(st.integers(0, 3), st.integers(0, 19), st.sampled_from(["view", "purchase", "dislike"])),
    ),
    max_size=30,
)


@settings(max_examples=30, deadline=None)
@given(
    steps,
    st.dictionaries(st.integers(1, 6), st.integers(0, 19).map("i{}".format), max_size=4).filter(
        lambda pins: len({*pins.values()}) == len(pins)
    ),
    st.dictionaries(st.sampled_from(["brand:brand 1", "category:all", "item:i3"]), st.sampled_from([-3.0, 3.0])),
    st.sampled_from([0.0, 0.5]),
    st.integers(0, 6),
)
def test_what_a_user_disliked_and_what_is_unavailable_is_never_published(
    steps: list[tuple[Any, int, Any]], pins: dict[int, str], boosts: dict[str, float], diversity: float, explore: int
) -> None:
    asked = {"boosts": boosts, "pins": pins, "diversity": diversity, "explore": explore}
    shop, away = Shop(rerank=asked, publish={"size": 6}), set()
    disliked: dict[str, set[str]] = {}
    for who, number, what in steps:
        if who == "stock":
            shop.stock(entry(number, available=what))
            (away.discard if what else away.add)(f"i{number}")
            continue
        user, item = f"u{who}", f"i{number}"
        if what == "dislike":
            disliked.setdefault(user, set()).add(item)
        shown = ids(shop.tell((user, item, what))[user])
        assert not {*shown} & (away | disliked.get(user, set()))
        assert len({*shown}) == len(shown) <= 6


def hits(shop: Shop, *event: str) -> tuple[Lesson, list[int]]:
    """Tell one event and give its lesson: lists judged, hits of the blend and of the published list."""
    shop.tell(event)  # type: ignore[arg-type]
    lesson = shop.lessons[-1]
    return lesson, [lesson.judged, *lesson.hits[-2:].tolist()]


def test_what_chance_or_a_pin_has_shown_counts_for_the_list_alone() -> None:
    shop = Shop(rerank={"explore": 3, "pins": {2: "i4"}})
    crowd(shop)
    for number in range(12):
        answer = shop.tell((f"u{number % 8}", "i3", "view"))[f"u{number % 8}"]
        taken = answer.items[[1, 7, 8, 9][number % 4]].item_id
        lesson, counted = hits(shop, f"u{number % 8}", taken, "view")
        assert counted == [1, 0, 1]
        assert not lesson.hits[:-1].any()
        assert len(lesson.gradient) == 0


def test_what_the_blend_has_shown_and_what_it_has_not_teaches_as_ever() -> None:
    shop = Shop(rerank={"explore": 3, "pins": {2: "i4"}})
    crowd(shop)
    answer = shop.tell(("u1", "i3", "view"))["u1"]
    lesson, counted = hits(shop, "u1", ids(answer)[0], "view")
    assert counted == [1, 1, 1]
    assert lesson.blend_events.tolist() == [1]
    # The pin took a place: the tenth of the blend may be out of the list, and is the blend's hit all the same.
    kept = shop.loop.pipeline.profiles.kept
    profile = shop.loop.pipeline.profiles._cache["u1"]
    blended = kept.items[profile.slot][:10].tolist()
    hidden = next(item for item, shown in zip(blended, kept.shown[profile.slot][:10].tolist(), strict=True) if shown == 0)
    lesson, counted = hits(shop, "u1", shop.loop.fold.models.items.name(hidden).decode(), "view")
    assert counted == [1, 1, 0]
    assert lesson.blend_events.tolist() == [1]


def test_without_rerank_the_blend_and_the_list_are_one() -> None:
    shop = Shop()
    crowd(shop)
    both = np.array([lesson.hits[-2:] for lesson in shop.lessons])
    assert both.sum() > 20
    assert (both[:, 0] == both[:, 1]).all()
    models = shop.loop.fold.models
    assert models.hits.tolist() == sum(lesson.hits for lesson in shop.lessons)[:-1].tolist()
    assert models.hit_rate()["blend"] == pytest.approx(both[:, 1].sum() / models.judged)


def test_the_guard_does_not_answer_for_what_the_shop_asks_for() -> None:
    shop = Shop(rerank={"pins": {place: f"i{20 + place}" for place in range(1, 10)}})
    crowd(shop)
    models, blended = shop.loop.fold.models, sum(lesson.hits for lesson in shop.lessons)[-2]
    assert models.hits[-1] != blended
    # So few events fade by less than a hit.
    assert models.blend.recent[-1] == pytest.approx(blended, abs=1 + 0.05 * blended)
