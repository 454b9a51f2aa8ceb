"""A figure: what was measured, how often, what is promised, and what others do in the same run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from streams.bench.known import EVENTS, RATE, RUNS, SECONDS
from streams.bench.panels import Bars, Panel

Runs = float | Sequence[float]
"""What was measured once, or in each of some runs."""


def middle(runs: Runs) -> float:
    """The median of the runs."""
    return float(median(runs)) if isinstance(runs, Sequence) else float(runs)


def least(runs: Runs) -> float:
    """The smallest of the runs."""
    return float(min(runs)) if isinstance(runs, Sequence) else float(runs)


def most(runs: Runs) -> float:
    """The largest of the runs."""
    return float(max(runs)) if isinstance(runs, Sequence) else float(runs)


def spread(runs: Runs) -> dict[str, float]:
    """Median, least and most, as `--json` prints them."""
    return {"value": rounded(middle(runs)), "min": rounded(least(runs)), "max": rounded(most(runs))}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `at_least` and `at_most` are what is promised on two cores shared with the servers.

    `invalid` says why what was measured is no measure of Upwell, where it is none.
    """

    name: str
    runs: Runs
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    peers: Mapping[str, Runs] = field(default_factory=dict)
    invalid: str = ""

    @property
    def value(self) -> float:
        """The median of the runs, which is what a promise is held against."""
        return middle(self.runs)

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; none where nothing is promised or nothing was validly measured."""
        if (self.at_least is None and self.at_most is None) or self.invalid:
            return None
        return (self.at_least is None or self.value >= self.at_least) and (self.at_most is None or self.value <= self.at_most)

    def told(self) -> dict[str, Any]:
        """The figure as `--json` prints it."""
        return {
            "name": self.name,
            **spread(self.runs),
            "runs": len(self.runs) if isinstance(self.runs, Sequence) else 1,
            "unit": self.unit,
            "at_least": self.at_least,
            "at_most": self.at_most,
            "peers": {name: spread(runs) for name, runs in self.peers.items()},
            "kept": self.kept,
            "invalid": self.invalid,
        }


@dataclass(frozen=True, slots=True)
class Told:
    """What a measurement found: its figures, more for `--json`, and what `--plot` draws of it."""

    figures: Sequence[Figure]
    more: Mapping[str, Any] = field(default_factory=dict)
    panels: Sequence[Panel] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is to be measured: events (of the drain, then of a figure), runs, files for the quality, the soak's load."""

    count: int = EVENTS
    runs: int = RUNS
    seconds: float = SECONDS
    rate: float = RATE
    files: Sequence[str] = ()
    whole: bool = True  # files are read whole, for nobody said how many events


def bars(figure: Figure, own: str = "Upwell") -> Bars:
    """A figure and its peers as bars."""
    promised = figure.at_least if figure.at_least is not None else figure.at_most
    title = f"{figure.name}, INVALID" if figure.invalid else figure.name
    return Bars(title, figure.unit, {own: figure.runs, **figure.peers}, promised)


def rounded(value: float) -> float:
    """Four digits that mean something; events per second and bytes whole."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.4g}")


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """The percentiles that are told of latencies."""
    if not len(milliseconds):
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
