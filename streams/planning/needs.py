"""What a shard's workers, Redis and Kafka take, and what of it is full first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams.planning.constants import value
from streams.planning.loads import (
    DAY,
    EVENT,
    FOLD,
    HISTORY,
    MOST_PARTITIONS,
    SEGMENT,
    TTL_DAYS,
    US,
    Load,
    Shard,
    Tuning,
    busiest,
    held,
    learned,
    missed,
    rows,
)

__all__ = ["Bottleneck", "Need", "bottlenecks", "needs"]


@dataclass(frozen=True, slots=True)
class Need:
    """One figure, and the constants it was made from."""

    name: str
    value: float
    unit: str
    says: str
    constants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """How full something is at the peak, why, and what to do before it is full."""

    name: str
    share: float
    why: str
    set: str
    constants: tuple[str, ...]


STORED = ("stored_user_bytes", "stored_entry_bytes", "stored_item_bytes", "user_bytes", "item_bytes", "snapshot_share")
MODELS = ("user_bytes", "item_bytes")
LEARNED = ("visit_bytes", "record_bytes", "fold_record", "beat")
CELL, VISITOR = 17.5, 6  # bytes of a visit in a user's ring, and of a visitor in an item's


def user_bytes(tuning: Tuning) -> float:
    """Bytes of a user in the models, with rings as long as they are set."""
    return value("user_bytes") + CELL * (tuning.length - Tuning().length)


def item_bytes(tuning: Tuning) -> float:
    """Bytes of an item in the models, as ``user_bytes``."""
    return value("item_bytes") + VISITOR * (tuning.visitors - Tuning().visitors)


def models_bytes(load: Load, tuning: Tuning, shard: Shard) -> float:
    """What the models of a worker hold, without the room that doubling leaves."""
    users, items = held(shard.users, tuning.max_users), held(load.items, tuning.max_items)
    return users * user_bytes(tuning) + items * item_bytes(tuning)


def memory(load: Load, tuning: Tuning, shard: Shard) -> float:
    """Bytes of a worker: its program, the models in arrays that doubled, and the profiles it may keep."""
    slots = min(tuning.cached_users, shard.users) + 2 * tuning.batch_events
    users, items = rows(shard.users, tuning.max_users), rows(load.items, tuning.max_items)
    models = users * user_bytes(tuning) + items * item_bytes(tuning)
    return value("base_bytes") + models + slots * value("profile_bytes")


def redis_load(load: Load, tuning: Tuning, shard: Shard, name: str) -> float:
    """Seconds of CPU a second that all of Redis spends at the peak."""
    each = value(name) + missed(shard.users, shard.workers, tuning) * value("read_server")
    return US * load.rate * load.peak * each


def needs(load: Load, tuning: Tuning, shards: int, shard: Shard) -> tuple[Need, ...]:
    """Every figure, in the order of the data."""
    return (
        *_workers(load, tuning, shards, shard),
        *_redis(load, tuning, shards, shard),
        *_kafka(load, tuning, shards, shard),
        *_outside(load, tuning, shards, shard),
    )


def _workers(load: Load, tuning: Tuning, shards: int, shard: Shard) -> Iterator[Need]:
    workers = shards * shard.workers
    room = ("headroom", "fold_share")
    yield Need("shards", shards, "", "learned logs, each with users of its own", (*FOLD, *room))
    yield Need("partitions", shard.partitions, "a shard", "UPWELL_PARTITIONS: two for each worker, at least 8", room)
    yield Need("workers", workers, "", f"{shard.workers} a shard, one core each", (*EVENT, *FOLD, "record", "batch", *room))
    busy = 100 * (shard.own + shard.fold)
    yield Need("busy", busy, "% of a core", "each worker at the peak", (*EVENT, *FOLD, "record", "batch"))
    yield Need("fold", 100 * shard.fold, "% of a core", "of that the learned log, which every worker folds whole", FOLD)
    taken = memory(load, tuning, shard)
    size = models_bytes(load, tuning, shard)
    yield Need("memory", taken, "B a worker", "program, models, cached profiles", (*MODELS, "profile_bytes", "base_bytes"))
    more = taken + size * (1.0 + value("snapshot_share"))
    snapshot = (*MODELS, "snapshot_share")
    yield Need("memory_saving", more, "B", "the worker of partition 0, while it saves a snapshot", (*snapshot, "profile_bytes"))
    yield Need("all_memory", workers * taken, "B", "all workers together", MODELS)
    seconds = size / value("snapshot_rate")
    yield Need("snapshot", seconds, "s", "to compress a snapshot of full models, beside serving", (*MODELS, "snapshot_rate"))


def _redis(load: Load, tuning: Tuning, shards: int, shard: Shard) -> Iterator[Need]:
    entries = min(float(HISTORY), load.rate * DAY * TTL_DAYS / load.users)
    users = load.users * (value("stored_user_bytes") + entries * value("stored_entry_bytes"))
    items = shards * load.items * value("stored_item_bytes")
    snapshots = 3 * shards * models_bytes(load, tuning, shard) * value("snapshot_share")
    says = f"users with {entries:.0f} entries, items, three snapshots for a moment"
    yield Need("redis_memory", users + items + snapshots, "B", says, STORED)
    nodes = math.ceil((users + items + snapshots) / (value("node_bytes") * value("node_fill")))
    if nodes == 1 and redis_load(load, tuning, shard, "write_server") > value("node_cpu"):
        nodes = 2
    if nodes > 1:
        busy = redis_load(load, tuning, shard, "write_server_cluster")
        nodes = max(3, nodes, math.ceil(busy / value("node_cpu")))
    why = ("node_bytes", "node_fill", "node_cpu", "write_server", "write_server_cluster", "read_server")
    yield Need("redis_nodes", nodes, "", "primaries, without replicas; more than one is a cluster", (*STORED, *why))


def _kafka(load: Load, tuning: Tuning, shards: int, shard: Shard) -> Iterator[Need]:
    kept = load.days * load.replicas
    each = (("events", "event_bytes", "in"), ("recommendations", "message_bytes", "out, a list for each event"))
    for topic, name, says in each:
        daily = load.rate * DAY * value(name)
        yield Need(f"{topic}_day", daily, "B a day", says, (name,))
        yield Need(f"{topic}_kept", daily * kept, "B", f"{load.days:g} days, {load.replicas} replicas", (name,))
    segments = load.users * value("segment_bytes")
    yield Need("segments_kept", segments * load.replicas, "B", "compacted: the last change of each user", ("segment_bytes",))
    second = shards * learned(tuning, shard, load.rate / shards)
    yield Need("learned_day", second * DAY, "B a day", "the learned logs, at the mean rate", LEARNED)
    # A snapshot is begun some time after the one before ended; the log goes back to the older of the last two.
    span = 3 * (tuning.snapshot_s + models_bytes(load, tuning, shard) / value("snapshot_rate"))
    log = (second * span + shards * SEGMENT) * load.replicas
    yield Need("learned_kept", log, "B", f"since two snapshots: {span:.0f} s and a file, {load.replicas} replicas", LEARNED)


def _outside(load: Load, tuning: Tuning, shards: int, shard: Shard) -> Iterator[Need]:
    peak = load.rate * load.peak
    log = shards * learned(tuning, shard, shard.peak)
    into = peak * (value("event_bytes") + value("message_bytes")) + log
    sizes = ("event_bytes", "message_bytes", *LEARNED)
    yield Need("network_in", 8 * into * load.replicas, "bit/s", "into the brokers at the peak, with replicas", sizes)
    out = peak * (value("event_bytes") + value("message_bytes")) + log * shard.workers
    yield Need("network_out", 8 * out, "bit/s", "out of them: events, lists once, and the log to every worker", sizes)
    reads = load.reads or peak
    processes = math.ceil(reads / (value("reads_per_process") * value("headroom")))
    says = f"processes of upwell serve, for {reads:,.0f} reads a second"
    yield Need("http_readers", processes, "", says, ("reads_per_process", "headroom"))


def bottlenecks(load: Load, tuning: Tuning, shard: Shard, found: Sequence[Need]) -> tuple[Bottleneck, ...]:
    """What fills up, the fullest first: those that more workers do not relieve, and Redis as planned."""
    by_name = {need.name: need for need in found}
    log = busiest(load, tuning, shard)
    nodes = by_name["redis_nodes"].value
    busy = redis_load(load, tuning, shard, "write_server" if nodes == 1 else "write_server_cluster")
    all_of_them = (
        Bottleneck(
            "the learned log's fold",
            shard.fold / (value("fold_share") * value("headroom")),
            f"every worker folds all of its shard: {shard.peak:,.0f} visits/s, {shard.records:,.0f} records/s, however many fold",
            "a longer intake.batch_ms makes fewer records; past that, more shards (docs/scale.md)",
            (*FOLD, "fold_share", "headroom"),
        ),
        Bottleneck(
            "memory of a worker",
            by_name["memory_saving"].value / load.memory,
            "every worker has the models of all users and items of its shard; one of them has them twice while it saves",
            "models.max_users and models.max_items bound the models, intake.cached_users the profiles; --memory is what there is",
            by_name["memory_saving"].constants,
        ),
        Bottleneck(
            "Redis writes",
            busy / (nodes * value("node_cpu")),
            f"each event writes its user; one core of each of {nodes:.0f} nodes",
            "more nodes of Redis Cluster (redis+cluster://)",
            ("write_server", "write_server_cluster", "read_server", "node_cpu"),
        ),
        Bottleneck(
            "bytes into the learned log",
            log / value("partition_rate"),
            "it is one partition, for all must fold one order",
            "a longer intake.batch_ms, or more shards",
            (*LEARNED, "partition_rate"),
        ),
        Bottleneck(
            "bytes out of the learned log",
            log * (shard.workers + load.replicas - 1) / value("broker_rate"),
            f"its broker sends it to {shard.workers} workers and {load.replicas - 1} replicas",
            "fewer workers a log, which is more shards; a longer intake.batch_ms",
            (*LEARNED, "broker_rate"),
        ),
        Bottleneck(
            "partitions",
            shard.partitions / MOST_PARTITIONS,
            "a partition is read by one worker",
            "UPWELL_PARTITIONS from the start: changing it needs a stop and `upwell reset`",
            (),
        ),
    )
    return tuple(sorted(all_of_them, key=lambda one: -one.share))
