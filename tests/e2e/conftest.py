"""One worker on embedded servers that the tests of this folder share; each brings users and items of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from state.connection import connect
from state.keys import Keys
from streams.embedded import Broker, RedisServer
from tests.fixtures.workers import TOPICS, Tree
from tests.leaks import assert_no_leaks
from tests.outcome import FAILED
from tests.outside import Outside
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess


@pytest.fixture(scope="package")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis that no test empties."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="package")
def shared_tree(broker: Broker, shared_redis: RedisServer) -> Tree:
    tail = secrets.token_hex(4)
    return {
        "brokers": broker.address,
        "redis": shared_redis.url,
        "prefix": f"shared-{tail}:",
        "group": f"shared-{tail}",
        "topics": {role: f"{topic}-{tail}" for role, topic in TOPICS.items()},
        "partitions": 4,
        "intake": {"session_timeout_ms": 6000},
        "segments": {"k": 3},
        "snapshot": {"seconds": 5},
    }


@contextmanager
def serving(*trees: Tree) -> Iterator[list[WorkerProcess]]:
    """Run a worker for each tree, started and ended together; in the end its keys have a TTL or are meant to stay."""
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(WorkerProcess(tree))).launch() for tree in trees]
        for worker in workers:
            worker.wait_until_ready()
        yield workers
        for worker in workers:
            os.kill(worker.pid, signal.SIGINT)
        for tree, worker in zip(trees, workers, strict=True):
            wait_until_sync(lambda worker=worker: not worker.alive, within=60, what="the worker ends")
            worker.kill()
            assert worker.exit_code == 0, worker.words()
            asyncio.run(_no_leaks(tree))


async def _no_leaks(tree: Tree) -> None:
    client = connect(tree["redis"])
    try:
        # Others share this Redis under prefixes of their own.
        await assert_no_leaks(client, Keys(tree["prefix"]), ours=True)
    finally:
        await client.aclose()


def renamed(tree: Tree, name: str, **over: object) -> Tree:
    """The same settings with topics, keys and a group of their own, for workers beside the shared one."""
    own = {"prefix": f"{name}:", "group": name, "topics": {role: f"{topic}-{name}" for role, topic in tree["topics"].items()}}
    return tree | own | over


@pytest.fixture(scope="package")
def shared_worker(shared_tree: Tree) -> Iterator[WorkerProcess]:
    with serving(shared_tree) as (worker,):
        yield worker


@pytest.fixture(autouse=True)
def _words(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the shared worker said last when a test that used it fails."""
    yield
    if request.node.stash.get(FAILED, False) and "shared_worker" in request.fixturenames:
        print(f"--- the shared worker ---\n{request.getfixturevalue('shared_worker').words()[-4000:]}")


@pytest.fixture(scope="package")
def service(shared_tree: Tree, shared_worker: WorkerProcess) -> Iterator[Outside]:
    """The running service from outside."""
    assert shared_worker.alive
    with Outside(shared_tree) as outside:
        yield outside


@pytest.fixture
def own() -> Callable[[str], str]:
    """Ids of this test's own: own("ada") is "ada-3f9c…"."""
    tail = secrets.token_hex(4)
    return lambda word: f"{word}-{tail}"
