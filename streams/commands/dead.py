"""`upwell dead list` and `upwell dead redrive`."""

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.options import Json, with_settings
from streams.commands.output import console, figure, glance, moment, say, table, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from streams.dead_letters import Letter
    from streams.settings import Settings

dead = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at messages that were no events, and send them again.")

Reason = Annotated[str | None, typer.Option("--error", metavar="REASON", help="Only those, e.g. not_json.")]
Newest = Annotated[int, typer.Option("-n", "--top", metavar="N", min=0, help="How many of the newest to show.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count and show; send nothing.")]


@dead.command("list")
@with_settings("brokers")
def list_(settings: "Settings", error: Reason = None, top: Newest = 20, json: Json = False) -> None:
    """Show what could not be read as an event or item: where it was, why, and how it begins; with counts per reason.

    \b
    upwell dead list
    upwell dead list --error not_json -n 100
    upwell dead list --json | jq .counts
    """
    counts, newest = asyncio.run(_read(settings, error, top))
    if json:
        write_json({"total": counts.total(), "counts": dict(counts), "dead": [_told(one) for one in newest]})
        return
    screen = console()
    if not counts:
        screen.print("no dead letters")
        return
    screen.print(table(("when (UTC)", "from", "stage", "error", "message", "begins"), map(_row, newest)))
    screen.print(table(("error", "dead letters"), counts.most_common()))


async def _read(settings: "Settings", error: str | None, top: int) -> "tuple[Counter[str], list[Letter]]":
    from streams.dead_letters import LARGEST, letters
    from streams.servers import consuming

    counts: Counter[str] = Counter()
    newest: deque[Letter] = deque(maxlen=top)
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as consumer:
        async for one in letters(consumer, settings.topics.dead):
            if error in (None, one.error):
                counts[one.error] += 1
                newest.append(one)
    return counts, sorted(newest, key=lambda one: one.at)


def _row(one: "Letter") -> tuple[str, ...]:
    return moment(one.at), one.origin, one.stage, one.error, one.message, glance(one.value or b"")


def _told(one: "Letter") -> dict[str, Any]:
    value = one.value or b""
    key = None if one.key is None else one.key.decode(errors="backslashreplace")
    fields = {name: getattr(one, name) for name in ("at", "partition", "offset", "topic", "origin", "stage", "error", "message")}
    return fields | {"key": key, "bytes": len(value), "begins": glance(value)}


@dead.command()
@with_settings("brokers", "group")
def redrive(settings: "Settings", error: Reason = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Send dead letters to their first topic again, bytes and key untouched; each once, however often you run it.

    What is still no event comes back as a new dead letter. How far it got is kept as offsets of the consumer group
    GROUP-redrive (and GROUP-redrive.REASON), which Kafka keeps for a week after the last run unless
    offsets.retention.minutes says otherwise.

    \b
    upwell dead redrive --dry-run
    upwell dead redrive --error bad_timestamp      # after the fix of that alone
    upwell dead redrive --json
    """
    counts, foreign = asyncio.run(_redrive(settings, error, dry_run=dry_run, quiet=json))
    total = counts.total()
    if foreign:
        say(f"{foreign} of them name a topic that is no input of Upwell and stay where they are")
    if json:
        write_json({"redriven": 0 if dry_run else total, "waiting": total if dry_run else 0, "counts": dict(counts)})
        return
    screen = console()
    if counts:
        screen.print(table(("error", "dead letters"), counts.most_common()))
    screen.print(f"{'would send' if dry_run else 'sent'} {figure(total)} again")


async def _redrive(settings: "Settings", error: str | None, *, dry_run: bool, quiet: bool) -> tuple[Counter[str], int]:
    from streams.dead_letters import LARGEST, Redrive
    from streams.servers import consuming, producing

    counts: Counter[str] = Counter()
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as reader:
        run = Redrive(settings, reader, error)
        if dry_run:
            async for one in run.waiting():
                counts[one.error] += 1
            return counts, run.foreign
        async with producing(settings, max_request_size=LARGEST) as producer:
            with _progress(quiet=quiet) as progress:
                task = progress.add_task("redriven", total=None)
                async for one in run.run(producer):
                    counts[one.error] += 1
                    progress.advance(task)
    return counts, run.foreign


def _progress(*, quiet: bool) -> "Progress":
    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    screen = console(stderr=True)
    columns = (SpinnerColumn(), MofNCompleteColumn(), TextColumn("redriven", markup=False))
    return Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)
