"""`upwell segments`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, moment, say, table, write_json
from streams.commands.reading import names, reader

if TYPE_CHECKING:
    from state.reader import Reader
    from state.segments import Segment
    from streams.settings import Settings

PICTURES = (".png", ".svg")
LIKED = 3  # items that tell what a segment is about

Plot = Annotated[Path | None, typer.Option(metavar="OUT.png|svg", help="Draw the map of the segments and their sizes.")]


@with_settings("redis", "prefix")
def segments(settings: "Settings", plot: Plot = None, json: Json = False) -> None:
    """Show the segments of users: their names, how many users, how they grow and move, what they like more than others.

    \b
    upwell segments
    upwell segments --plot segments.png
    upwell segments --json | jq '.segments[] | {id, name, size, growth}'

    growth is over 7 days; drift is how far a segment moved since its center was solved, where 2 is from one end to the
    other. --plot needs pip install 'upwell[plot]'; with segments.method "som" it draws that map, from the same settings as
    the worker's.
    """
    if plot and plot.suffix.lower() not in PICTURES:
        raise typer.BadParameter(f"{plot} is neither .png nor .svg", param_hint="--plot")
    with reader(settings) as state:
        found = state.segments()
        if not json and found:
            _show(found, state)
    if json:
        import msgspec

        write_json({"segments": msgspec.to_builtins(found)})
    elif not found:
        raise Failed("no segments yet: they form when some hundred users have a history")
    if plot:
        _draw(found, plot, settings)


def _show(found: "Sequence[Segment]", state: "Reader") -> None:
    known = names(state, [one.item_id for segment in found for one in segment.top[:LIKED]])
    rows = [
        (
            one.id,
            one.name,
            one.size,
            f"{one.share:.0%}",
            "" if one.growth is None else f"{one.growth:+.0%}",
            one.drift,
            moment(one.since),
            ", ".join(f"{known[item.item_id]} {item.lift:.1f}x" for item in one.top[:LIKED]),
        )
        for one in found
    ]
    columns = ("id", "name", "users", "share", "growth 7 d", "drift", "since (UTC)", "likes more than others")
    console().print(table(columns, rows))


def _draw(found: "Sequence[Segment]", out: Path, settings: "Settings") -> None:
    if not found:
        raise Failed("no segments yet, so there is nothing to draw")
    try:
        from streams.segment_map import draw
    except ModuleNotFoundError as error:
        raise Failed(f"--plot needs {error.name}: pip install 'upwell[plot]'") from None
    from streams.models.som import positions

    chosen = settings.segments
    # Another number than the worker has would put the segments on another grid: then they go where their centers are.
    fits = chosen.method == "som" and isinstance(chosen.k, int) and all(one.id < chosen.k for one in found)
    try:
        draw(found, out, positions(int(chosen.k)) if fits else None)
    except OSError as error:
        raise Failed(f"{out} cannot be written: {error.strerror}") from None
    say(f"drawn to {out}")
