"""Segments as people read them: names from what their users really did, sizes, shares, growth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streams.catalogue import change_of
from streams.decode import Batch
from streams.facets import Facets
from streams.knobs.models import Segments
from streams.memory import Loop
from streams.models.ids import pack
from streams.models.lesson import Lesson
from streams.models.models import Models
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import Item, decode_item
from streams.segments import Describer, in_use
from streams.settings import Settings

HOUR, DAY = 3600.0, 86400.0
MONDAY = datetime(2024, 12, 30, tzinfo=UTC).timestamp()


def item(item_id: str, **fields: Any) -> Item:
    found = decode_item(None, json.dumps({"item_id": item_id, **fields}).encode())
    assert isinstance(found, Item)
    return found


def models(visits: Iterable[tuple[int, str, float, str]], catalogue: Iterable[Item] = ()) -> Models:
    """Models that were taught visits: (segment, item, time, type), each of a user of its own."""
    found, rows = Models(), list(visits)
    found.change_catalog(change_of([(0, offset, entry) for offset, entry in enumerate(catalogue)]))
    items, types = list(dict.fromkeys(row[1] for row in rows)), list(dict.fromkeys(row[3] for row in rows))
    lesson = Lesson(
        events=len(rows),
        user_ids=pack([b"u%d" % n for n in range(len(rows))]),
        user_segments=np.array([row[0] for row in rows], np.int16),
        item_ids=pack([one.encode() for one in items]),
        users=np.arange(len(rows), dtype=np.uint32),
        items=np.array([items.index(row[1]) for row in rows], np.uint32),
        weights=np.ones(len(rows), np.float32),
        times=np.array([row[2] for row in rows]),
        types=pack([one.encode() for one in types]),
        kinds=np.array([types.index(row[3]) for row in rows], np.uint8),
    )
    found.apply(lesson)
    return found


def shares(found: Models, *, offset: float = 0.0) -> list[dict[str, float]]:
    """The share of each word in the visits of segments 0 and 1."""
    facets = Facets(offset).of(found, [0, 1])
    return [
        {
            trait.word: round(float(facet.mass[row, n] / facet.total[row]), 3)
            for facet in facets
            for n, trait in enumerate(facet.traits)
            if facet.mass[row, n]
        }
        for row in range(2)
    ]


def at(*hours: float) -> list[tuple[int, str, float, str]]:
    return [(0, "a", MONDAY + hour * HOUR, "view") for hour in hours]


@pytest.mark.parametrize(
    ("hour", "word"),
    [(0, "night"), (5.99, "night"), (6, "morning"), (11, "midday"), (14, "afternoon"), (18, "evening"), (22, "night")],
)
def test_a_part_of_the_day_is_told_by_the_hour(hour, word):
    assert shares(models(at(hour)))[0][word] == 1.0


@pytest.mark.parametrize(("day", "word"), [(0, "weekdays"), (4, "weekdays"), (5, "weekend"), (6, "weekend"), (7, "weekdays")])
def test_a_weekend_is_saturday_and_sunday(day, word):
    assert shares(models(at(24 * day + 12)))[0][word] == 1.0


@pytest.mark.parametrize(
    ("offset", "hour", "told"),
    [
        (0, 12, {"midday": 1.0}),
        (-5, 12, {"morning": 1.0}),
        (7, 12, {"evening": 1.0}),
        (5.5, 12, {"afternoon": 0.5, "evening": 0.5}),
        (-0.25, 6, {"night": 0.25, "morning": 0.75}),
    ],
)
def test_hours_are_local(offset, hour, told):
    found = shares(models(at(hour)), offset=offset)[0]
    assert {word: share for word, share in found.items() if word in {*told, "midday", "night"}} == told


def test_local_time_moves_the_weekend_too():
    friday_night = models(at(24 * 4 + 23))
    assert shares(friday_night, offset=2)[0]["weekend"] == 1.0
    assert shares(friday_night, offset=0)[0]["weekdays"] == 1.0


def test_types_of_events_are_said_as_people_say_them():
    kinds = ["view", "click", "purchase", "wish"]
    found = shares(models([(0, "a", MONDAY, kind) for kind in kinds]))[0]
    assert {word: found[word] for word in ("browsers", "buyers", "wish events")} == {
        "browsers": 0.5,
        "buyers": 0.25,
        "wish events": 0.25,
    }


def test_labels_are_the_last_step_of_a_category_a_brand_and_a_tag_that_is_no_measure():
    entry = item("a", brand="Acme", category="Food > Green_Tea", tags=["Vegan", "16 oz"], price=4, name="Leaves")
    found = shares(models(at(12), [entry]))[0]
    assert {"food", "green tea", "acme brand", "vegan"} <= found.keys()
    assert not {"16 oz", "leaves", "category:food"} & found.keys()


def test_a_price_is_low_or_high_within_its_own_category():
    catalogue = [
        *(item(f"tea{price}", category="tea", price=price) for price in (2, 8, 32)),
        *(item(f"car{price}", category="car", price=price) for price in (9_000, 20_000, 90_000)),
        item("free"),
    ]
    rows = [(1, f"tea{price}", MONDAY, "view") for price in (2, 8, 32)]
    rows += [(1, f"car{price}", MONDAY, "view") for price in (9_000, 20_000, 90_000)]
    cheap = [(0, name, MONDAY, "view") for name in ("tea2", "car9000", "free")]
    found = shares(models([*rows, *cheap, (1, "tea32", MONDAY, "view"), (1, "car90000", MONDAY, "view")], catalogue))
    assert found[0]["low price"] == 1.0
    assert (found[1]["low price"], found[1]["high price"]) == (0.25, 0.5)


def test_tokens_that_come_later_are_read_too():
    facets, found = Facets(0.0), models(at(12), [item("a", brand="Acme")])
    assert [trait.word for trait in facets.of(found, [0])[0].traits] == ["acme brand"]
    found.change_catalog(change_of([(0, 9, item("b", brand="Zest"))]))
    assert [trait.word for trait in facets.of(found, [0])[0].traits] == ["acme brand", "zest brand"]


def test_before_the_first_solve_there_are_no_segments():
    found = models(at(1))
    assert in_use(found) == []
    assert Describer(Settings()).rows(found, {}) == []


class Shop:
    """Two kinds of customers through the whole loop: some look at tea in the morning, some buy wine at night."""

    def __init__(self) -> None:
        self.loop = Loop(Settings(segments=Segments(k=2, buffer=16)))
        goods = [item(f"{kind}{n}", category=kind, price=3 + n) for kind in ("tea", "wine") for n in range(6)]
        change = change_of([(0, offset, entry) for offset, entry in enumerate(goods)])
        self.loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change)))])
        self.offset = 0
        self.told: list[dict[str, Any]] = []

    def send(self, *events: dict[str, Any]) -> None:
        messages = [
            SimpleNamespace(
                offset=self.offset + place,
                timestamp=int(1000 * event["timestamp"]),
                key=None,
                value=json.dumps(event).encode(),
                headers=(),
            )
            for place, event in enumerate(events)
        ]
        answer = asyncio.run(self.loop.pipeline.prepare(Batch({0: messages}, {0: self.offset}), 1))
        self.offset += len(events)
        self.told += [json.loads(change.value) for change in answer.segments]
        self.loop.finish(answer)

    def week(self, first: int, users: int = 20) -> None:
        for day, (kind, hour, what) in product(range(7), [("tea", 8, "view"), ("wine", 23, "purchase")]):
            batch = [
                {"type": what, "user_id": f"{kind}-{n}", "item_id": f"{kind}{(n + step) % 6}", "timestamp": 0.0}
                for n in range(users)
                for step in range(3)
            ]
            for place, event in enumerate(batch):
                event["timestamp"] = MONDAY + (first + day) * DAY + hour * HOUR + place
            self.send(*batch)

    @property
    def models(self) -> Models:
        return self.loop.fold.models


@pytest.fixture(scope="module")
def shop() -> Shop:
    """After two weeks, in the second of which twice as many came."""
    found = Shop()
    found.week(0)
    found.week(7, users=40)
    return found


def test_segments_of_a_shop_are_named_sized_and_seen_to_grow(shop):
    rows = {row.fields["name"]: row.fields for row in Describer(Settings()).rows(shop.models, {})}
    assert rows.keys() == {"tea · morning · browsers", "wine · night · buyers"}
    assert [row["size"] for row in rows.values()] == [40, 40]
    assert [row["share"] for row in rows.values()] == [0.5, 0.5]
    # The day at hand is a Sunday; when the one before began, half of them had come.
    assert [row["growth"] for row in rows.values()] == [1.0, 1.0]
    assert all(row["top"][0][0].startswith(name.split()[0]) for name, row in rows.items())


def test_names_are_the_same_in_a_restored_model(shop):
    restored = Models.from_arrays(shop.models.arrays(), **Settings(segments=Segments(k=2, buffer=16)).parameters())
    assert Describer(Settings()).rows(restored, {}) == Describer(Settings()).rows(shop.models, {})


def test_who_leaves_without_entering_another_is_told_and_no_longer_counted():
    shop = Shop()
    shop.week(0)
    shop.week(7)
    now = MONDAY + 20 * DAY
    sizes = shop.models.members.sizes.copy()
    event = {"user_id": "ada", "item_id": "tea1", "timestamp": now}
    shop.send({"type": "view", **event})
    entered = shop.told[-1]
    assert (entered["user_id"], entered["previous"]) == ("ada", None)
    assert entered["name"]
    # As much against it as for it: nothing is left to know the user by.
    shop.send({"type": "dislike", **event})
    assert shop.told[-1] == {"user_id": "ada", "segment": None, "previous": entered["segment"], "name": None, "at": now}
    assert shop.models.members.sizes.tolist() == sizes.tolist()
    shop.send({"type": "view", **event})
    assert shop.told[-1]["previous"] is None
    assert shop.models.members.sizes.sum() == sizes.sum() + 1


def test_who_changes_by_what_is_no_visit_is_counted_in_the_new_segment():
    shop = Shop()
    shop.week(0)
    shop.week(7)
    now = MONDAY + 20 * DAY
    rows = [("view", "tea1"), ("view", "tea1"), ("view", "wine1")]
    shop.send(*({"type": kind, "user_id": "ada", "item_id": name, "timestamp": now} for kind, name in rows))
    before = shop.told[-1]
    sizes = shop.models.members.sizes.copy()
    shop.send(*({"type": "dislike", "user_id": "ada", "item_id": "tea1", "timestamp": now} for _ in range(2)))
    after = shop.told[-1]
    assert (after["user_id"], after["previous"]) == ("ada", before["segment"])
    assert shop.models.members.sizes[after["segment"]] == sizes[after["segment"]] + 1
    assert shop.models.members.sizes[before["segment"]] == sizes[before["segment"]] - 1
