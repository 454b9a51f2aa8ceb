"""The rule of shards, by the code that serves, and what a killed worker leaves to the others."""

from __future__ import annotations

import pytest

from streams.planning.growth import BACK, NOTICED, grown
from streams.planning.loads import Load, Tuning, spent
from streams.planning.plan import plan
from streams.planning.shards import crossing, same_models

SEEDS = range(40)
LOAD = Load(users=1e6, items=1e4, rate=20e3, peak=1.0)


def test_followers_of_several_logs_are_equal_byte_for_byte_when_marks_say_the_order():
    assert all(same_models(seed) for seed in SEEDS)


def test_without_marks_followers_differ():
    assert sum(same_models(seed, marks=False) for seed in SEEDS) < len(SEEDS) / 4


def test_one_log_needs_no_marks():
    assert all(same_models(seed, logs=1, marks=False) for seed in SEEDS)


def test_an_event_that_arrives_in_any_shard_is_taught_once_at_home_through_crashes():
    assert all(crossing(seed).held for seed in SEEDS)


def test_without_the_fence_of_origins_a_crash_teaches_twice():
    found = [crossing(seed, fenced=False) for seed in SEEDS]
    assert not all(one.once for one in found)
    assert all(one.at_home and one.equal for one in found)


def test_a_planned_load_is_answered_and_a_dead_workers_events_are_worked_off():
    found = plan(LOAD)
    seen = grown(LOAD, found.shards, found.shard)
    assert seen.served == pytest.approx(LOAD.rate, rel=0.02)
    assert seen.busy == pytest.approx(found.shard.own + found.shard.fold, rel=0.05), "as the planner says"
    assert NOTICED <= seen.behind < NOTICED + 10
    assert seen.worked_off is not None
    assert seen.worked_off < BACK + 60


def test_half_the_workers_fall_behind():
    found = plan(LOAD)
    seen = grown(LOAD, 1, spent(LOAD, 1, found.shard.workers // 2, Tuning()))
    assert seen.served < 0.95 * LOAD.rate
    assert seen.worked_off is None


def test_the_same_seed_gives_the_same_history():
    found = plan(LOAD)
    first, again, other = (grown(LOAD, found.shards, found.shard, seed=seed, seconds=40) for seed in (1, 1, 2))
    assert first.lag == again.lag
    assert first.lag != other.lag
