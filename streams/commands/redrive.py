"""`upwell dead redrive`."""

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.dead import Reasons, Since, Until, choice_of
from streams.commands.options import Json, with_settings
from streams.commands.output import console, figure, say, table, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from streams.dead_letters import Choice
    from streams.redrive import Redrive
    from streams.settings import Settings

FEW = 5  # places that are named in one line

Places = Annotated[
    list[str] | None,
    typer.Option(
        "--place", metavar="PLACE", help="Only this letter, as `upwell dead list` names it; may be given several times."
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Send what --place names even if it was sent before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count and show; send nothing.")]


@with_settings("brokers", "group")
def redrive(
    settings: "Settings",
    error: Reasons = None,
    since: Since = None,
    until: Until = None,
    place: Places = None,
    again: Again = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Send dead letters to the topic they came from, bytes and key untouched; each once, however often it is run or killed.

    What is still no event comes back as a new dead letter. A receipt of each stays in the topic events.dead.redriven. On a
    broker without transactions, as the demo's, letters that a kill cut off are not sent again, but told.

    \b
    upwell dead redrive --dry-run
    upwell dead redrive --error bad_timestamp --since 2h      # after the fix of that alone
    upwell dead redrive --place 0:17 --place events-3-1024
    upwell dead redrive --json
    """
    if again and not place:
        raise typer.BadParameter("needs --place: what was sent before is sent again by name only", param_hint="--again")
    choice = choice_of(error, since, until, place)
    counts, run = asyncio.run(_redrive(settings, choice, again=again, dry_run=dry_run, quiet=json))
    total = counts.total()
    if run.foreign:
        say(f"{run.foreign} of them name a topic that is no input of Upwell and stay where they are")
    if run.too_large:
        say(f"{run.too_large} are larger than their topic takes (max.message.bytes) and stay where they are")
    if run.doubtful and not again:
        some = " ".join(f"--place {one}" for one in sorted(run.doubtful)[:FEW])
        say(f"{len(run.doubtful)} were in hand when a run was cut off, and may have been sent; to send them: {some} --again")
    if json:
        sent = {"redriven": 0 if dry_run else total, "waiting": total if dry_run else 0}
        write_json(sent | {"doubtful": sorted(run.doubtful), "counts": dict(counts)})
        return
    screen = console()
    if counts:
        screen.print(table(("error", "dead letters"), counts.most_common()))
    screen.print(f"{'would send' if dry_run else 'sent'} {figure(total)} again")


async def _redrive(
    settings: "Settings", choice: "Choice", *, again: bool, dry_run: bool, quiet: bool
) -> "tuple[Counter[str], Redrive]":
    from streams.dead_letters import LARGEST
    from streams.redrive import Redrive
    from streams.servers import consuming

    counts: Counter[str] = Counter()
    committed = {"max_partition_fetch_bytes": LARGEST, "isolation_level": "read_committed"}
    async with consuming(settings, **committed) as reader:
        run = Redrive(settings, reader, choice, again=again)
        with _progress(quiet=quiet) as progress:
            task = progress.add_task("redriven", total=None)
            async with aclosing(run.waiting() if dry_run else run.run()) as letters:
                async for one in letters:
                    counts[one.error] += 1
                    progress.advance(task)
    return counts, run


def _progress(*, quiet: bool) -> "Progress":
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    screen = console(stderr=True)
    columns = (SpinnerColumn(), MofNCompleteColumn(), TextColumn("redriven", markup=False))
    return Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)
