"""`upwell bench`."""

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.options import Json, settings_of, with_options
from streams.commands.output import console, say, write_json

if TYPE_CHECKING:
    from streams.bench.place import Place

FIGURES = ("throughput", "latency", "http", "memory", "restart", "models", "quality", "all")

Which = Annotated[str, typer.Argument(metavar="FIGURE", help="One of: " + ", ".join(FIGURES) + ".")]
Events = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=10, help="Events of the drain, the other figures in proportion; 100,000 by default, and files whole."
    ),
]
Data = Annotated[list[str] | None, typer.Option("--data", metavar="FILE", help="A file for `quality`; repeatable.")]


@with_options("brokers", "redis")
def bench(given: dict[str, Any], figure: Which = "all", events: Events = None, data: Data = None, json: Json = False) -> None:
    """Measure what Upwell does on this machine, each figure beside its peer in the same run.

    Without servers it starts its own: Apache Kafka where Java 17 is, else the embedded broker, and a Redis with its
    append-only file; it says which. Given servers keep nothing of it.

    \b
    upwell bench                                  # all, some ten minutes
    upwell bench throughput --events 200000
    upwell bench latency --brokers kafka:9092 --redis redis://redis:6379/0
    upwell bench quality --data clicks.csv.gz     # hit rates on your own events
    upwell bench all --json

    \b
    throughput  100,000 events wait, one worker starts: events/s until all are applied and answered
    latency     2,000 events/s on a fixed schedule: ms from when each was due to its recommendation, read by a client
    http        recommendations read from one process of `upwell serve`: how many a second, and how fast
    memory      resident memory of a worker at 200,000 and at 1,000,000 events of a steady world
    restart     s until ready on the log of 1,000,000 events, by snapshot and by folding it all
    models      K-means after one pass beside ten batch runs, after a jump, in a steady world; similarity updates/s;
                one recommendation at 50,000 items; without servers
    quality     HR@10 and MRR@20 of the blend on 150,000 real purchases, the first fifth not counted, with repeats and
                without; with --data on your files too, with the items.csv.gz beside an events.csv.gz as catalogue

    Peers: a Faust agent that does nothing, on the same broker; a loop that only decodes; the harness without a worker;
    each source alone, and item-kNN and ALS of implicit, refitted every twentieth of the stream, where it is installed;
    scikit-learn's K-means, where it is installed.
    """
    if figure not in FIGURES:
        raise typer.BadParameter(f"{figure!r} is none of {', '.join(FIGURES)}", param_hint="FIGURE")
    from streams.bench import report

    signal.signal(signal.SIGTERM, _as_interrupt)
    # A shell's background job starts with Ctrl-C ignored; one who sends the signal means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        place = _place(given, stack, needed=figure == "all" or figure in report.NEEDS_SERVERS)
        figures, more = report.measured(figure, place, events, data or ())
    if json:
        write_json({"servers": place.servers, "figures": [one.told() for one in figures]} | more)
    else:
        console().print(report.shown(figures, place.servers))
        for name, value in more.items():
            if name != "quality":
                console().print(f"{name}: {value}")


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _place(given: dict[str, Any], stack: ExitStack, *, needed: bool) -> "Place":
    """The servers that were given, or own ones, which are never those that the environment names."""
    from streams.bench.place import Place, own_servers

    settings_of(given | {"brokers": given["brokers"] or "127.0.0.1:9092"})  # what is wrong is told before servers start
    own: dict[str, str] = {}
    kinds = ""
    if needed:
        own, kinds = own_servers(stack, brokers=not given["brokers"], redis=not given["redis"])
    servers = (
        ", ".join(filter(None, (kinds, *(f"given {name}" for name in ("brokers", "redis") if given[name])))) if needed else ""
    )
    if servers:
        say(f"on {servers}")
    return Place(settings_of(given | own), servers, say)
