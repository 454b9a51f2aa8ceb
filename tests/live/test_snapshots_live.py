"""A restart folds from the newest snapshot, and the log goes no further back than the older of the last two."""

from __future__ import annotations

import json
import re

import pytest

from tests.live.conftest import assert_everything, shopping
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


def test_a_restart_folds_from_the_snapshot_and_the_log_below_it_is_deleted(crew, outside, load):
    (worker,) = crew(1, snapshot={"seconds": 1})
    events = shopping(21, 3_000)
    with load(events[:2_000], speed=500) as sending:
        begin = wait_until_sync(lambda: outside.begin("learned"), within=60, what="the log is cut")
    outside.settle()
    places = sending.places
    pointer = {name: json.loads(value) for name, value in outside.hash("snapshot").items()}
    assert 0 < begin <= pointer["previous"]["offset"] < pointer["newest"]["offset"]
    worker.kill()
    worker.launch()
    worker.wait_until_ready()
    assert int(re.findall(r"learned log folded up to (\d+)", worker.words())[-1]) >= pointer["newest"]["offset"]
    places = places + outside.push(*events[2_000:])
    assert_everything(outside, events, places)
    # The models of before the restart are there: the newest answers draw on more than what came since.
    answer = next(iter(outside.newest().values()))
    assert answer["model_version"] > pointer["newest"]["offset"]


def test_a_second_worker_starts_from_the_first_ones_snapshot_and_agrees(crew, outside):
    (first,) = crew(1, snapshot={"seconds": 1})
    events = shopping(22, 1_000)
    places = outside.push(*events[:700])
    outside.settle()
    wait_until_sync(lambda: "newest" in outside.hash("snapshot"), within=60, what="a snapshot")
    (second,) = crew(1)
    first.stop()
    assert first.exit_code == 0
    places += outside.push(*events[700:])
    assert_everything(outside, events, places)
    assert second.alive
