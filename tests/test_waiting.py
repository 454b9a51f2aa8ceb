from __future__ import annotations

import pytest

from tests.waiting import wait_until, wait_until_sync


async def test_waits_for_plain_and_awaited_looks_and_gives_their_answer() -> None:
    answers = iter([0, 0, 7])

    async def look() -> int:
        return next(answers)

    assert await wait_until(look) == 7
    assert await wait_until(lambda: "seen") == "seen"


async def test_fails_in_time_with_what_was_seen_last() -> None:
    with pytest.raises(AssertionError, match=r"the moon; the last look gave \[\]"):
        await wait_until(list, within=0.05, what="the moon")
    with pytest.raises(AssertionError, match="the last look gave 0"):
        wait_until_sync(lambda: 0, within=0.05)
