"""Ending in time: Kafka clients whose broker is away, where aiokafka cancels itself or waits for long, and Faust's worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import faust
from faust.transport.drivers import aiokafka as driver

__all__ = ["Transport", "Worker", "close"]

# More than the batch in hand may take, less than an orchestrator waits before it kills.
WITHIN_SECONDS = 4.0


async def close(stop: Callable[[], Awaitable[None]]) -> None:
    """Let a part close in a task of its own, so that its cancellation is not ours, and not for ever."""
    done, _ = await asyncio.wait([asyncio.ensure_future(stop())], timeout=WITHIN_SECONDS)
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class Worker(faust.Worker):
    """Faust's worker, ending as soon as its parts have: mode would wait two more seconds for what nobody needs any more."""

    def _gather_all(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=WITHIN_SECONDS))

    async def _sentinel_task(self) -> None:
        """Do what runs before the loop closes: nothing."""


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
