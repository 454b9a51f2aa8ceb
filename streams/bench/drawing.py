"""The picture of `--plot`: one panel for each figure that has something beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streams.bench.figures import least, middle, most, rounded
from streams.bench.panels import POINTS, Bars, Distribution, Lines, Panel
from streams.commands.output import figure
from streams.evaluation.plot import COLORS, dress, image

FORMATS = (".png", ".svg")
COLUMNS = 2
WIDTH, HEIGHT = 7.0, 3.4  # inches of a panel
OWN = "#000000"  # the figure; its peers have colors
RANGE, PROMISE = "#666666", "#D55E00"


def draw(panels: Sequence[Panel], file: str, title: str) -> None:
    """Draw all panels into a file; its ending chooses the format."""
    kind = Path(file).suffix.lower()
    Path(file).write_bytes(image(lambda: _figure(panels, title), kind))


def _figure(panels: Sequence[Panel], title: str) -> Any:  # noqa: ANN401 - matplotlib is only there with the extra
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    picture = Figure(figsize=(WIDTH * columns, HEIGHT * rows + 0.4), layout="constrained")
    places = picture.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _DRAWN[type(panel)](axes, panel)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    picture.suptitle(title, fontsize=13, fontweight="bold")
    return picture


def _bars(axes: Any, panel: Bars) -> None:  # noqa: ANN401 - as in _figure
    from matplotlib.ticker import MaxNLocator

    names = list(panel.rows)[::-1]  # the first is on top
    for place, name in enumerate(names):
        runs = panel.rows[name]
        value = middle(runs)
        color = OWN if place == len(names) - 1 else COLORS[(len(names) - 2 - place) % len(COLORS)]
        axes.barh(place, value, 0.62, color=color)
        axes.plot([least(runs), most(runs)], [place, place], color=RANGE, linewidth=2.0, marker="|", markersize=9)
        end = max(value, most(runs)), place
        axes.annotate(figure(rounded(value)), end, (5, 0), textcoords="offset points", va="center", fontsize=9)
    below = panel.unit
    if panel.promised is not None:
        axes.axvline(panel.promised, color=PROMISE, linewidth=1.2, linestyle="--")
        below = f"{below} (dashed: promised {figure(rounded(panel.promised))})".strip()
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.16)
    dress(axes, panel.title, below, along="x")
    if not any(map(most, panel.rows.values())):
        axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: figure(rounded(value)))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylim(-0.6, len(names) - 0.4)


def _distribution(axes: Any, panel: Distribution) -> None:  # noqa: ANN401 - as in _figure
    shares = np.linspace(0, 100, POINTS)
    for place, (name, values) in enumerate(panel.values.items()):
        color = OWN if place == 0 else COLORS[(place - 1) % len(COLORS)]
        if len(values):
            axes.plot(np.percentile(np.asarray(values), shares), shares, color=color, label=name, linewidth=1.8 if place else 2.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: figure(rounded(value)))
    for share in (50, 99):
        axes.axhline(share, color="#DDDDDD", linewidth=0.8, zorder=0)
    dress(axes, panel.title, panel.unit)
    axes.set_ylabel("% of all at or below", fontsize=9)
    axes.set_ylim(0, 101)
    axes.legend(loc="lower right", frameon=False, fontsize=8)


def _lines(axes: Any, panel: Lines) -> None:  # noqa: ANN401 - as in _figure
    for place, (name, (along, values)) in enumerate(panel.series.items()):
        color = OWN if place == 0 else COLORS[(place - 1) % len(COLORS)]
        axes.plot(along, values, color=color, label=name, linewidth=1.6)
    dress(axes, panel.title, panel.along)
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.xaxis.set_major_formatter(lambda value, _: figure(rounded(value)))
    axes.legend(loc="best", frameon=False, fontsize=8)


_DRAWN: dict[type, Callable[[Any, Any], None]] = {Bars: _bars, Distribution: _distribution, Lines: _lines}
