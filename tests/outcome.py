"""What a test's outcome leads to: in CI a skip is a failure, and fixtures learn whether their test failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

NOTHING_SKIPPED = bool(os.environ.get("UPWELL_TEST_NOTHING_SKIPPED"))

FAILED: pytest.StashKey[bool] = pytest.StashKey()


def _fail_if_skipped(report: pytest.CollectReport | pytest.TestReport) -> None:
    if NOTHING_SKIPPED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped here (UPWELL_TEST_NOTHING_SKIPPED is set), but was: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report
