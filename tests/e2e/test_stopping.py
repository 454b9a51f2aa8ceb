"""How a worker ends: in order, within seconds, whatever it is doing; and what it says of wrong settings."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.outside import Outside, assert_exact, event
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess, environment

SECONDS = 15.0  # an idle machine needs three


def ends(worker, with_signal: signal.Signals) -> int:
    """Send the signal; gives the exit code, reached within seconds."""
    os.kill(worker.pid, with_signal)
    wait_until_sync(lambda: not worker.alive, within=SECONDS, what=f"the worker ends after {with_signal.name}")
    worker.kill()
    assert "Traceback" not in worker.words()
    return worker.exit_code


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_busy_worker_after_the_batch_in_hand(broker, options, worker, with_signal):
    busy = worker(broker).start()
    with Outside(options(broker)) as outside:
        outside.push(*(event(f"u{number % 500}", f"i{number % 97}") for number in range(15_000)))
        wait_until_sync(lambda: sum(outside.applied().values()) > 300, within=60, what="the worker is at work", every=0.001)
        assert ends(busy, with_signal) == 0
        applied = outside.applied()
        assert sum(applied.values()) < 15_000, "too quick to have been interrupted"
        triggers = [message.json["trigger"] for message in outside.read("recommendations")]
        # All that was answered is applied, and all that is applied was answered.
        assert all(trigger["offset"] < applied[trigger["partition"]] for trigger in triggers)
        last = {partition: max(t["offset"] for t in triggers if t["partition"] == partition) for partition in applied}
        assert {partition: offset + 1 for partition, offset in last.items()} == applied


def test_ctrl_c_ends_a_worker_that_waits_for_its_broker(own_broker, worker):
    gone = own_broker()
    gone.stop()
    waiting = worker(gone).launch()
    wait_until_sync(lambda: "trying again" in waiting.words(), within=60, what="the worker waits for the broker")
    assert ends(waiting, signal.SIGINT) == 0


def test_a_worker_starts_before_its_broker_and_serves_when_it_comes(own_broker, worker):
    late = own_broker()
    late.stop()
    early = worker(late).launch()
    wait_until_sync(lambda: "trying again" in early.words(), within=60, what="the worker waits for the broker")
    assert early.get("/health")[0] == 200
    assert early.get("/ready")[0] == 503
    late.start()
    early.wait_until_ready()
    assert early.words().count("trying again") == 1


def test_ctrl_c_ends_a_worker_whose_redis_is_gone(broker, own_redis, options, worker):
    redis = own_redis()
    orphan = worker(broker, redis=redis.url).start()
    redis.stop()
    with Outside(options(broker, redis=redis.url)) as outside:
        outside.push(event("ada", "tea"))
        wait_until_sync(lambda: "trying again" in orphan.words(), within=60, what="the worker waits for Redis")
    assert ends(orphan, signal.SIGINT) == 0


def test_ctrl_c_ends_a_worker_whose_broker_is_gone(own_broker, worker):
    broker = own_broker()
    orphan = worker(broker).start()
    broker.stop()
    wait_until_sync(lambda: orphan.get("/ready", timeout=10.0)[0] == 503, within=60, what="the worker is not ready")
    assert ends(orphan, signal.SIGINT) == 0


WRONG = [
    ({"UPWELL_PARTITIONS": "0"}, r"UPWELL_PARTITIONS \(from the environment\) is '0', but must be a whole number from 1"),
    ({"UPWELL_BROKERS": "kafka"}, r"'kafka' is no host:port; write it as kafka:9092"),
    ({"UPWELL_EXCLUDE": "none,purchase"}, r"UPWELL_EXCLUDE .*write it as purchase,dislike"),
    ({"UPWELL_PARTITION": "8"}, r"no setting has this name; did you mean UPWELL_PARTITIONS\?"),
]


@pytest.mark.parametrize(("variables", "line"), WRONG)
def test_wrong_settings_end_with_status_2_and_one_line(broker, options, variables, line):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"],
        env={k: v for k, v in os.environ.items() if not k.startswith("UPWELL_")} | environment(options(broker)) | variables,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert re.search(line, done.stderr), done.stderr
    assert done.stdout == ""
    assert time.monotonic() - began < 30


def test_a_restarted_worker_goes_on_where_it_was(broker, options, worker):
    with Outside(options(broker)) as outside:
        first = worker(broker, snapshot={"seconds": 1}).start()
        events = [event(f"u{number % 7}", f"i{number % 5}") for number in range(200)]
        outside.push(*events)
        outside.settle()
        first.stop()
        assert first.exit_code == 0
        first.start()
        more = [event(f"u{number % 7}", f"j{number % 5}") for number in range(200)]
        outside.push(*more)
        outside.settle()
        assert_exact(outside, events + more)


class Stuck(WorkerProcess):
    """A worker with a part that never ends: ``wrong`` is Python that breaks it."""

    wrong = ""

    def _command(self) -> list[str]:
        short = "import asyncio, threading, streams.closing, streams.serving as s\nstreams.closing.LONGEST_SECONDS = 2.0\n"
        return [sys.executable, "-c", f"{short}{self.wrong}\nfrom streams.cli import main\nmain(['worker'])"]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ("async def never(self): await asyncio.Event().wait()\ns.Serving.on_stop = never", "> never:3"),
        ("threading.Thread(target=threading.Event().wait, name='left').start()", "thread left in Condition.wait:"),
    ],
    ids=["part", "thread"],
)
def test_a_worker_of_which_a_part_waits_for_ever_ends_and_says_where(broker, options, wrong, where):
    with closing(Stuck(options(broker))) as stuck:
        stuck.wrong = wrong
        stuck.start()
        os.kill(stuck.pid, signal.SIGTERM)
        wait_until_sync(lambda: not stuck.alive, within=SECONDS, what="it ends")
        stuck.kill()
        assert stuck.exit_code == 1
        assert "not ended within 2 s" in stuck.words()
        assert where in stuck.words()
