"""Kafka and Redis go away under load and come back; the worker waits, says so, and loses nothing."""

from __future__ import annotations

import pytest

from tests.live.conftest import assert_everything, assert_taught, shopping
from tests.outside import assert_exact
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def log_file(redis_server):
    """The append-only file; since Redis 7 the part of it that grows."""
    return lambda: next(file for file in redis_server.folder.rglob("*.aof") if not file.name.endswith(".base.aof"))


def test_a_broker_restart_under_load_loses_nothing(kafka, crew, outside, load):
    (worker,) = crew(1)
    events = shopping(11, 3_000)
    with load(events, speed=500) as sending:
        sending.reaches(1_000)
        kafka.restart()
    assert_everything(outside, events, sending.places)
    wait_until_sync(lambda: worker.get("/ready")[0] == 200, within=60, what="the worker is ready again")


def test_a_killed_broker_under_load_loses_nothing(kafka, crew, outside, load):
    (worker,) = crew(1)
    events = shopping(12, 3_000)
    with load(events, speed=500) as sending:
        sending.reaches(1_000)
        kafka.kill()
        kafka.start()
    assert_everything(outside, events, sending.places)
    assert worker.alive


def test_a_redis_restart_under_load_loses_nothing_and_is_said_once(crew, outside, load, redis_server):
    (worker,) = crew(1)
    events = shopping(13, 3_000)
    with load(events, speed=500) as sending:
        sending.reaches(1_000)
        redis_server.stop()
        wait_until_sync(lambda: worker.get("/ready")[0] == 503, within=60, what="the worker is not ready")
        # A Redis that is back at once was away for nobody: its client tries again by itself.
        wait_until_sync(lambda: "waiting and trying again" in worker.words(), within=60, what="the worker says that it waits")
        redis_server.start()
    assert_everything(outside, events, sending.places)
    assert worker.words().count("waiting and trying again") == 1, worker.words()


def test_redis_comes_back_without_its_last_second_under_load(crew, outside, load, redis_server, log_file):
    (worker,) = crew(1)
    events = shopping(14, 4_000)
    with load(events, speed=500) as sending:
        sending.reaches(1_000)
        kept = log_file().stat().st_size
        sending.reaches(1_500)
        _lose(redis_server, log_file(), kept)
    assert_everything(outside, events, sending.places)
    assert worker.alive


def test_redis_comes_back_without_its_last_second_and_no_event_follows(crew, outside, redis_server, log_file):
    crew(1)
    events = shopping(15, 600)
    outside.push(*events[:300])
    outside.settle()
    kept = log_file().stat().st_size
    outside.push(*events[300:])
    outside.settle()
    _lose(redis_server, log_file(), kept)
    outside.settle()
    assert_exact(outside, events)
    assert_taught(outside, len(events))


def test_redis_comes_back_empty(crew, outside, load):
    (worker,) = crew(1)
    events = shopping(16, 2_000)
    with load(events, speed=500) as sending:
        sending.reaches(1_000)
        outside.redis.flushall()
    assert_everything(outside, events, sending.places)
    assert worker.alive


def _lose(redis_server, file, kept: int) -> None:
    """A power cut: what reached the append-only file after that moment is gone."""
    redis_server.kill()
    with file.open("rb+") as opened:
        opened.truncate(kept)
    redis_server.start()
