"""What `--plot` draws of figures: numbers, and how they are to be seen; `streams/bench/drawing.py` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

POINTS = 400  # of a distribution that are drawn: more are not seen


@dataclass(frozen=True, slots=True)
class Bars:
    """Medians with the range of their runs, the figure first, its peers below; a line where the promise is."""

    title: str
    unit: str
    rows: Mapping[str, float | Sequence[float]]
    promised: float | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """The share of values at or below each value, on a logarithmic scale, beside those of others."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Values over something that goes on: (places, values) by name."""

    title: str
    along: str
    unit: str
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]


Panel = Bars | Distribution | Lines
