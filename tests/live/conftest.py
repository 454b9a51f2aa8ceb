"""A live test has the shared Apache Kafka, a redis-server of its own that it may kill, and a shop that keeps sending.

UPWELL_TEST_REDIS=valkey gives it Valkey instead, UPWELL_TEST_REDIS=cluster a Redis Cluster of three shards.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pytest

from streams.embedded import ApacheKafka, RedisServer
from tests.outside import Outside, Place, assert_exact, assert_newest, event, taught
from tests.shards import Shards
from tests.waiting import wait_until_sync

if TYPE_CHECKING:
    from tests.fixtures.workers import Tree
    from tests.worker import WorkerProcess

KINDS = ("view", "view", "view", "click", "cart", "purchase")
BREATH = 0.02  # seconds between two handfuls of a paced load


CLUSTER, VALKEY = (os.environ.get("UPWELL_TEST_REDIS") == kind for kind in ("cluster", "valkey"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cuts the file of one Redis, where there are three; tests/live/test_cluster_live.py loses writes there."""
    cutting = [item for item in items if CLUSTER and "log_file" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in cutting]
    config.hook.pytest_deselected(items=cutting)


@pytest.fixture
def redis_server() -> Iterator[RedisServer | Shards]:
    """A Redis of this test's own, the real one where it is installed."""
    binary = None if VALKEY else shutil.which("redis-server")
    with Shards(binary) if CLUSTER else RedisServer(binary=binary) as server:
        yield server


@pytest.fixture
def tree(kafka: ApacheKafka, options: Callable[..., Tree]) -> Tree:
    """Settings of this test's workers."""
    return options(kafka)


@pytest.fixture
def crew(kafka: ApacheKafka, worker: Callable[..., WorkerProcess], stack: ExitStack) -> Callable[..., list[WorkerProcess]]:
    """Start so many workers at once: crew(2, snapshot={"seconds": 1}); they are killed when the test ends."""

    def start(count: int, **over: object) -> list[WorkerProcess]:
        workers = [worker(kafka, **over) for _ in range(count)]
        for one in workers:
            stack.callback(one.kill)
            one.launch()
        for one in workers:
            one.wait_until_ready()
        return workers

    return start


@pytest.fixture
def outside(tree: Tree, stack: ExitStack) -> Outside:
    """Clients of this test's topics and keys; what is sent is in its topic once, though a broker dies before it says so."""
    return stack.enter_context(Outside(tree, **{"enable.idempotence": True}))


def shopping(seed: int, events: int, *, users: int = 200, items: int = 300) -> list[dict[str, object]]:
    """A shop's events in order: some users and items are far busier than others."""
    chance = random.Random(seed)
    return [
        event(f"u{int(users * chance.random() ** 2)}", f"i{int(items * chance.random() ** 3)}", chance.choice(KINDS))
        for _ in range(events)
    ]


def partitions_of(worker: WorkerProcess) -> set[int]:
    """The partitions that a worker says it reads."""
    _, page = worker.get("/metrics")
    return {int(number) for number in re.findall(r'^upwell_lag_events\{partition="(\d+)"\}', page, re.MULTILINE)}


def assert_everything(outside: Outside, events: Sequence[dict[str, object]], places: Sequence[Place]) -> None:
    """All that was sent is in the profiles and in the models exactly once, and every user's newest answer covers it."""
    outside.settle(within=120)
    assert_exact(outside, events)
    assert_newest(outside, events, places)
    assert_taught(outside, len(events))


def assert_taught(outside: Outside, count: int) -> None:
    """The models were taught so many events, not one more."""
    wait_until_sync(lambda: taught(outside) >= count, within=60, what=f"{count} events are taught")
    assert taught(outside) == count


class Load:
    """Sends events at a pace in a thread of its own; leaving the context waits until all are sent."""

    def __init__(self, outside: Outside, events: Sequence[dict[str, object]], *, speed: float = 500.0) -> None:
        self._outside, self._events, self._speed = outside, events, speed
        self._thread = threading.Thread(target=self._run, name="load")
        self._failure: Exception | None = None
        self._hurry = threading.Event()
        self.places: list[Place] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._events = ()
            self._hurry.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def reaches(self, count: int) -> None:
        """Wait until so many events are sent."""
        wait_until_sync(lambda: self._failure or len(self.places) >= count, within=120, what=f"{count} events are sent")

    def _run(self) -> None:
        handful = max(1, int(self._speed * BREATH))
        try:
            while part := self._events[len(self.places) :][:handful]:
                self.places += self._outside.push(*part)
                self._hurry.wait(BREATH)
        except Exception as failure:  # noqa: BLE001 - raised again where the test waits
            self._failure = failure


@pytest.fixture
def load(outside: Outside) -> Callable[..., Load]:
    """Begin a paced load: `with load(events, speed=500) as sending`."""
    return lambda events, **pace: Load(outside, events, **pace)
