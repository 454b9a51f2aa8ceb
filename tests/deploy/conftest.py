"""The files of the deployment as the tests read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def scraping() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())


@pytest.fixture(scope="session")
def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def dashboard() -> dict[str, Any]:
    return json.loads((ROOT / "deploy/grafana/dashboards/upwell.json").read_text())


@pytest.fixture(scope="session")
def panels(dashboard) -> list[dict[str, Any]]:
    """Panels that show something: all but the rows' titles."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="session")
def prometheus_tools() -> tuple[str, str]:
    """Paths of prometheus and promtool."""
    found = shutil.which("prometheus"), shutil.which("promtool")
    if None in found:
        pytest.skip("needs Prometheus with promtool on PATH: apt install prometheus")
    return found
