"""A rolling upgrade, and back: workers of an earlier version and of this one fold one log, and all counts once.

The bytes that earlier versions wrote are pinned in tests/pinned, which needs no history.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from streams.settings import Settings
from tests.chaos.oracle import Oracle
from tests.chaos.run import Report, Run
from tests.chaos.taps import Taps
from tests.chaos.versions import EARLIER
from tests.chaos.world import ROOT, TOPICS, World

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

EVENTS = 900  # between two changes
# What an earlier version does not note of visits, its snapshots do not have: after them each worker has it from where it began.
LATER = ("visits.user_segments", "visits.user_kinds", "members.of_days")


@pytest.fixture
def earlier(tmp_path):
    """The tree of the earlier version, kept for the next run with its kernels: those that did not change are compiled here."""
    tree = Path.home() / ".cache" / "upwell" / f"earlier-{EARLIER}"
    if not tree.exists():
        done = subprocess.run(["git", "-C", ROOT, "archive", EARLIER, "streams", "state"], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"the history up to {EARLIER} is not here: git fetch --unshallow")
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
            packed.extractall(tmp_path, filter="data")
        for compiled in (ROOT / "streams").rglob("*.nb[ic]"):
            kept = tmp_path / compiled.relative_to(ROOT)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(compiled, kept)
        tree.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path, tree)
    subprocess.run([sys.executable, "-m", "streams.warm"], cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
    return tree


def test_workers_of_two_versions_fold_one_log_through_an_upgrade_and_back(kafka_jars, earlier):
    said: list[str] = []
    with World(kafka_jars, 5, 2, (earlier, ROOT)) as world, Taps(world.kafka.address, TOPICS) as taps:
        settings = Settings(**world.tree)
        run = Run(world, taps, Oracle(settings, settings.partitions), Report(5, 2), said.append)
        begin = world.load.sent
        for number, trees in enumerate([(ROOT, earlier), (earlier, ROOT), (ROOT, ROOT)], 1):
            world.load.allow(EVENTS)
            for worker, tree in zip(world.workers, trees, strict=True):
                begin += EVENTS // 3
                world.load.reaches(begin)
                if worker.number == number % 2:
                    worker.kill()
                else:
                    assert worker.end() == 0
                worker.tree = tree
                worker.launch()
            begin = world.load.sent
            world.load.rest()
            begin = world.load.sent
            proof = run.prove(number, LATER)
            assert proof.wrong == {}
        assert proof.events > 2 * EVENTS
