"""`upwell worker --processes N`: several workers that share the work, end together, and are replaced when they die."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streams.watched import HOST, free_port
from tests.outside import Outside, assert_exact, event
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN = 60.0


@pytest.fixture
def crew(broker, options, stack) -> Callable[..., WorkerProcess]:
    """Two workers in one command, not yet started."""

    def make(**over: object) -> WorkerProcess:
        process = WorkerProcess(options(broker, http=f"{HOST}:{free_port()}", **over), ("--processes", "2"))
        stack.callback(process.close)
        return process

    return make


def workers_of(crew: WorkerProcess) -> set[int]:
    """Process ids of the workers that the command runs now."""
    children = Path(f"/proc/{crew.pid}/task/{crew.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def partitions_of(crew: WorkerProcess, number: int) -> set[str]:
    """The partitions that one of the workers says it reads."""
    port = int(str(crew.settings["http"]).rpartition(":")[2]) + number
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=2.0) as answer:
            return set(re.findall(r'^upwell_lag_events\{partition="(\d+)"\}', answer.read().decode(), re.MULTILINE))
    except OSError:
        return set()


def shared(crew: WorkerProcess) -> bool:
    """Whether each of two workers reads half of four partitions."""
    one, other = (partitions_of(crew, number) for number in range(2))
    return len(one) == len(other) == 2 and not one & other


def lives(pid: int) -> bool:
    """Whether a process is there."""
    return Path(f"/proc/{pid}").exists()


def test_two_workers_share_the_work_and_one_that_dies_is_replaced(crew):
    both = crew(partitions=4).start()
    wait_until_sync(lambda: shared(both), within=WITHIN, what="both have a share")
    events = [event(f"u{number % 50}", f"i{number % 31}") for number in range(2_000)]
    with Outside(both.settings) as outside:
        outside.push(*events[:1_000])
        first, second = sorted(workers_of(both))
        os.kill(first, signal.SIGKILL)
        outside.push(*events[1_000:])
        wait_until_sync(lambda: shared(both), within=WITHIN, what="the dead one is replaced")
        assert second in workers_of(both)
        assert first not in workers_of(both)
        outside.settle()
        assert_exact(outside, events)
    ended = workers_of(both)
    both.stop()
    assert both.exit_code == 0, both.words()
    assert not any(map(lives, ended))
    assert "ended with status -9, starting it again" in both.words()
    assert "Traceback" not in both.words()


def test_workers_do_not_outlive_a_command_that_was_killed(crew):
    both = crew(partitions=4).start()
    workers = wait_until_sync(lambda: workers_of(both) if len(workers_of(both)) == 2 else None, what="both run")
    os.kill(both.pid, signal.SIGKILL)
    wait_until_sync(lambda: not any(map(lives, workers)), within=WITHIN, what="the workers end too")


def test_what_one_refuses_ends_all_with_its_status_and_its_fix(broker, crew, worker):
    earlier = worker(broker, models={"visitors": 64}).start()
    earlier.stop()
    status, words = crew(models={"visitors": 32}).run()
    assert status == 3, words
    assert "upwell reset --models" in words
    assert "Traceback" not in words
