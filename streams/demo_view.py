"""The demo's picture in the terminal, made from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.commands.output import clean, figure

BAR = 24  # letters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"
TALL = 40  # lines of a terminal in which all of it has room
LOW = 32  # with fewer lines, the tables show their best
BEST = 5
SEGMENTS = 10  # rows; the rest is in `upwell segments`
ITEMS = 3  # of a recommendation


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A recommended item and why, both for people."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A recommendation as it is shown."""

    user: str
    items: Sequence[Suggestion]


@dataclass(slots=True)
class Scene:
    """All that is on the screen; rates are in events per second, latencies in milliseconds."""

    status: str = "starting"
    events: int = 0
    of: int | None = None
    rate: float = 0.0
    p50: float | None = None
    p99: float | None = None
    hit_rate: Mapping[str, float] = field(default_factory=dict)
    segments: Sequence[tuple[str, int]] = ()
    newest: Sequence[Shown] = ()
    hints: Sequence[tuple[str, str]] = ()


def render(scene: Scene, height: int = TALL) -> RenderableType:
    """The whole picture, or what of it has room in so many lines."""
    rows = SEGMENTS + BEST if height >= LOW else BEST
    tables = Table.grid(padding=(0, 3))
    # Side by side always, for there is no room for one below the other: long names of segments give way.
    tables.add_column(no_wrap=True)
    tables.add_column()
    tables.add_row(_hits(scene, rows), _segments(scene, min(rows, SEGMENTS)))
    parts = [_head(scene), tables, *map(_shown, scene.newest if height >= TALL else scene.newest[:1])]
    return Panel(Group(*parts, _hints(scene)), title="upwell demo", title_align="left", border_style="cyan")


def line(scene: Scene) -> str:
    """The picture in one line, for what is no terminal."""
    best = sorted(scene.hit_rate.items(), key=lambda pair: (pair[0] != "blend", -pair[1]))[:3]
    hits = ", ".join(f"{name} {rate:.3f}" for name, rate in best)
    parts = [
        scene.status,
        _count(scene),
        f"{figure(round(scene.rate))}/s",
        _latency(scene),
        hits and f"hit rate {hits}",
    ]
    return " · ".join(part for part in parts if part)


def bar(value: float, longest: float, width: int = BAR) -> str:
    """A bar with eighths of letters."""
    eighths = round(8 * width * value / longest) if longest > 0 else 0
    whole, rest = divmod(max(0, min(eighths, 8 * width)), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


def _head(scene: Scene) -> RenderableType:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(clean(scene.status), style="bold green" if scene.events else "bold yellow")
    for part in (_count(scene), f"{figure(round(scene.rate))} events/s", _latency(scene)):
        head.append("   " + part if part else "")
    return head


def _count(scene: Scene) -> str:
    return f"{figure(scene.events)}{f' of {figure(scene.of)}' if scene.of else ''} events"


def _latency(scene: Scene) -> str:
    if scene.p50 is None or scene.p99 is None:
        return ""
    return f"event to recommendation p50 {scene.p50:.0f} ms, p99 {scene.p99:.0f} ms"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False, pad_edge=False)


def _hits(scene: Scene, rows: int) -> RenderableType:
    table = _table("the next purchase was in the list")
    longest = max(scene.hit_rate.values(), default=0.0)
    for name, rate in sorted(scene.hit_rate.items(), key=lambda pair: (pair[0] != "blend", -pair[1], pair[0]))[:rows]:
        style = "bold green" if name == "blend" else ""
        table.add_row(Text(clean(name), style), Text(f"{rate:.1%}", style), Text(bar(rate, longest), style or "blue"))
    if not scene.hit_rate:
        table.add_row(Text("not yet known", "dim"))
    return table


def _segments(scene: Scene, rows: int) -> RenderableType:
    table = _table("segments of households")
    largest = sorted(scene.segments, key=lambda pair: -pair[1])
    for name, size in largest[:rows]:
        table.add_row(Text(clean(name), overflow="ellipsis", no_wrap=True), Text(figure(size), justify="right"))
    if len(largest) > rows:
        table.add_row(Text(f"and {len(largest) - rows} more", "dim"))
    if not largest:
        table.add_row(Text("form when some hundred households are known", "dim"))
    return table


def _shown(shown: Shown) -> RenderableType:
    text = Text("for household ", style="dim", no_wrap=True, overflow="ellipsis")
    text.append(clean(shown.user), style="bold")
    text.append(" the next purchase may be", style="dim")
    for item in shown.items[:ITEMS]:
        text.append(f"\n  {clean(item.name)}", style="bold cyan")
        text.append(f"  {clean(item.why)}", style="dim")
    return Group(text, Text())


def _hints(scene: Scene) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for name, command in scene.hints:
        table.add_row(Text(clean(name), style="dim"), Text(clean(command), overflow="fold"))
    return table
