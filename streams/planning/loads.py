"""A load over the workers of learned logs: pure arithmetic over the table of constants; docs/scale.md says why it is this one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streams.planning.constants import value

__all__ = [
    "Load",
    "Shard",
    "Tuning",
    "event_cost",
    "held",
    "learned",
    "log_full",
    "missed",
    "rhythm",
    "rows",
    "shard_of",
    "spent",
]

US = 1e-6
DAY = 86_400.0
TTL_DAYS = 90.0  # a user whom nothing happens to leaves Redis after so long
HISTORY = 100  # entries of a history at most
SEGMENT = float(1 << 30)  # Kafka deletes whole files of a log, of a gigabyte by default
MOST_PARTITIONS = 1_024
ROWS = 256  # arrays of the models begin with so many, and double


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked: users and items ever seen, events a second on the mean, and how the peak lies above it."""

    users: float
    items: float
    rate: float
    peak: float = 3.0
    days: float = 7.0
    reads: float | None = None
    memory: float = 16e9
    replicas: int = 3
    shards: int | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """The settings that sizes depend on."""

    batch_s: float = 0.2
    batch_events: int = 8_000
    cached_users: int = 100_000
    visitors: int = 256
    length: int = 64
    snapshot_s: float = 60.0
    max_users: int = 0
    max_items: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """The workers of one learned log: the shares of a core each spends at the peak on its ``own`` events and on the ``fold``."""

    workers: int
    partitions: int
    own: float
    fold: float
    records: float
    users: float
    peak: float
    each: float


EVENT = ("event", "event_by_users", "event_by_items", "read_message", "publish", "write_client", "read_client")
FOLD = ("fold_visit", "fold_record", "read_record")


def event_cost(users: float, items: float) -> float:
    """CPU seconds of an event among so many users and items, without the reading of a profile that is not cached."""
    among_users = 1.0 + value("event_by_users") * quadruplings(users, "measured_users")
    among_items = 1.0 + value("event_by_items") * quadruplings(items, "measured_items")
    ranked = value("event") * among_users * among_items
    return US * (ranked + value("read_message") + value("publish") + value("write_client"))


def quadruplings(count: float, measured: str) -> float:
    """Say how often what was measured must be quadrupled to be so many."""
    return max(0.0, math.log(count / value(measured), 4))


def missed(users: float, workers: int, tuning: Tuning) -> float:
    """Give the share of events whose user is in no cache, were all users as active."""
    return max(0.0, 1.0 - tuning.cached_users * workers / users)


def shard_of(load: Load, tuning: Tuning, shards: int) -> Shard | None:
    """Give the fewest workers that hold a shard's peak with headroom; none where its log is more than they can fold or read."""
    for workers in range(1, MOST_PARTITIONS // 2 + 1):
        shard = spent(load, shards, workers, tuning)
        if shard.fold > value("fold_share") * value("headroom"):
            return None
        if shard.own + shard.fold <= value("headroom"):
            return shard if log_full(load, tuning, shard) <= 1.0 else None
    return None


def spent(load: Load, shards: int, workers: int, tuning: Tuning) -> Shard:
    """Tell what each of so many workers spends: two partitions each, in batches as long as they may be."""
    users, peak = load.users / shards, load.rate * load.peak / shards
    partitions = max(8, 2 * workers)
    batches = 1.0 / longest(peak / workers, tuning)
    records = partitions * batches
    each = event_cost(users, held(load.items, tuning.max_items)) + US * missed(users, workers, tuning) * value("read_client")
    own = peak / workers * each + US * batches * (value("batch") + partitions / workers * value("record"))
    fold = US * (peak * value("fold_visit") + records * (value("fold_record") + value("read_record")))
    return Shard(workers, partitions, own, fold, records, users, peak, each)


def longest(rate: float, tuning: Tuning) -> float:
    """Seconds that a worker's batch lasts at most, at so many events a second of its own."""
    return min(tuning.batch_s, tuning.batch_events / rate)


def rhythm(shard: Shard, rate: float, tuning: Tuning) -> float:
    """Seconds between two batches of a worker at a rate: it takes the next when it is done with the last.

    A batch of `T` seconds holds `rate T` events, so `T = fixed + T * share`, where `fixed` is what each batch costs and
    `share` what its events do. It never ends before the batch ahead of it is acknowledged, and is at most as long as is set.
    """
    share = rate / shard.workers * shard.each + US * rate * value("fold_visit")
    records = shard.partitions * (value("fold_record") + value("read_record"))
    fixed = US * (value("batch") + shard.partitions / shard.workers * value("record") + records)
    wanted = fixed / (1.0 - share) if share < 1.0 else math.inf
    return min(max(wanted, value("beat")), longest(rate / shard.workers, tuning))


def learned(tuning: Tuning, shard: Shard, rate: float) -> float:
    """Bytes a second of a shard's learned log, whose records are as many as its workers' rhythm makes, at most one an event."""
    records = min(rate, shard.partitions / rhythm(shard, rate, tuning))
    return rate * value("visit_bytes") + records * value("record_bytes")


def busiest(load: Load, tuning: Tuning, shard: Shard) -> float:
    """Bytes a second of the log when they are most: at the peak, or on the mean, when batches are shorter."""
    return max(learned(tuning, shard, rate) for rate in (shard.peak, shard.peak / load.peak))


def log_full(load: Load, tuning: Tuning, shard: Shard) -> float:
    """How full the log's broker is, in or out: it sends the log to every worker and to the replicas."""
    log, readers = busiest(load, tuning, shard), shard.workers + load.replicas - 1
    return max(log / value("partition_rate"), log * readers / value("broker_rate"))


def held(count: float, most: int) -> float:
    """How many of so many users or items the models hold, where ``most`` limits them; 0 limits nothing."""
    return min(count, float(most)) if most else count


def rows(count: float, most: int = 0) -> float:
    """Rows of an array that doubled until so many fit, or as many as it may have."""
    doubled = ROWS * 2.0 ** max(0, math.ceil(math.log2(max(count, 1.0) / ROWS)))
    return held(doubled, most)
