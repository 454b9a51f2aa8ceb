"""The fixtures by file: names, servers, workers, stored (what is in Redis); outcome holds two more hooks."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# As in the commands: hundreds of thousands of objects stay, and looking through them takes its time.
gc.set_threshold(50_000)

pytest_plugins = [
    "tests.outcome",
    "tests.fixtures.names",
    "tests.fixtures.servers",
    "tests.fixtures.secured",
    "tests.fixtures.stored",
    "tests.fixtures.workers",
]


class _LiveBeside(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Runs the tests of a folder on Apache Kafka one after another, beside all others: more at once would be slower than that.

    Those of a file on the embedded broker share a worker, so they stay together. pytest-xdist's own groups are lost with this
    version of pytest.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        if folder in {"tests/live", "tests/chaos", "tests/deploy"}:
            return folder
        return file if folder == "tests/e2e" else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return _LiveBeside(config, log)
