"""The last round, with a proof of its own: the events topic is deleted and made anew beneath the workers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient, NewTopic

from tests.chaos.taps import Taps
from tests.chaos.world import TOPICS, Worker, World
from tests.waiting import wait_until_sync
from tests.worker import environment

if TYPE_CHECKING:
    from tests.chaos.run import Run

REFUSED = 3
AFTER = 1_000  # events for the new topic


def recreate(run: Run) -> None:
    """Every worker refuses the new topic until it is accepted; then all counts, before and after, hold."""
    world, oracle = run.world, run.oracle
    partitions = len(world.outside.ends())
    for worker in world.workers:
        worker.end()
    _anew(world, partitions)
    for worker in world.workers:
        _refuses(worker)
    run.say(f"     the events topic was recreated: {len(world.workers)} workers refuse it")
    run.say(f"     upwell reset: {_reset(world)}")
    world.renew()
    # What came since the last proof, the record of the reset among it; others go on behind it.
    run.taps.end()
    oracle.absorb(run.taps)
    begins = run.taps.next | {("events", partition): 0 for partition in range(partitions)}
    oracle.begin_topic()
    with Taps(world.kafka.address, TOPICS, begins) as run.taps:
        for worker in world.workers:
            worker.launch()
        world.load.allow(AFTER)
        world.load.rest()
        run.prove(run.report.rounds + 1)


def _anew(world: World, partitions: int) -> None:
    admin, topic = AdminClient({"bootstrap.servers": world.kafka.address, "log_level": 0}), TOPICS["events"]
    admin.delete_topics([topic])[topic].result(30)
    wait_until_sync(lambda: topic not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    made = lambda: admin.create_topics([NewTopic(topic, partitions, 1)])[topic].exception(30) is None  # noqa: E731
    wait_until_sync(made, what="the topic is back")


def _refuses(worker: Worker) -> None:
    begin = len(worker.words())
    status, words = worker.run(within=120)
    worker.kill()
    assert status == REFUSED, words[begin:]
    assert "was recreated" in words[begin:]
    assert "upwell reset" in words[begin:]


def _reset(world: World) -> str:
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
    command = [sys.executable, "-m", "streams.cli", "reset", "--yes"]
    done = subprocess.run(
        command, env=foreign | environment(world.tree), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())
