from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.embedded import Broker
from streams.settings import Settings
from tests.fixtures.workers import Tree, merged
from tests.worker import WorkerProcess, environment


def test_settings_become_variables() -> None:
    tree = {"group": "a", "intake": {"batch_ms": 5}, "partitions": 2}
    assert environment(tree) == {"UPWELL_GROUP": "a", "UPWELL_INTAKE_BATCH_MS": "5", "UPWELL_PARTITIONS": "2"}


def test_settings_of_a_test_change_single_fields_of_a_section() -> None:
    tree = merged({"group": "a", "intake": {"batch_ms": 5, "rewind_s": 1}}, {"intake": {"batch_ms": 9}, "size": 3})
    assert tree == {"group": "a", "intake": {"batch_ms": 9, "rewind_s": 1}, "size": 3}


def test_two_tests_share_no_name(options: Callable[..., Tree], settings: Callable[..., Settings], broker: Broker) -> None:
    checked = settings(broker, partitions=2, intake={"batch_ms": 5})
    assert (checked.partitions, checked.intake.batch_ms, checked.brokers) == (2, 5, broker.address)
    assert checked.topics.events == options(broker)["topics"]["events"] != "events"
    assert checked.group != "group"


@pytest.mark.parametrize("forked", [True, False])
def test_a_forked_worker_is_a_process_as_any_other(worker: Callable[..., WorkerProcess], broker: Broker, forked: bool) -> None:
    one = worker(broker, log={"format": "json"})
    one.forked = forked
    one.start()
    process = Path(f"/proc/{one.pid}")
    assert Path(process / "cwd").readlink() == one.folder
    assert os.getsid(one.pid) == one.pid
    files = {file.name: str(file.readlink()) for file in (process / "fd").iterdir()}
    assert (files["0"], files["1"], files["2"]) == ("/dev/null", str(one.log), str(one.log))
    others = [
        path for number, path in files.items() if int(number) > 2 and not path.startswith(("socket:", "anon_inode:", "pipe:"))
    ]
    assert others == []
    assert one.words().startswith("{")
    one.stop()
    assert one.exit_code == 0
    one.start()
    one.kill()
    assert one.exit_code == -signal.SIGKILL
