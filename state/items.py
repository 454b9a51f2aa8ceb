"""The items in Redis: catalogue fields by the catalog agent, popularity and similar items by the trending timer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from state.connection import Client, Command, is_cluster, script, send
from state.keys import ITEM_TTL, Keys

__all__ = ["CATALOGUE", "CatalogueEntry", "Item", "Similar", "decode", "read", "write_catalogue", "write_statistics"]

CATALOGUE: Final = ("name", "brand", "category", "price", "tags", "available", "url", "image")
CHUNK: Final = 200

Value: TypeAlias = str | float | bool | Sequence[str] | None

_TEXTS: Final = ("name", "brand", "url", "image")
_NUMBERS: Final = ("price", "popularity")
_LISTS: Final = ("category", "tags")
_list: Final = msgspec.json.Decoder(list[str])


class Similar(msgspec.Struct, frozen=True):
    """An item that is visited by the same users."""

    item_id: str
    score: float


class Item(msgspec.Struct, frozen=True):
    """What Redis knows of an item."""

    item_id: str
    name: str | None = None
    brand: str | None = None
    category: list[str] = []
    price: float | None = None
    tags: list[str] = []
    available: bool | None = None
    url: str | None = None
    image: str | None = None
    popularity: float | None = None
    similar: list[Similar] = []


class CatalogueEntry(NamedTuple):
    """One record of the items topic: its offset and the fields of CATALOGUE; no fields: the item was deleted."""

    item_id: str
    offset: int
    fields: Mapping[str, Value]


def _value(name: str, value: Value) -> bytes:
    if value is None or value in ((), []):
        return b""
    if name in _LISTS:
        return msgspec.json.encode([value] if isinstance(value, str) else value)
    return value.encode() if isinstance(value, str) else repr(value).encode()


def _values(entry: CatalogueEntry) -> tuple[int | bytes, ...]:
    fields = dict(entry.fields)
    if fields.get("available") is not None:
        fields["available"] = "1" if fields["available"] else "0"
    return (entry.offset, *(_value(name, fields.get(name)) for name in CATALOGUE))


async def write_catalogue(redis: Client, keys: Keys, partition: int, entries: Sequence[CatalogueEntry]) -> int:
    """Write catalogue entries of one partition of the items topic unless newer ones are stored; count the written."""
    step = 1 if is_cluster(redis) else CHUNK
    commands: list[Command] = []
    for first in range(0, len(entries), step):
        chunk = entries[first : first + step]
        values = [value for entry in chunk for value in _values(entry)]
        names = [keys.item(entry.item_id) for entry in chunk]
        head = (partition, ITEM_TTL, len(CATALOGUE), *CATALOGUE)
        commands.append(("EVAL", script("write_items"), len(names), *names, *head, *values))
    return sum(await send(redis, commands))


async def write_statistics(redis: Client, keys: Keys, rows: Iterable[tuple[str, float, Sequence[tuple[str, float]]]]) -> None:
    """Write (item, decayed count, similar items with scores) and keep those items for another term."""
    commands: list[Command] = []
    for item_id, popularity, similar in rows:
        key = keys.item(item_id)
        listed = msgspec.json.encode([Similar(other, score) for other, score in similar])
        commands.append(("HSET", key, "popularity", repr(float(popularity)), "similar", listed))
        commands.append(("EXPIRE", key, ITEM_TTL))
    await send(redis, commands)


def decode(item_id: str, stored: Mapping[bytes, bytes]) -> Item | None:
    """Decode an item hash; None: unknown, or deleted and not visited since."""
    if all(name.startswith(b"at:") for name in stored):
        return None
    fields: dict[str, Any] = {name: stored[name.encode()].decode() for name in _TEXTS if name.encode() in stored}
    fields |= {name: float(stored[name.encode()]) for name in _NUMBERS if name.encode() in stored}
    fields |= {name: _list.decode(stored[name.encode()]) for name in _LISTS if name.encode() in stored}
    return Item(
        item_id,
        **fields,
        available=stored[b"available"] == b"1" if b"available" in stored else None,
        similar=msgspec.json.decode(stored.get(b"similar", b"[]"), type=list[Similar]),
    )


async def read(redis: Client, keys: Keys, item_id: str) -> Item | None:
    """Read an item."""
    stored: Any = await redis.hgetall(keys.item(item_id))
    return decode(item_id, stored)
