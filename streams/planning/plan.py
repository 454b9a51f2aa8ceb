"""The answer of `upwell plan`: as few shards as hold a load, what they need, and what of it is full first."""

from __future__ import annotations

from dataclasses import dataclass

from streams.planning.loads import Load, Shard, Tuning, shard_of
from streams.planning.needs import Bottleneck, Need, bottlenecks, needs

__all__ = ["Plan", "TooMuch", "plan"]

MOST_SHARDS = 4_096


class TooMuch(ValueError):
    """No number of shards holds such a load; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer."""

    load: Load
    shards: int
    shard: Shard
    needs: tuple[Need, ...]
    bottlenecks: tuple[Bottleneck, ...]


def plan(load: Load, tuning: Tuning | None = None) -> Plan:
    """Answer; raise TooMuch where no number of shards would do."""
    tuning = tuning or Tuning()
    numbers = range(1, MOST_SHARDS + 1) if load.shards is None else (load.shards,)
    for shards in numbers:
        shard = shard_of(load, tuning, shards)
        if shard is not None:
            found = needs(load, tuning, shards, shard)
            return Plan(load, shards, shard, found, bottlenecks(load, tuning, shard, found))
    if load.shards is None:
        raise TooMuch(f"no plan up to {MOST_SHARDS:,} shards holds it; a longer intake.batch_ms makes fewer records to fold")
    raise TooMuch(
        f"{load.shards} is too few: the log of each would be more than its workers can fold or its broker can send; "
        "leave --shards out to be told how many do, or set a longer intake.batch_ms"
    )
