"""`upwell rebuild`."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.options import Json, with_settings
from streams.commands.output import console, figure, say, write_json

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from streams.rebuild import Progress
    from streams.settings import Settings

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@with_settings("brokers", "redis", "group", "prefix")
def rebuild(settings: "Settings", yes: Yes = False, json: Json = False) -> None:
    """Make profiles and models anew from the events that Kafka still holds, where Redis or the learned log was lost.

    It deletes every key of Upwell's in Redis and lets the models start over, then waits until workers have applied all
    events, and tells how long a million took. Stop all workers first, and start them when it says so. What Kafka no longer
    has is lost; the catalogue is read again.

    \b
    upwell rebuild
    upwell rebuild --yes --json
    """
    if not yes:
        typer.echo(f"This deletes every user, item and snapshot below {settings.prefix} in Redis, and the models.", err=True)
        typer.confirm("Are all workers stopped, and is this what you want?", abort=True, err=True)
    deleted, last = asyncio.run(_rebuild(settings, quiet=json))
    if json:
        told = {"deleted": deleted, "events": last.applied, "seconds": round(last.seconds, 3)}
        write_json(told | {"seconds_per_million": round(last.per_million, 1)})
        return
    per = f", {figure(last.per_million)} s a million" if last.applied else ""
    console().print(f"rebuilt from {figure(last.applied)} events in {figure(last.seconds)} s{per}")


async def _rebuild(settings: "Settings", *, quiet: bool) -> "tuple[int, Progress]":
    from streams.rebuild import Progress, begin, follow

    deleted = await begin(settings)
    say(f"{deleted:,} keys are deleted; start the workers now")
    last = Progress(0, 0, 0.0)
    with _bar(quiet=quiet) as bar:
        task = bar.add_task("applied", total=None)
        async with aclosing(follow(settings)) as looks:
            async for last in looks:
                bar.update(task, completed=last.applied, total=last.total)
    return deleted, last


def _bar(*, quiet: bool) -> "Bar":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("events applied", markup=False), TimeRemainingColumn())
    return Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)
