"""Ending in time: Kafka clients whose broker is away, where aiokafka cancels itself or waits for long, and Faust's worker."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import faust
from faust.transport.drivers import aiokafka as driver

__all__ = ["Transport", "Worker", "close"]

# More than the batch in hand may take, less than an orchestrator waits before it kills.
WITHIN_SECONDS = 4.0
# More than all parts together take, a few of which may wait in vain; less than the half minute of an orchestrator.
LONGEST_SECONDS = 20.0
FAILED = 1

log = logging.getLogger(__name__)


async def close(stop: Callable[[], Awaitable[None]]) -> None:
    """Let a part close in a task of its own, so that its cancellation is not ours, and not for ever."""
    done, _ = await asyncio.wait([asyncio.ensure_future(stop())], timeout=WITHIN_SECONDS)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class Worker(faust.Worker):
    """Faust's worker, ending as soon as its parts have: mode would wait two more seconds for what nobody needs any more.

    It ends in any case: a part that waits for ever must not make an orchestrator kill what could have said why.
    """

    async def stop(self) -> None:
        """Stop all parts in order; the process ends within so many seconds from now."""
        watch = threading.Timer(LONGEST_SECONDS, _end_at_once, [self.loop])
        # It goes with the process, and not before: a thread that a part left behind would keep the interpreter waiting.
        watch.daemon = True
        watch.start()
        await super().stop()

    def _gather_all(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=WITHIN_SECONDS))

    async def _sentinel_task(self) -> None:
        """Do what runs before the loop closes: nothing."""


def _end_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """End the process, from a thread: the loop may stand still. Nothing is lost, for a worker may be killed at any time."""
    try:
        waiting = sorted({_place(task.get_coro()) for task in asyncio.all_tasks(loop)}) + sorted(_threads())
        said = "not ended within %g s, ending at once; Kafka keeps what is not done. What still waits: %s"
        log.error(said, LONGEST_SECONDS, "; ".join(waiting))
    finally:  # also where the tasks change while they are looked at
        os._exit(FAILED)


def _threads() -> Iterator[str]:
    """Name the threads for which the interpreter waits before it ends, and where they are."""
    frames = sys._current_frames()  # noqa: SLF001 - Python's documented way to see where other threads are
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and (frame := frames.get(thread.ident or 0)):
            yield f"thread {thread.name} in {frame.f_code.co_qualname}:{frame.f_lineno}"


def _place(waiting: object) -> str:
    """Say where a coroutine waits, and those that it waits for."""
    names = []
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None)
        if frame is not None:
            names.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        waiting = getattr(waiting, "cr_await", None)
    return " > ".join(names)


class _Thread(driver.AIOKafkaConsumerThread):
    logger = logging.getLogger("faust.consumer")

    async def on_thread_stop(self) -> None:
        # A cancellation here would end the thread before it has told the app, which would then wait for ever.
        await close(super().on_thread_stop)


class _Consumer(driver.Consumer):
    logger = logging.getLogger("faust.consumer")

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def wait_empty(self) -> None:
        # An entry may wait for a Redis that is away. Whoever is next notices that Redis lacks what was acknowledged.
        await close(super().wait_empty)


class Transport(driver.Transport):
    """Faust's Kafka transport with a consumer that ends also where its broker is away."""

    Consumer = _Consumer
