"""The picture of the segments: a map on which like ones lie near each other, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from state.segments import Segment
from streams.layout import apart, flat

__all__ = ["draw"]

# In points, of which an inch has 72; the map is drawn in them, so that letters and bubbles share one measure.
WIDTH, HEIGHT, MARGIN = 520.0, 460.0, 30.0
POINTS = 72.0
EDGE, LABELS, BARS, LEGEND, ROW = 28.0, 270.0, 250.0, 40.0, 17.0
LONGEST = 46  # letters of a name beside its bar
COVERED = 0.16  # of the map, by all bubbles
LEAST_RADIUS = 8.0
GAP = 6.0
DPI = 150
STEPS = (4.0, 16.0, 32.0, 56.0)  # from a bubble to its name, the nearest first
SIDES = 24
CLEAR = 7.0  # from a name to another's bubble, lest it look like that one's
NAMED = 24  # segments whose names have room on the map; the bars name them all
HALF = 0.5  # of the light: where white letters become black ones
LEAST_GROWTH = 0.1  # at the end of the scale of colors, lest a quiet week look like a storm
MOST_GROWTH = 1.0


def draw(segments: Sequence[Segment], out: Path, grid: NDArray[np.float64] | None = None) -> None:
    """Write the picture as PNG or SVG; the same segments give the same picture.

    ``grid`` float64[ids, 2] are the places of a self-organizing map, by id; without it segments are put where their centers are.
    """
    wide, tall = EDGE + WIDTH + LABELS + BARS + EDGE, max(HEIGHT, ROW * len(segments)) + 2 * EDGE + LEGEND
    figure = Figure(figsize=(wide / POINTS, tall / POINTS), dpi=DPI)

    def axes(left: float, top: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))

    scale = _scale(segments)
    _map(axes(EDGE, EDGE, WIDTH, HEIGHT), segments, scale, grid)
    legend = axes(EDGE + WIDTH / 4, EDGE + HEIGHT + 10, WIDTH / 2, 8)
    figure.colorbar(scale, cax=legend, orientation="horizontal", format=_written(segments))
    legend.tick_params(labelsize=8)
    legend.set_title(_meaning(segments), size=9, y=-4.2)
    _bars(axes(EDGE + WIDTH + LABELS, EDGE, BARS, tall - 2 * EDGE - LEGEND), segments, scale)
    with rc_context({"svg.hashsalt": "upwell"}):
        figure.savefig(out, metadata={"Date": None} if out.suffix.lower() == ".svg" else None)


def _growing(segments: Sequence[Segment]) -> bool:
    return any(segment.growth is not None for segment in segments)


def _meaning(segments: Sequence[Segment]) -> str:
    return "growth over 7 days" if _growing(segments) else "drift since the centers were solved"


def _written(segments: Sequence[Segment]) -> str:
    return "{x:+.0%}" if _growing(segments) else "{x:.2f}"


def _scale(segments: Sequence[Segment]) -> ScalarMappable:
    """Colors by growth where any is known, from brown for fewer to green for more; else by drift."""
    if _growing(segments):
        most = max(abs(segment.growth or 0.0) for segment in segments)
        end = min(max(most, LEAST_GROWTH), MOST_GROWTH)
        return ScalarMappable(Normalize(-end, end, clip=True), colormaps["BrBG"])
    most = max(segment.drift for segment in segments)
    return ScalarMappable(Normalize(0.0, max(most, 0.1)), colormaps["YlGnBu"])


def _color(segment: Segment, scale: ScalarMappable, *, growing: bool) -> tuple[float, ...] | str:
    """Give a segment's color; gray where its growth is not known."""
    told = segment.growth if growing else segment.drift
    return "0.8" if told is None else tuple(scale.to_rgba(told))  # type: ignore[arg-type]


def _laid_out(segments: Sequence[Segment], grid: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], str]:
    """Give each segment its place, and say what nearness means."""
    if grid is not None:
        return grid[[segment.id for segment in segments]], f"self-organizing map of {len(segments)} segments: neighbors are alike"
    places, kept = flat(np.array([segment.centroid for segment in segments]))
    shown = f"({kept:.0%} of their differences shown)"
    return places, f"map of {len(segments)} segments: the nearer, the more alike {shown}"


def _map(axes: Axes, segments: Sequence[Segment], scale: ScalarMappable, grid: NDArray[np.float64] | None) -> None:
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), xticks=[], yticks=[])
    shares = np.array([segment.share for segment in segments])
    radii = np.maximum(np.sqrt(shares * COVERED * WIDTH * HEIGHT / np.pi), LEAST_RADIUS)
    places, title = _laid_out(segments, grid)
    axes.set_title(title, size=10)
    places = apart(places, radii, (WIDTH, HEIGHT), MARGIN, GAP)
    growing = _growing(segments)
    for segment, place, radius in zip(segments, places, radii, strict=True):
        face = _color(segment, scale, growing=growing)
        axes.add_patch(Circle((place[0], place[1]), radius, facecolor=face, edgecolor="0.25", linewidth=0.8))
        axes.text(place[0], place[1], str(segment.id), ha="center", va="center", size=8, weight="bold", color=_ink(face))
    if len(segments) <= NAMED:
        _names(axes, segments, places, radii)


