from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

SKIPS = """
import pytest
def test_skips(): pytest.skip("no java")
@pytest.mark.xfail(strict=True)
def test_fails_as_expected(): assert 0
"""
SKIPS_WHOLE = "import pytest; pytest.skip('no numbers', allow_module_level=True)"


def run(source: str, folder: Path, *, nothing_skipped: bool) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    environment = {name: value for name, value in os.environ.items() if name != "UPWELL_TEST_NOTHING_SKIPPED"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | (
        {"UPWELL_TEST_NOTHING_SKIPPED": "1"} if nothing_skipped else {}
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.outcome",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        str(folder),
    ]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_a_skip_is_no_failure_on_a_bare_machine(tmp_path: Path) -> None:
    assert run(SKIPS, tmp_path, nothing_skipped=False).returncode == 0


def test_where_nothing_may_be_skipped_a_skip_fails_with_its_reason(tmp_path: Path) -> None:
    done = run(SKIPS, tmp_path, nothing_skipped=True)
    assert done.returncode == 1
    assert "1 failed, 1 xfailed" in done.stdout
    assert "no java" in done.stdout


def test_where_nothing_may_be_skipped_a_skipped_module_fails(tmp_path: Path) -> None:
    done = run(SKIPS_WHOLE, tmp_path, nothing_skipped=True)
    assert done.returncode != 0
    assert "no numbers" in done.stdout
