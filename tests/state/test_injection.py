"""No id reaches another's key: on a real Redis, whatever braces, patterns, line ends and prefixes it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from state import items, trending
from state.keys import Keys
from state.profiles import Profile
from state.store import Applied, Store

if TYPE_CHECKING:
    from redis.asyncio import Redis

PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTS = [
    "{",
    "}",
    "{}",
    "}{",
    "*",
    "?",
    "[a-z]",
    "\\n",
    "\r\n",
    "\x00",
    ":",
    "user:",
    "item:",
    "upwell:",
    "applied",
    "trending",
    " ",
    '"',
    "a",
    "é",
    "😀",
]
PARTS += ["*3\r\n$3\r\nDEL\r\n", "KEYS[1]", "return 1", "'] redis.call('FLUSHALL') --", "at:0", "snapshot:0:w:0", "-1", "0=9"]
hostile = st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("".join)
prefixes = st.sampled_from(["upwell:", "upwell:user:", "u", "upwell", "user:"])


@PROPERTY
@given(st.lists(hostile, min_size=2, max_size=8, unique=True), prefixes)
async def test_each_id_has_a_key_of_its_own_and_touches_no_other(redis: Redis, ids: list[str], prefix: str) -> None:
    await redis.flushall()
    keys = Keys(prefix)
    store = Store(redis, keys, chunk=3)
    writes = [Profile(one, 0, {0: n}, events=n).write(0, b"[]", b"[]", one.encode()) for n, one in enumerate(ids)]
    await store.commit({0: writes}, {0: Applied(None, 9)})
    await items.write_catalogue(redis, keys, 0, [items.CatalogueEntry(one, n, {"name": one}) for n, one in enumerate(ids)])
    await trending.replace(redis, keys, {one: float(n + 1) for n, one in enumerate(ids)})
    expected = {keys.user(one) for one in ids} | {keys.item(one) for one in ids} | {keys.applied, keys.trending}
    assert len(expected) == 2 * len(ids) + 2
    assert set(await redis.keys("*")) == expected
    for n, one in enumerate(ids):
        (found,) = await store.load([one])
        assert found is not None
        assert (found.profile.at, found.profile.events, found.recommendations) == ({0: n}, n, one.encode())
        item = await items.read(redis, keys, one)
        assert item is not None
        assert item.name == one
    assert {one.item_id for one in await trending.read(redis, keys, 100)} == set(ids)
    assert await store.applied() == {0: 9}
    await redis.flushall()  # the prefixes are not this test's own


@given(hostile, hostile, prefixes)
def test_no_id_names_a_key_of_another_family_or_of_another_id(one: str, other: str, prefix: str) -> None:
    keys = Keys(prefix)
    fixed = {keys.applied, keys.model, keys.safe, keys.catalogue, keys.trending, keys.snapshot_pointer, keys.segment(0)}
    assert not fixed & {keys.user(one), keys.item(one)}
    assert keys.user(one) != keys.item(other)
    assume(one != other)
    assert keys.user(one) != keys.user(other)
    assert keys.item(one) != keys.item(other)
