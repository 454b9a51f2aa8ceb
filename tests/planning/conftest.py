"""A table of round numbers, by which examples can be worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.planning import constants

ROUND = {
    "measured_users": 1e6,
    "measured_items": 1e6,
    "event": 80,
    "event_by_users": 0.5,
    "event_by_items": 0,
    "record": 100,
    "batch": 1_000,
    "fold_visit": 1,
    "fold_record": 90,
    "read_record": 10,
    "read_message": 5,
    "publish": 10,
    "write_client": 5,
    "read_client": 100,
    "write_server": 20,
    "write_server_cluster": 40,
    "read_server": 20,
    "event_bytes": 100,
    "message_bytes": 1_000,
    "segment_bytes": 50,
    "visit_bytes": 50,
    "record_bytes": 1_000,
    "user_bytes": 1_000,
    "item_bytes": 2_000,
    "profile_bytes": 100,
    "base_bytes": 1e6,
    "snapshot_share": 0.5,
    "snapshot_rate": 1e6,
    "stored_user_bytes": 1_000,
    "stored_entry_bytes": 10,
    "stored_item_bytes": 500,
    "reads_per_process": 1_000,
    "headroom": 0.7,
    "fold_share": 0.5,
    "beat": 0.01,
    "node_bytes": 1e9,
    "node_fill": 0.5,
    "node_cpu": 0.5,
    "partition_rate": 50e6,
    "broker_rate": 1e9,
}


@pytest.fixture
def round_numbers(monkeypatch):
    """Every constant of the table, as a number that a head can reckon with."""
    table = {name: replace(one, value=ROUND[name]) for name, one in constants.BY_NAME.items()}
    monkeypatch.setattr(constants, "BY_NAME", table)
