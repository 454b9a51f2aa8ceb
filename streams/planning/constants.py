"""The constants of the planner: what one event, user, item, record and server costs, and the command that measures each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ASSUMED", "BY_NAME", "CONSTANTS", "Constant", "value"]

MEASURE = "python -m streams.planning.measure"
HTTP = "upwell bench http"


@dataclass(frozen=True, slots=True)
class Constant:
    """One cost; ``command`` measures it anew, and is empty where a person decides."""

    name: str
    value: float
    unit: str
    says: str
    command: str = MEASURE


CONSTANTS = (
    Constant("measured_users", 20_000.0, "users", "of the world that an event's cost was measured in"),
    Constant("measured_items", 10_000.0, "items", "of that world"),
    Constant("event", 212.0, "µs", "CPU of an event of its own user: decoded, observed, ranked by all sources, answered"),
    Constant("event_by_users", 0.0, "share", "what an event costs more with four times the users"),
    Constant("event_by_items", 0.18, "share", "what an event costs more with four times the items: memory is farther away"),
    Constant("record", 120.0, "µs", "CPU of making a partition's lesson, beside its events"),
    Constant("batch", 3_200.0, "µs", "CPU of a micro-batch, beside its events and records"),
    Constant("fold_visit", 1.8, "µs", "CPU of folding a visit, on every worker"),
    Constant("fold_record", 184.0, "µs", "CPU of folding a record, beside its visits, on every worker"),
    Constant("read_record", 20.0, "µs", "CPU of reading a record of the learned log, on every worker"),
    Constant("read_message", 6.8, "µs", "CPU of reading an event from Kafka"),
    Constant("publish", 9.3, "µs", "CPU of publishing a list and its share of the record"),
    Constant("write_client", 9.5, "µs", "CPU of a worker's client for a user who is written to Redis"),
    Constant("read_client", 20.0, "µs", "CPU of a worker's client for a user who is read from Redis"),
    Constant("write_server", 28.0, "µs", "CPU of Redis for a user who is written"),
    Constant("write_server_cluster", 44.0, "µs", "the same on a cluster, where each user is a call of its own"),
    Constant("read_server", 19.0, "µs", "CPU of Redis for a user who is read"),
    Constant("event_bytes", 129.0, "B", "an event in Kafka, with its key"),
    Constant("message_bytes", 2_830.0, "B", "a list of 10 with reasons"),
    Constant("segment_bytes", 105.0, "B", "a change of segment"),
    Constant("visit_bytes", 67.0, "B", "a visit in the learned log, of a user and an item of its own"),
    Constant("record_bytes", 6_430.0, "B", "a record of the learned log, beside its visits"),
    Constant("user_bytes", 1_200.0, "B", "a user in the models"),
    Constant("item_bytes", 1_980.0, "B", "an item in the models"),
    Constant("profile_bytes", 7_600.0, "B", "a cached profile"),
    Constant("base_bytes", 252e6, "B", "a worker that knows nobody"),
    Constant("snapshot_share", 0.39, "share", "a snapshot's bytes of what the models hold"),
    Constant("snapshot_rate", 85e6, "B/s", "what of the models' bytes is compressed in a second"),
    Constant("stored_user_bytes", 4_440.0, "B", "a user in Redis with an empty history"),
    Constant("stored_entry_bytes", 71.6, "B", "an entry of a history in Redis"),
    Constant("stored_item_bytes", 1_032.0, "B", "an item in Redis"),
    Constant("reads_per_process", 5_900.0, "/s", "lists read over HTTP from one process", HTTP),
)
# What no measurement says: choices with their reasons.
ASSUMED = (
    Constant("headroom", 0.7, "of a core", "a worker at the peak; the rest works off what a dead one left", ""),
    Constant("fold_share", 0.5, "of that", "for the fold at most; past it, every added worker mostly folds", ""),
    Constant("beat", 0.01, "s", "between two batches at least: until the one before is acknowledged", ""),
    Constant("node_bytes", 16e9, "B", "memory of a Redis node; more takes minutes to copy to a new replica", ""),
    Constant("node_fill", 0.6, "of it", "filled: rewriting the append-only file copies what changes meanwhile", ""),
    Constant("node_cpu", 0.6, "of a core", "for writes; Redis does one thing at a time, and readers wait meanwhile", ""),
    Constant("partition_rate", 50e6, "B/s", "into one partition of Kafka, replicated, on ordinary disks", ""),
    Constant("broker_rate", 1e9, "B/s", "out of one broker, of a network of 10 Gbit/s", ""),
)


BY_NAME = {one.name: one for one in (*CONSTANTS, *ASSUMED)}


def value(name: str) -> float:
    """Give a constant by name."""
    return BY_NAME[name].value
