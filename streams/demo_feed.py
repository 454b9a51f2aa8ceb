"""What goes into the demo: purchases in time order, and each product a little before its first one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from streams.send import Sender

if TYPE_CHECKING:
    from streams.sample import Purchases

CHUNK = 2_000  # events; the products that first appear in them enter the catalogue one chunk ahead
PAUSE = 0.005  # s until a full pipe is looked at again


@dataclass(slots=True)
class Feed:
    """Sends products and purchases; `room` says whether more may be under way."""

    purchases: Purchases
    catalogue: Mapping[int, dict[str, Any]]
    items: Sender
    events: Sender
    room: Callable[[], bool]

    async def run(self) -> None:
        """Send them all, and wait until all are acknowledged."""
        catalogue = self._products()
        await self._announce(catalogue)
        for begin in range(0, len(self.purchases), CHUNK):
            await self._announce(catalogue)
            for event in self.purchases.events(begin, begin + CHUNK):
                while not self.room():  # noqa: ASYNC110 - answers come one by one, thousands a second
                    await asyncio.sleep(PAUSE)
                await self.events.send(event["user_id"].encode(), msgspec.json.encode(event))
        await self.items.finish()
        await self.events.finish()

    async def _announce(self, catalogue: Iterator[list[dict[str, Any]]]) -> None:
        for entry in next(catalogue, []):
            await self.items.send(entry["item_id"].encode(), msgspec.json.encode(entry))

    def _products(self) -> Iterator[list[dict[str, Any]]]:
        """For each chunk of events the entries of the products that first appear in it."""
        known: set[int] = set()
        for begin in range(0, len(self.purchases), CHUNK):
            fresh = set(self.purchases.items[begin : begin + CHUNK].tolist()) - known
            known |= fresh
            yield [self.catalogue[item] for item in sorted(fresh) if item in self.catalogue]
