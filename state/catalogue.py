"""How far the catalogue in Redis goes; where this mark is not whole, the topic `items` has to be read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from state.cluster import Cluster
from state.connection import Client, script, send
from state.keys import Keys

__all__ = ["Mark", "Span", "advance", "begin_anew", "complete", "doubt", "holder", "read"]


@dataclass(frozen=True, slots=True)
class Mark:
    """``incarnation`` counts how often the topic was recreated; ``ends`` is, by partition, the offset after the last entry."""

    incarnation: int = 0
    whole: bool = False
    ends: Mapping[int, int] = field(default_factory=dict)


class Span(NamedTuple):
    """Entries of a partition that were kept: those from ``first`` (-1: from the topic's beginning) to before ``end``.

    ``kept`` is the end that the same worker said last, -1 where it said none.
    """

    kept: int
    first: int
    end: int


async def read(redis: Client, keys: Keys) -> Mark:
    """Read the mark; an empty one where there is none."""
    stored: Any = await redis.hgetall(keys.catalogue)
    ends = {int(name[4:]): int(value) for name, value in stored.items() if name.startswith(b"end:")}
    return Mark(int(stored.get(b"incarnation", 0)), stored.get(b"whole") == holder(redis).encode(), ends)


def holder(redis: Client) -> str:
    """Name what holds the entries: on a cluster its primaries, for one that took over may lack some; else always the same."""
    return redis.primaries if isinstance(redis, Cluster) else "1"


async def advance(redis: Client, keys: Keys, spans: Mapping[int, Span]) -> bool:
    """Say up to where entries were kept; True: Redis lost some that were kept before, and the mark is whole no more."""
    words = [word for partition, span in spans.items() for word in (partition, *span)]
    (gap,) = await send(redis, [("EVAL", script("advance_catalogue"), 1, keys.catalogue, *words)]) if words else (0,)
    return bool(gap)


async def complete(redis: Client, keys: Keys, held: str) -> None:
    """Say that Redis has every entry that was kept; ``held`` is what ``holder`` said before they were."""
    await redis.hset(keys.catalogue, "whole", held)


async def doubt(redis: Client, keys: Keys) -> None:
    """Say that Redis may have lost entries."""
    await redis.hdel(keys.catalogue, "whole")


async def begin_anew(redis: Client, keys: Keys, incarnation: int) -> None:
    """Say that the topic begins at 0 again."""
    await send(redis, [("EVAL", script("begin_catalogue"), 1, keys.catalogue, incarnation)])
