"""The mark that says how far the catalogue in Redis goes."""

from __future__ import annotations

from state import catalogue
from state.catalogue import Mark, Span


async def test_there_is_no_mark_at_first(redis, keys):
    assert await catalogue.read(redis, keys) == Mark()


async def test_ends_are_kept_by_partition_and_nothing_is_advanced_to_nowhere(redis, keys):
    assert not await catalogue.advance(redis, keys, {0: Span(-1, 0, 5), 3: Span(-1, 0, 7)})
    assert not await catalogue.advance(redis, keys, {3: Span(7, 7, 9)})
    assert not await catalogue.advance(redis, keys, {3: Span(-1, 2, 4)})  # once more, by another worker
    assert not await catalogue.advance(redis, keys, {})
    assert await catalogue.read(redis, keys) == Mark(ends={0: 5, 3: 9})


async def test_it_is_whole_until_doubted(redis, keys):
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    assert (await catalogue.read(redis, keys)).whole
    await catalogue.doubt(redis, keys)
    assert not (await catalogue.read(redis, keys)).whole


async def test_rule_6_entries_that_are_missing_before_those_kept_now_are_noticed(redis, keys):
    await catalogue.advance(redis, keys, {0: Span(-1, 0, 5), 1: Span(-1, 0, 5)})
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    # Who said 5 itself knows that a compacted topic has nothing up to 8.
    assert not await catalogue.advance(redis, keys, {0: Span(5, 8, 9)})
    assert (await catalogue.read(redis, keys)).whole
    assert await catalogue.advance(redis, keys, {0: Span(9, 9, 10), 1: Span(7, 7, 9)})
    assert await catalogue.read(redis, keys) == Mark(ends={0: 10, 1: 9})


async def test_what_is_read_again_from_the_beginning_is_no_gap(redis, keys):
    await catalogue.advance(redis, keys, {0: Span(-1, 0, 5)})
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    assert not await catalogue.advance(redis, keys, {0: Span(-1, -1, 9)})
    assert (await catalogue.read(redis, keys)).whole


async def test_a_recreated_topic_begins_anew(redis, keys):
    await catalogue.advance(redis, keys, {0: Span(-1, 0, 5)})
    await catalogue.complete(redis, keys, catalogue.holder(redis))
    await catalogue.begin_anew(redis, keys, 2)
    assert await catalogue.read(redis, keys) == Mark(incarnation=2)
