"""A member of the group that reads nothing itself."""

from __future__ import annotations

import asyncio

from streams import topics
from streams.membership import Membership


async def test_a_member_that_was_given_none_of_what_it_has_applied_commits_nothing(broker, settings):
    ours = settings(broker, partitions=2)
    await topics.ensure(ours)
    given: asyncio.Queue[frozenset[int]] = asyncio.Queue()

    async def take(partitions: frozenset[int], _: bool) -> frozenset[int]:
        given.put_nowait(partitions)
        return frozenset()

    member = Membership(ours, take)
    await member.start()
    running = asyncio.create_task(member.run())
    try:
        assert await given.get() == {0, 1}
        await member.commit({7: 5})  # as after a time in which others were given all of its partitions
        await member.commit({})
        assert not running.done()
    finally:
        await member.stop()
        await asyncio.wait([running])
