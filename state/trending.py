"""The trending items in Redis: a sorted set of item ids by decayed count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from state.connection import Client, script, send

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from state.keys import Keys

__all__ = ["Trending", "decode", "read", "replace"]


class Trending(msgspec.Struct, frozen=True):
    """One trending item; ``count`` is decayed to the time of writing."""

    item_id: str
    count: float


async def replace(redis: Client, keys: Keys, counts: Mapping[str, float]) -> None:
    """Replace all trending items by these (item → decayed count) in one step."""
    values = [value for item_id, count in counts.items() for value in (repr(float(count)), item_id.encode())]
    await send(redis, [("EVAL", script("replace_trending"), 1, keys.trending, *values)])


def decode(found: Iterable[tuple[bytes, float]]) -> list[Trending]:
    """Decode members with their scores."""
    return [Trending(member.decode(), score) for member, score in found]


async def read(redis: Client, keys: Keys, n: int = 20) -> list[Trending]:
    """Read the n items with the highest counts."""
    found: Any = await redis.zrevrange(keys.trending, 0, n - 1, withscores=True) if n > 0 else []
    return decode(found)
