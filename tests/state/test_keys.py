"""The table of keys, docs/redis.md and what is decoded agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given

from state.items import CATALOGUE
from state.keys import FAMILIES, SEGMENTS, Family, Keys
from state.model import Model
from state.profiles import FIELDS
from state.reader import Reader
from state.segments import Segment
from state.snapshots import Named
from tests.state.strategies import ids

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from streams.embedded import RedisServer

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text(encoding="utf-8")
TTLS = {"permanent": None, "1 hour": 3600, "90 days": 90 * 86_400}
ROW = re.compile(r"^\| `(?P<field>[^`]+)` \| (?P<content>.*) \| (?P<example>`.*`) \|$", re.MULTILINE)


def examples(pattern: str) -> dict[str, str]:
    """Read the fields of a key with their example values from the page."""
    section = PAGE.split(f"\n## `{pattern}`\n", 1)[1].split("\n## ", 1)[0]
    found = {}
    for row in ROW.finditer(section):
        *name, value = re.findall("`([^`]+)`", row["example"])
        found[name[0] if name else row["field"]] = value
    return found


def test_the_page_lists_every_key_with_its_type_ttl_and_writer() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| ([^|]+) \| ([^|`]+) \|$", PAGE, re.MULTILINE)
    listed = [Family(pattern, kind, TTLS[ttl], writer) for pattern, kind, ttl, writer in rows]
    assert listed == list(FAMILIES.values())
    assert re.findall(r"^## `([^`]+)`$", PAGE, re.MULTILINE) == [family.pattern for family in FAMILIES.values()]


def test_the_page_lists_every_field_of_every_hash() -> None:
    assert set(examples("user:{id}")) == {"at:3", *FIELDS} - {"at", "others", "mode"}
    assert set(examples("item:{id}")) == {"at:0", *CATALOGUE, "popularity", "similar"}
    assert set(examples("segment:{k}")) == set(Segment.__struct_fields__) - {"id"}
    assert set(examples("model")) == set(Model.__struct_fields__)
    assert set(examples("snapshot")) == {"newest", "previous", "dropped"}


@pytest.fixture
async def documented(redis: Redis, keys: Keys) -> Keys:
    """Redis as the page's examples show it."""
    hashes = {
        keys.user("alice"): examples("user:{id}"),
        keys.item("sku-7"): examples("item:{id}"),
        keys.segment(4): examples("segment:{k}"),
        keys.model: examples("model"),
        keys.applied: examples("applied"),
        keys.catalogue: examples("catalogue"),
    }
    for key, fields in hashes.items():
        mapping: Any = fields
        await redis.hset(key, mapping=mapping)
        if not keys.permanent(key):
            await redis.expire(key, 60)
    await redis.zadd(keys.trending, {name: float(count) for name, count in examples("trending").items()})
    return keys


def test_the_examples_of_the_page_decode(documented: Keys, redis_server: RedisServer) -> None:
    with Reader(redis_server.url, documented.prefix.decode()) as reader:
        user, item = reader.user("alice"), reader.item("sku-7")
        assert user is not None
        assert user.recommendations is not None
        assert item is not None
        assert (user.events, len(user.history), user.at, user.segment) == (2, 2, {3: 5120}, 4)
        assert user.recommendations.items[0].reasons[0].because == ["sku-7"]
        assert (item.category, item.available, item.similar[0].item_id) == (["grocery", "snacks"], True, "sku-9")
        assert reader.segments()[0].top[0].lift == 3.5
        assert reader.trending()[0].count == 57.5
        assert reader.applied() == {3: 5121}
        model = reader.model()
        assert model is not None
        assert (model.events, model.hits["blend"], model.judged) == (1_000_000, 290, 1000)


@pytest.mark.parametrize(("field", "kind"), [("newest", Named), ("previous", Named), ("dropped", list[Named])])
def test_the_example_of_the_pointer_decodes(field: str, kind: type) -> None:
    named = msgspec.json.decode(examples("snapshot")[field], type=kind)
    assert msgspec.json.encode(named).decode() == examples("snapshot")[field]


@given(ids, ids)
def test_every_name_is_of_its_family_whatever_the_id(one: str, other: str) -> None:
    keys = Keys("p:q:")
    names = {
        "user": keys.user(one),
        "item": keys.item(one),
        "segment": keys.segment(SEGMENTS - 1),
        "trending": keys.trending,
        "model": keys.model,
        "applied": keys.applied,
        "safe": keys.safe,
        "catalogue": keys.catalogue,
        "snapshot": keys.snapshot_pointer,
        "snapshot part": keys.snapshot_part(5, "w", 0),
    }
    assert {keys.family(name): name for name in names.values()} == names
    assert set(names) == set(FAMILIES)
    assert (keys.user(one) == keys.user(other)) == (one == other)
    assert keys.user(one) == b"p:q:user:" + one.encode()


@pytest.mark.parametrize("key", [b"p:users:x", b"p:user", b"p:trending:x", b"q:model", b"p:", b"p:\xff:x"])
def test_other_keys_are_of_no_family(key: bytes) -> None:
    assert Keys("p:").family(key) is None
    assert not Keys("p:").permanent(key)
