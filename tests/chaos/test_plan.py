"""A run is a function of its seed, and meets every fault."""

from __future__ import annotations

from tests.chaos import faults
from tests.chaos.plan import SERVERS, WORKERS, plan


def test_the_same_seed_gives_the_same_rounds():
    assert plan(7, 50, 3) == plan(7, 50, 3)
    assert plan(7, 50, 3) != plan(8, 50, 3)


def test_a_longer_run_begins_as_a_shorter_one():
    assert plan(7, 80, 3)[:50] == plan(7, 50, 3)


def test_every_fault_comes_within_the_first_rounds():
    kinds = {*WORKERS, *SERVERS}
    assert {fault.name for one in plan(7, len(kinds), 3) for fault in one.faults} == kinds


def test_every_fault_that_is_planned_can_happen():
    assert (faults.WORKERS.keys(), faults.SERVERS.keys()) == (WORKERS.keys(), SERVERS.keys())


def test_a_workers_fault_befalls_a_worker_there_is():
    for one in plan(3, 300, 2):
        for fault in one.faults:
            assert fault.worker in {0, 1} if fault.name in WORKERS else fault.worker is None
