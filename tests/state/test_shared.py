"""Items, segments, trending items and the model's figures come back as they went in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from state import items, model, segments, trending
from state.items import CatalogueEntry, Similar
from state.keys import ITEM_TTL, SEGMENTS
from tests.state.strategies import HOSTILE

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from state.keys import Keys

SENT: dict[str, Any] = {
    "name": "Crisps\x00\n",
    "brand": "Acme",
    "category": ("grocery", "snacks"),
    "price": 2.5,
    "tags": ["vegan", '"'],
    "available": False,
    "url": "u",
    "image": "i",
}


async def test_an_item_comes_back_as_it_went_in(redis: Redis, keys: Keys) -> None:
    entries = [CatalogueEntry(item_id, n, SENT) for n, item_id in enumerate(HOSTILE)]
    assert await items.write_catalogue(redis, keys, 0, entries) == len(HOSTILE)
    for item_id in HOSTILE:
        assert await items.read(redis, keys, item_id) == items.Item(
            **SENT | {"item_id": item_id, "category": ["grocery", "snacks"]}
        )
    assert 0 < await redis.ttl(keys.item(HOSTILE[0])) <= ITEM_TTL


async def test_a_newer_entry_replaces_the_whole_and_an_older_one_nothing(redis: Redis, keys: Keys) -> None:
    await items.write_catalogue(redis, keys, 0, [CatalogueEntry("a", 5, SENT)])
    assert await items.write_catalogue(redis, keys, 0, [CatalogueEntry("a", 5, {"name": "same"})]) == 0
    assert await items.write_catalogue(redis, keys, 0, [CatalogueEntry("a", 4, {"name": "late"})]) == 0
    assert await items.write_catalogue(redis, keys, 0, [CatalogueEntry("a", 6, {"name": "new", "price": 3})]) == 1
    assert await items.read(redis, keys, "a") == items.Item("a", name="new", price=3.0)


async def test_of_one_item_twice_in_a_call_the_last_stays(redis: Redis, keys: Keys) -> None:
    entries = [CatalogueEntry("a", n, {"name": f"n{n}", "category": "toys"}) for n in range(450)]
    await items.write_catalogue(redis, keys, 0, entries)
    assert await items.read(redis, keys, "a") == items.Item("a", name="n449", category=["toys"])


async def test_a_deleted_item_loses_its_fields_and_keeps_its_statistics(redis: Redis, keys: Keys) -> None:
    await items.write_catalogue(redis, keys, 0, [CatalogueEntry("a", 1, SENT), CatalogueEntry("b", 2, SENT)])
    await items.write_statistics(redis, keys, [("a", 2.5, [("b", 0.5)])])
    gone = [CatalogueEntry("a", 3, {}), CatalogueEntry("b", 4, {})]
    await items.write_catalogue(redis, keys, 0, gone)
    assert await items.read(redis, keys, "a") == items.Item("a", popularity=2.5, similar=[Similar("b", 0.5)])
    assert await items.read(redis, keys, "b") is None
    assert await items.read(redis, keys, "never") is None
    await items.write_catalogue(redis, keys, 0, [CatalogueEntry("b", 2, SENT)])
    assert await items.read(redis, keys, "b") is None


async def test_segments_come_back_by_id_and_go_when_there_are_fewer(redis: Redis, keys: Keys) -> None:
    row: dict[str, Any] = {
        "size": 3,
        "share": 0.25,
        "growth": -0.5,
        "top": [("a", 2.5)],
        "centroid": [0.5, -1.0],
        "since": 5.0,
        "drift": 0.25,
    }
    for k in (3, 0, SEGMENTS - 1):
        await segments.write(redis, keys, k, name=f"s{k}", **row)
    found = await segments.read(redis, keys)
    assert [(segment.id, segment.name) for segment in found] == [(0, "s0"), (3, "s3"), (63, "s63")]
    assert found[0].top == [segments.TopItem("a", 2.5)]
    assert (found[0].centroid, found[0].since, found[0].drift) == ([0.5, -1.0], 5.0, 0.25)
    assert (found[0].size, found[0].share, found[0].growth) == (3, 0.25, -0.5)
    await segments.write(redis, keys, 0, name="s0", **row | {"growth": None})
    await redis.hdel(keys.segment(3), "share", "growth")
    assert [(segment.share, segment.growth) for segment in await segments.read(redis, keys)] == [
        (0.25, None),
        (0.0, None),
        (0.25, -0.5),
    ]
    await segments.keep_only(redis, keys, [0])
    assert [segment.id for segment in await segments.read(redis, keys)] == [0]


@pytest.mark.parametrize("field", [{"name": "half of one"}, {"size": "many"}, {"top": "[1"}])
async def test_what_somebody_else_wrote_in_place_of_a_segment_is_none(redis: Redis, keys: Keys, field: dict[str, str]) -> None:
    row: dict[str, Any] = {"size": 3, "share": 0.5, "growth": None, "top": [], "centroid": [], "since": 5.0, "drift": 0.0}
    if "name" not in field:
        await segments.write(redis, keys, 4, name="whole", **row)
    await redis.hset(keys.segment(4), mapping=field)
    assert await segments.read(redis, keys) == []


@pytest.mark.parametrize("wrong", [-1, SEGMENTS])
async def test_a_segment_nobody_would_read_is_refused(redis: Redis, keys: Keys, wrong: int) -> None:
    with pytest.raises(ValueError, match="0 to 63"):
        await segments.write(redis, keys, wrong, name="", size=0, share=0, growth=None, top=[], centroid=[], since=0, drift=0)


async def test_trending_is_replaced_as_a_whole_best_first(redis: Redis, keys: Keys) -> None:
    await trending.replace(redis, keys, {"old": 9.0})
    counts = {item_id: float(n) for n, item_id in enumerate(HOSTILE)}
    await trending.replace(redis, keys, counts)
    found = await trending.read(redis, keys, 100)
    assert [(row.item_id, row.count) for row in found] == sorted(counts.items(), key=lambda pair: -pair[1])
    assert [row.item_id for row in await trending.read(redis, keys, 1)] == [HOSTILE[-1]]
    assert await trending.read(redis, keys, 0) == []
    await trending.replace(redis, keys, {})
    assert await trending.read(redis, keys) == []


async def test_ten_thousand_trending_items_fit_in_one_call(redis: Redis, keys: Keys) -> None:
    await trending.replace(redis, keys, {f"i{n}": float(n) for n in range(10_000)})
    assert len(await trending.read(redis, keys, 20_000)) == 10_000


async def test_the_models_figures_only_move_forward(redis: Redis, keys: Keys) -> None:
    assert await model.read(redis, keys) is None
    first: dict[str, Any] = {"events": 10, "weights": {"a": 0.5}, "hit_rate": {"blend": 0.25}, "inertia": 0.5}
    assert await model.write(redis, keys, version=5, hits={"blend": 1}, judged=4, **first)
    for older in (5, 4):
        assert not await model.write(redis, keys, version=older, events=0, weights={}, hit_rate={})
    assert await model.read(redis, keys) == model.Model(5, hits={"blend": 1}, judged=4, **first)
    assert await model.write(redis, keys, version=6, events=11, weights={}, hit_rate={})
    assert await model.read(redis, keys) == model.Model(6, 11)
