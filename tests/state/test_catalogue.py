"""The mark that says how far the catalogue in Redis goes."""

from __future__ import annotations

from state import catalogue
from state.catalogue import Mark


async def test_there_is_no_mark_at_first(redis, keys):
    assert await catalogue.read(redis, keys) == Mark()


async def test_ends_are_kept_by_partition_and_nothing_is_advanced_to_nowhere(redis, keys):
    await catalogue.advance(redis, keys, {0: 5, 3: 7})
    await catalogue.advance(redis, keys, {3: 9})
    await catalogue.advance(redis, keys, {})
    assert await catalogue.read(redis, keys) == Mark(ends={0: 5, 3: 9})


async def test_it_is_whole_until_doubted(redis, keys):
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    assert (await catalogue.read(redis, keys)).whole
    await catalogue.doubt(redis, keys)
    assert not (await catalogue.read(redis, keys)).whole


async def test_a_recreated_topic_begins_anew(redis, keys):
    await catalogue.advance(redis, keys, {0: 5})
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    await catalogue.begin_anew(redis, keys, 2)
    assert await catalogue.read(redis, keys) == Mark(incarnation=2)
