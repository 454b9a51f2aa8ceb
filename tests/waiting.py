"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_AGAIN = 0.02  # seconds between two looks


async def wait_until(
    look: Callable[[], T | Awaitable[T]], *, within: float = 30.0, what: str = "", every: float = LOOK_AGAIN
) -> T:
    """Look until the answer is true in Python's sense, return it; fail after `within` seconds with the last answer."""
    deadline = time.monotonic() + within
    while True:
        answer = look()
        answer = await answer if inspect.isawaitable(answer) else answer
        if answer:
            return answer
        assert time.monotonic() < deadline, _complaint(what, within, answer)
        await asyncio.sleep(every)


def wait_until_sync(look: Callable[[], T], *, within: float = 30.0, what: str = "", every: float = LOOK_AGAIN) -> T:
    """`wait_until` for tests without an event loop."""
    deadline = time.monotonic() + within
    while not (answer := look()):
        assert time.monotonic() < deadline, _complaint(what, within, answer)
        time.sleep(every)
    return answer


def _complaint(what: str, within: float, answer: object) -> str:
    return f"not within {within} s: {what or 'the condition'}; the last look gave {answer!r}"
