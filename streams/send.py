"""Sending many messages to a topic: acknowledged, paced, counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

OUTSTANDING = 20_000  # messages without an acknowledgement: enough to keep a broker busy, little to lose track of
PULSE = 0.02  # s: how evenly a paced stream flows; sleeping for each message would cap it at a thousand a second

Acknowledged = Callable[[int, int, float], None]
"""Told partition, offset, and the moment (monotonic seconds) at which the message was handed over."""


class Sender:
    """Hands messages to a producer, as fast as acknowledgements return or at `speed` a second."""

    def __init__(
        self, producer: AIOKafkaProducer, topic: str, *, speed: float | None = None, on_ack: Acknowledged | None = None
    ) -> None:
        self._producer, self._topic, self._speed, self._on_ack = producer, topic, speed, on_ack
        self._begun: float | None = None
        self._failed: BaseException | None = None
        self._room = asyncio.Event()
        self.sent = 0
        self.acknowledged = 0

    async def send(self, key: bytes | None, value: bytes | None, **options: object) -> None:
        """Hand over one message; raises what an earlier one met."""
        await self._turn()
        now = time.monotonic()
        future = await self._producer.send(self._topic, value, key, **options)
        future.add_done_callback(lambda done: self._done(done, now))
        self.sent += 1

    async def _turn(self) -> None:
        if self._failed is not None:
            raise self._failed
        while self.sent - self.acknowledged >= OUTSTANDING:
            await self._wait()
        if self._speed:
            await self._pace(self._speed)

    async def _pace(self, speed: float) -> None:
        self._begun = self._begun or time.monotonic()
        ahead = self._begun + self.sent / speed - time.monotonic()
        if ahead > PULSE:
            await asyncio.sleep(ahead)

    async def _wait(self) -> None:
        self._room.clear()
        await self._room.wait()
        if self._failed is not None:
            raise self._failed

    def _done(self, future: asyncio.Future[Any], sent_at: float) -> None:
        self._room.set()
        if future.cancelled():
            return
        if (error := future.exception()) is not None:
            self._failed = self._failed or error
            return
        self.acknowledged += 1
        if self._on_ack is not None:
            place = future.result()
            self._on_ack(place.partition, place.offset, sent_at)

    async def finish(self) -> None:
        """Wait until all that was handed over is acknowledged."""
        await self._producer.flush()
        while self.acknowledged < self.sent and self._failed is None:
            await self._wait()
        if self._failed is not None:
            raise self._failed
