"""`upwell dead list` and `upwell dead inspect`; `redrive` is beside."""

import asyncio
import sys
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import clean, console, glance, moment, table, write_json

if TYPE_CHECKING:
    from streams.dead_letters import Choice, Letter
    from streams.settings import Settings

dead = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at messages that were no events or items, and send them again."
)

Reasons = Annotated[
    list[str] | None, typer.Option("--error", metavar="REASON", help="Only those, e.g. not_json; may be given several times.")
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Only those buried since: 2h, 30m, 7d ago, or ISO 8601 (UTC).")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only those buried before that.")]
Newest = Annotated[int, typer.Option("-n", "--top", metavar="N", min=0, help="How many of the newest to show.")]
Place = Annotated[str, typer.Argument(metavar="PLACE", help="PARTITION:OFFSET, or TOPIC-PARTITION-OFFSET where it came from.")]
Raw = Annotated[bool, typer.Option("--raw", help="Write the bytes to standard output and nothing else.")]


def choice_of(
    reasons: list[str] | None, since: str | None = None, until: str | None = None, places: list[str] | None = None
) -> "Choice":
    """Which letters the options mean; a time or place that is none is a wrong option."""
    from streams.dead_letters import Choice, moment_of, place_of

    now = time.time()
    begin, end = (_checked("--since", moment_of, since, now), _checked("--until", moment_of, until, now))
    own = frozenset(_checked("--place", place_of, place) for place in places or ())
    return Choice(frozenset(reasons or ()), begin, end, own)


def _checked(option: str, read: Any, said: str | None, *more: float) -> Any:  # noqa: ANN401 - a time or a place
    try:
        return None if said is None else read(said, *more)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


@dead.command("list")
@with_settings("brokers")
def list_(
    settings: "Settings",
    error: Reasons = None,
    since: Since = None,
    until: Until = None,
    top: Newest = 20,
    json: Json = False,
) -> None:
    """Show what could not be read as an event or item: when, where, why, and how it begins; with counts per reason.

    \b
    upwell dead list
    upwell dead list --error not_json -n 100
    upwell dead list --since 2h                    # or --since 2026-01-31T12:00 --until 2026-01-31T13:00
    upwell dead list --json | jq .counts
    """
    counts, newest = asyncio.run(_read(settings, choice_of(error, since, until), top))
    if json:
        write_json({"total": counts.total(), "counts": dict(counts), "dead": [told(one) for one in newest]})
        return
    screen = console()
    if not counts:
        screen.print("no dead letters")
        return
    screen.print(table(("letter", "when (UTC)", "from", "stage", "error", "message", "begins"), map(_row, newest)))
    screen.print(table(("error", "dead letters"), counts.most_common()))


async def _read(settings: "Settings", choice: "Choice", top: int) -> "tuple[Counter[str], list[Letter]]":
    from streams.dead_letters import LARGEST, chosen
    from streams.servers import consuming

    counts: Counter[str] = Counter()
    newest: deque[Letter] = deque(maxlen=top)
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as consumer:
        async for one in chosen(consumer, settings.topics.dead, choice):
            counts[one.error] += 1
            newest.append(one)
    return counts, sorted(newest, key=lambda one: one.at)


def _row(one: "Letter") -> tuple[str, ...]:
    return one.place, moment(one.at), one.origin, one.stage, one.error, one.message, glance(one.value or b"")


def told(one: "Letter") -> dict[str, Any]:
    """A letter for programs."""
    value = one.value or b""
    key = None if one.key is None else one.key.decode(errors="backslashreplace")
    names = ("place", "at", "partition", "offset", "topic", "origin", "stage", "error", "message")
    return {name: getattr(one, name) for name in names} | {"key": key, "bytes": len(value), "begins": glance(value)}


@dead.command()
@with_settings("brokers")
def inspect(settings: "Settings", place: Place, raw: Raw = False, json: Json = False) -> None:
    """Show one dead letter whole: where and why, the very place that is wrong, its headers, its bytes, and the fix.

    \b
    upwell dead inspect 0:17                       # as `upwell dead list` names it
    upwell dead inspect events-3-1024              # where it came from
    upwell dead inspect 0:17 --raw > letter.json
    upwell dead inspect 0:17 --json | jq .fault
    """
    choice = choice_of(None, places=[place])
    found = asyncio.run(_find(settings, choice))
    if found is None:
        raise Failed(f"no dead letter is at {clean(place)}; `upwell dead list` shows which there are")
    if raw:
        sys.stdout.buffer.write(found.value or b"")
        sys.stdout.flush()
        return
    from streams.commands.letter_view import shown, spelled

    if json:
        write_json(told(found) | spelled(found))
    else:
        shown(found)


async def _find(settings: "Settings", choice: "Choice") -> "Letter | None":
    """The newest that is meant: a message may have been buried twice."""
    from streams.dead_letters import LARGEST, chosen
    from streams.servers import consuming

    found: Letter | None = None
    async with consuming(settings, max_partition_fetch_bytes=LARGEST) as consumer:
        async for one in chosen(consumer, settings.topics.dead, choice):
            found = one if found is None or one.at >= found.at else found
    return found
