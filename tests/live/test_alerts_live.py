"""What alerts look at, provoked in a real worker."""

from __future__ import annotations

import re

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.live.conftest import shopping
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


def figure(worker, name: str) -> float:
    """The sum of a metric over its labels, as a worker's page has it."""
    page = worker.get("/metrics")[1]
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE))


def test_events_that_kafka_deleted_before_they_were_applied_are_counted(crew, outside, kafka):
    (worker,) = crew(1, partitions=1)
    outside.push(*shopping(81, 100))
    outside.settle()
    assert figure(worker, "upwell_deleted_events_total") == 0
    worker.kill()
    outside.push(*shopping(82, 60))
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for done in admin.delete_records([TopicPartition(outside.topics["events"], 0, 140)]).values():
        done.result(30)
    worker.start()
    outside.settle()
    assert figure(worker, "upwell_deleted_events_total") == 40
    assert "events 100 to 140 were deleted before they were applied" in worker.words()


def test_dead_letters_are_counted_by_reason_and_rekeyed_events_too(crew, outside):
    (worker,) = crew(1, partitions=2)
    outside.send("events", [(b"ada", b"{"), (b"ada", b"[]"), (b"ada", b"{")])
    outside.push(*shopping(83, 40), keyed=False)
    wait_until_sync(lambda: figure(worker, "upwell_events_total") == 40, within=60, what="all are applied")
    page = worker.get("/metrics")[1]
    assert 'upwell_dead_letters_total{error="not_json",stage="decode"} 2.0' in page
    assert 'upwell_dead_letters_total{error="not_an_object",stage="decode"} 1.0' in page
    assert 'upwell_dead_letters_total{error="no_value",stage="decode"} 0.0' in page, "from the start, lest a burst be no increase"
    assert 0 < figure(worker, "upwell_rekeyed_total") < 40


def test_a_worker_without_redis_is_not_ready_and_says_for_what_it_waits(crew, outside, redis_server):
    (worker,) = crew(1)
    assert (figure(worker, "upwell_ready"), figure(worker, "upwell_ready_part")) == (1, 3)
    redis_server.stop()
    wait_until_sync(lambda: figure(worker, "upwell_ready") == 0, within=60, what="it is not ready")
    assert re.search(r'^upwell_ready_part{part="redis"} 0\.0$', worker.get("/metrics")[1], re.MULTILINE)
    redis_server.start()
    wait_until_sync(lambda: figure(worker, "upwell_ready") == 1, within=60, what="it is ready again")
    assert outside.applied() == {}
