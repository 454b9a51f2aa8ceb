"""A figure: what was measured, what is promised, and what others do in the same run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `at_least` and `at_most` are what is promised on two cores shared with the servers."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; none where nothing is promised."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)

    def told(self) -> dict[str, Any]:
        """The figure as `--json` prints it."""
        return asdict(self) | {
            "value": rounded(self.value),
            "peers": {n: rounded(v) for n, v in self.peers.items()},
            "kept": self.kept,
        }


def rounded(value: float) -> float:
    """Four digits that mean something; events per second and bytes whole."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """The percentiles that are told of latencies."""
    if not milliseconds:
        return dict.fromkeys(("p50", "p90", "p99", "max"), float("nan"))
    p50, p90, p99, most = np.percentile(np.array(milliseconds), [50, 90, 99, 100]).tolist()
    return {"p50": p50, "p90": p90, "p99": p99, "max": most}


_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Page:
    """A worker's metrics at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [(name, dict(_LABEL.findall(labels)), float(value)) for name, labels, value in _SAMPLE.findall(text)]

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample, 0 where it is not there."""
        return next((v for n, found, v in self._samples if n == name and found == labels), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """The values of a sample by one of its labels."""
        return {found[label]: value for n, found, value in self._samples if n == name and label in found}

    def percentile(self, name: str, share: float, since: Page) -> float:
        """A percentile of a histogram since an earlier page, straight between the bounds of its bucket."""
        before = since.by(f"{name}_bucket", "le")
        below, reached = 0.0, 0.0
        buckets = {float(le): count - before.get(le, 0.0) for le, count in self.by(f"{name}_bucket", "le").items()}
        total = max(buckets.values(), default=0.0)
        for bound, count in sorted(buckets.items()):
            if total and count >= share * total:
                part = (share * total - reached) / (count - reached) if count > reached else 0.0
                return below if bound == float("inf") else below + part * (bound - below)
            below, reached = bound, count
        return float("nan")
