"""Catalogue entries read back from the items' hashes: of items that the models let go and met again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from state.connection import Client
from state.items import Item, decode
from state.keys import Keys

__all__ = ["Stored", "read"]

_FENCE = b"at:"


class Stored(NamedTuple):
    """An entry with its place in the items topic; of a deleted one nothing else is left."""

    partition: int
    offset: int
    item_id: str
    item: Item | None


async def read(redis: Client, keys: Keys, item_ids: Sequence[str]) -> list[Stored]:
    """Read the entries of those items that have one, in one round trip."""
    pipeline: Any = redis.pipeline(transaction=False)
    for item_id in item_ids:
        pipeline.hgetall(keys.item(item_id))
    found = await pipeline.execute()
    entries = [_entry(item_id, stored) for item_id, stored in zip(item_ids, found, strict=True)]
    return [entry for entry in entries if entry is not None]


def _entry(item_id: str, stored: Mapping[bytes, bytes]) -> Stored | None:
    """Tell the newest entry; what an item is visited with makes a hash too, but no entry."""
    places = [(int(offset), int(name[len(_FENCE) :])) for name, offset in stored.items() if name.startswith(_FENCE)]
    if not places:
        return None
    offset, partition = max(places)
    item = decode(item_id, stored)
    # Statistics outlive a deletion; of the catalogue only `available` is told of every entry.
    return Stored(partition, offset, item_id, item if item is not None and item.available is not None else None)
