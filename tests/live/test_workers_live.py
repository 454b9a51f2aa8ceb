"""Workers come, go, die and return as zombies on Apache Kafka; the profiles and models stay exact."""

from __future__ import annotations

import pytest

from tests.live.conftest import assert_everything, assert_taught, partitions_of, shopping
from tests.outside import assert_exact
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

ALL = set(range(8))


def test_workers_share_the_partitions_and_hand_them_over_under_load(crew, outside, load):
    (first,) = crew(1)
    assert wait_until_sync(lambda: partitions_of(first), what="partitions") == ALL
    events = shopping(1, 5_000)
    with load(events, speed=500) as sending:
        sending.reaches(500)
        (second,) = crew(1)
        wait_until_sync(lambda: _shared(first, second), within=60, what="both have a share")
        second.stop()
        assert second.exit_code == 0, second.words()
        wait_until_sync(lambda: partitions_of(first) == ALL, within=60, what="the first has all again")
    assert_everything(outside, events, sending.places)
    # A partition moved only after all in hand was done, so nobody had to answer twice.
    answers = [answer["recommendation_id"] for answer in outside.recommendations()]
    assert len(answers) == len(set(answers))
    assert "Traceback" not in first.words() + second.words()


def _shared(first, second) -> bool:
    one, other = partitions_of(first), partitions_of(second)
    return bool(one and other) and not one & other and one | other == ALL


def test_a_killed_worker_goes_on_where_it_was(crew, outside, load):
    (worker,) = crew(1)
    events = shopping(2, 2_000)
    with load(events, speed=1_000) as sending:
        sending.reaches(500)
        worker.kill()
        worker.launch()
        worker.wait_until_ready()
    assert_everything(outside, events, sending.places)


def test_a_zombie_cannot_spoil_what_others_did_meanwhile(crew, outside, load):
    zombie, heir = crew(2, intake={"session_timeout_ms": 6_000})
    events = shopping(3, 6_000)
    with load(events, speed=400) as sending:
        wait_until_sync(lambda: _shared(zombie, heir), within=60, what="both have a share")
        sending.reaches(400)
        zombie.pause()
        wait_until_sync(lambda: partitions_of(heir) == ALL, within=60, what="the heir has all")
        wait_until_sync(lambda: _behind(outside) < 400, within=60, what="the heir has caught up")
        zombie.resume()
        wait_until_sync(lambda: _shared(zombie, heir), within=60, what="the zombie is back among the living")
    outside.settle(within=120)
    # A zombie may have had answers under way: recommendations are promised at least once, profiles and models exactly.
    assert_exact(outside, events)
    assert_taught(outside, len(events))
    assert zombie.alive


def _behind(outside) -> int:
    return sum(outside.ends().values()) - sum(outside.applied().values())