def _ink(face: tuple[float, ...] | str) -> str:
    """Black or white, whichever is read on this color."""
    if isinstance(face, str):
        return "black"
    red, green, blue = face[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > HALF else "white"


def _names(axes: Axes, segments: Sequence[Segment], places: NDArray[np.float64], radii: NDArray[np.float64]) -> None:
    """Write each name beside its bubble where nothing else is; the largest segments choose first."""
    renderer = FigureCanvasAgg(cast("Figure", axes.figure)).get_renderer()  # type: ignore[no-untyped-call] # matplotlib has not typed it
    taken: list[Bbox] = []
    for one in np.argsort([-segment.size for segment in segments], kind="stable").tolist():
        words = segments[one].name.replace(" · ", "\n")
        text = axes.text(0, 0, words, ha="center", va="center", size=8.5, linespacing=1.1, parse_math=False)
        clear = np.where(np.arange(len(radii)) == one, 0.0, CLEAR)
        box = _free(places[one], float(radii[one]), _size(renderer, text), _Taken(taken, places, radii + clear))
        if box is None:
            text.remove()
            continue
        taken.append(box)
        middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        text.set_position(middle)
        _lead(axes, places[one], float(radii[one]), box)


def _size(renderer: RendererAgg, text: Text) -> tuple[float, float]:
    extent = text.get_window_extent(renderer)
    pixels = DPI / POINTS
    return float(extent.width / pixels) + 2, float(extent.height / pixels) + 2


def _box(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


class _Taken(NamedTuple):
    """Where no name may stand: on other names, and on bubbles of these radii."""

    boxes: Sequence[Bbox]
    places: NDArray[np.float64]
    radii: NDArray[np.float64]

    def holds(self, box: Bbox) -> bool:
        """Tell whether a box is on any of them."""
        away = np.clip(self.places, box.min, box.max) - self.places
        on_bubble = bool(((away * away).sum(axis=1) < self.radii**2).any())
        return on_bubble or any(box.overlaps(other) for other in self.boxes)


def _free(place: NDArray[np.float64], radius: float, size: tuple[float, float], taken: _Taken) -> Bbox | None:
    """Find room for a name around its bubble, first on the side away from the others; None where there is none."""
    width, height = size
    across, up = place - taken.places.mean(axis=0)
    outward = np.arctan2(up, across) if abs(across) + abs(up) > 1 else -np.pi / 2
    inside = Bbox.from_extents(2, 2, WIDTH - 2, HEIGHT - 2)
    for step in STEPS:
        for side in range(SIDES):
            angle = outward + (side + 1) // 2 * (-1) ** side * 2 * np.pi / SIDES
            across, up = np.cos(angle), np.sin(angle)
            reach = radius + step
            box = _box(place[0] + across * (reach + width / 2), place[1] + up * (reach + height / 2), width, height)
            if inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1) and not taken.holds(box):
                return box
    return None


def _lead(axes: Axes, place: NDArray[np.float64], radius: float, box: Bbox) -> None:
    """Draw a line from a bubble to a name that is not right beside it."""
    near = np.clip(place, [box.x0, box.y0], [box.x1, box.y1])
    away = near - place
    distance = float(np.sqrt((away * away).sum()))
    if distance > radius + 2 * STEPS[0]:
        edge = place + away * (radius / distance)
        axes.plot([edge[0], near[0]], [edge[1], near[1]], color="0.5", linewidth=0.7)


def _bars(axes: Axes, segments: Sequence[Segment], scale: ScalarMappable) -> None:
    order = sorted(segments, key=lambda segment: (-segment.size, segment.id))
    growing = _growing(segments)
    colors = [_color(segment, scale, growing=growing) for segment in order]
    bars = axes.barh(range(len(order)), [segment.size for segment in order], color=colors, edgecolor="0.25", linewidth=0.8)
    axes.bar_label(bars, [_figures(segment) for segment in order], padding=4, size=8.5)
    axes.set_yticks(range(len(order)), [f"{_short(one.name)}   {one.id}" for one in order], size=8.5, parse_math=False)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.38, y=0.02)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("users", size=9)
    axes.set_title("sizes", size=10)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _figures(segment: Segment) -> str:
    grown = "" if segment.growth is None else f"   {segment.growth:+.0%}"
    return f"{segment.size:,}   {segment.share:.0%}{grown}"
