"""A worker whose clock is wrong by hours: Kafka refuses times more than an hour ahead, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.chaos.world import Worker
from tests.live.conftest import shopping
from tests.outside import Outside, assert_exact

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

REFUSED = 3
AHEAD = 7_200.0  # seconds; brokers take an hour by default


@pytest.fixture
def tree(kafka, options):
    return options(kafka, partitions=2)


@pytest.fixture
def outside(tree, stack):
    return stack.enter_context(Outside(tree))


@pytest.fixture
def shifted(tree, stack):
    """Start a worker whose clock can be set."""

    def start(number: int) -> Worker:
        worker = Worker(number, tree)
        stack.callback(worker.close)
        worker.launch().wait_until_ready()
        return worker

    return start


def test_a_worker_whose_clock_is_hours_ahead_ends_with_what_mends_it_and_another_goes_on(shifted, outside):
    worker = shifted(0)
    events = shopping(41, 200, users=20)
    outside.push(*events[:100])
    outside.settle()
    worker.set_clock(AHEAD)
    outside.push(*events[100:])
    outside.wait(lambda: not worker.alive, "the worker ends")
    worker.kill()
    assert worker.exit_code == REFUSED, worker.words()
    assert "Traceback" not in worker.words()
    assert "clock" in worker.words().splitlines()[-1]
    shifted(1)
    outside.settle()
    assert_exact(outside, events)


def test_a_catalogue_entry_waits_until_the_clock_is_right_again(shifted, outside):
    worker = shifted(0)
    worker.set_clock(AHEAD)
    outside.send("items", [(b"tea", b'{"item_id":"tea","name":"Tea"}')])
    outside.wait(lambda: "the catalogue" in worker.words(), "the worker says that it waits")
    assert outside.hash("item:tea") == {}
    worker.set_clock(0)
    outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea", "the entry")
    assert worker.alive
    assert "Traceback" not in worker.words()


def test_a_worker_whose_clock_is_behind_serves_on(shifted, outside):
    worker = shifted(0)
    worker.set_clock(-86_400.0)
    events = shopping(42, 100, users=20)
    outside.push(*events)
    outside.settle()
    assert_exact(outside, events)
    assert worker.alive
