"""The plots, as PNG, as SVG, or as a page that needs nothing else."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.evaluation.outcome import MEASURES, Figures
from streams.evaluation.report import HISTORIES
from streams.models.sources import SOURCES

if TYPE_CHECKING:
    from streams.evaluation.series import Series

__all__ = ["COLORS", "FORMATS", "PlotError", "dress", "image", "needed", "plot"]

FORMATS = (".png", ".svg", ".html")

# Okabe and Ito's colors, told apart by all eyes; the blend is black. The ninth and tenth are a gray and a brown.
COLORS = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#B8A800", "#999999", "#8B5A2B", "#6A3D9A")
_INCHES, _DPI = (12.0, 8.0), 130
# The same picture gives the same bytes.
_STYLED: Any = {"svg.hashsalt": "upwell", "svg.fonttype": "none", "font.family": "DejaVu Sans"}


class PlotError(Exception):
    """A plot cannot be drawn: one sentence with the fix."""


def needed(file: str, formats: Sequence[str] = FORMATS) -> None:
    """Refuse, before the long work, a file of an unknown format, or to draw without matplotlib."""
    if Path(file).suffix.lower() not in formats:
        raise PlotError(f"--plot {file}: the name must end in {', '.join(formats[:-1])} or {formats[-1]}")
    try:
        import matplotlib  # noqa: F401, ICN001, PLC0415 - asked for whether it is there, and slow to import
    except ImportError:
        raise PlotError("--plot needs matplotlib: pip install 'upwell[plot]'") from None


def plot(shown: Series, result: Figures, file: str, title: str) -> None:
    """Draw the plots of a run into a file; its ending chooses the format."""
    kind = Path(file).suffix.lower()
    content = image(lambda: _figure(shown, title if kind != ".html" else ""), kind)
    Path(file).write_bytes(_page(content.decode(), result, title).encode() if kind == ".html" else content)


def image(figure: Callable[[], Any], kind: str) -> bytes:
    """Draw a figure of matplotlib as PNG or SVG, by the common style."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only installed with the extra

    with mpl.rc_context(_STYLED):
        target = io.BytesIO()
        bare = {"metadata": {"Date": None, "Creator": None}} if kind != ".png" else {"metadata": {"Software": None}}
        figure().savefig(target, format="png" if kind == ".png" else "svg", dpi=_DPI, **bare)
    return target.getvalue()


def _figure(shown: Series, title: str) -> Any:  # noqa: ANN401 - matplotlib is only there with the extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - as in plot

    figure = Figure(figsize=_INCHES, layout="constrained")
    (over_time, by_history), (weights, coverage) = figure.subplots(2, 2)
    # By the source, not by its place here: two pictures of different runs are read side by side.
    colors = {"blend": "#000000"} | dict(zip(SOURCES, COLORS * len(SOURCES), strict=False))
    for name, row in zip(shown.names, shown.hits, strict=True):
        over_time.plot(shown.at, row, label=name, color=colors[name], linewidth=2.4 if name == "blend" else 1.2)
    _bars(by_history, shown, colors)
    for name, row in zip(shown.names[1:], shown.weights, strict=True):
        weights.plot(shown.weighed_at, row, color=colors[name], linewidth=1.2)
    coverage.plot(shown.at, shown.covered, color="#000000", linewidth=2.0)
    coverage.fill_between(shown.at, shown.covered, color="#000000", alpha=0.08)
    dress(over_time, "HR@10 over time", "events")
    dress(by_history, "HR@10 by length of the user's history", "events before, and how many were counted")
    dress(weights, "Weights of the blend, shares of all", "events")
    dress(coverage, "Catalogue coverage of the first ten so far", "events")
    coverage.set_ylim(0, max(1.0, float(shown.covered.max(initial=0))))
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside right center", frameon=False)
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def _bars(axes: Any, shown: Series, colors: dict[str, str]) -> None:  # noqa: ANN401 - as in _figure
    width = 0.84 / len(shown.names)
    for place, (name, row) in enumerate(zip(shown.names, shown.by_history, strict=True)):
        axes.bar([group - 0.42 + width * (place + 0.5) for group in range(len(row))], row, width, color=colors[name])
    labels = [f"{name.replace('-', '–')}\n{count:,}" for name, count in zip(HISTORIES, shown.scored.tolist(), strict=True)]  # noqa: RUF001 - a dash between numbers
    axes.set_xticks(range(len(labels)), labels)


def dress(axes: Any, title: str, below: str, along: str = "y") -> None:  # noqa: ANN401 - as in _figure
    """Title, words below, and lines across from the values of one axis."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(below, fontsize=9)
    (axes.set_ylim if along == "y" else axes.set_xlim)(0)
    axes.grid(visible=True, axis=along, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    if below == "events":
        axes.xaxis.set_major_formatter("{x:,.0f}")


def _page(svg: str, result: Figures, title: str) -> str:
    """Put the picture and the figures into one page: no script, nothing from outside."""
    best = sorted(result["sources"].items(), key=lambda one: -one[1]["hr@10"])
    rows = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{found[measure]:.4f}</td>' for measure in MEASURES)}</tr>"
        for name, found in [("blend", result["blend"]), *best]
    )
    heads = "".join(f"<th>{measure.upper()}</th>" for measure in MEASURES)
    said = f"{result['scored']:,} of {result['events']:,} events counted"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{html.escape(title)}</h1><p>{said}.</p>{svg[svg.index('<svg') :]}"
        f"<table><tr><th></th>{heads}</tr>{rows}</table></html>\n"
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.4rem}svg{width:100%;height:auto}table{border-collapse:collapse;margin:1rem 0}"
    "th,td{padding:.2rem .9rem;text-align:right;border-bottom:1px solid #ddd}th:first-child{text-align:left}"
)
