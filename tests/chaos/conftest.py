"""A shallow clone has no earlier version to run beside this one; where nothing may be skipped it is left out instead."""

from __future__ import annotations

import subprocess

import pytest

from tests.chaos.versions import EARLIER
from tests.chaos.world import ROOT
from tests.outcome import NOTHING_SKIPPED


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs the history, where there is none; what earlier versions wrote is pinned in tests/pinned."""
    of_versions = [item for item in items if "earlier" in getattr(item, "fixturenames", ())]
    if NOTHING_SKIPPED and of_versions and not _has_history():
        items[:] = [item for item in items if item not in of_versions]
        config.hook.pytest_deselected(items=of_versions)


def _has_history() -> bool:
    """Whether the earlier version is in this clone."""
    done = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", f"{EARLIER}^{{commit}}"], capture_output=True, check=False)
    return done.returncode == 0
