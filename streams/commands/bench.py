"""`upwell bench`."""

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.bench.known import EVENTS, EVERY, NAMES, RATE, RUNS, SECONDS, needs_servers
from streams.commands.failures import Failed
from streams.commands.options import Json, settings_of, with_options
from streams.commands.output import console, say, write_json

if TYPE_CHECKING:
    from streams.bench.figures import Told
    from streams.bench.place import Place

Which = Annotated[str, typer.Argument(metavar="FIGURE", help="One of: " + ", ".join(NAMES) + ".")]
Events = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=10, help=f"Events of the drain, the other figures in proportion; {EVENTS:,} by default, and files whole."
    ),
]
Runs = Annotated[
    int, typer.Option(metavar="N", min=1, help="Runs of each figure but memory, restart, quality and soak; the median counts.")
]
Data = Annotated[list[str] | None, typer.Option("--data", metavar="FILE", help="A file for `quality`; repeatable.")]
Seconds = Annotated[float, typer.Option(metavar="S", min=1.0, help="How long `soak` goes on.")]
Rate = Annotated[float, typer.Option(metavar="R", min=1.0, help="Events/s of `soak` and of `handover`.")]
Plot = Annotated[str | None, typer.Option("--plot", metavar="OUT", help="Draw the figures and their peers: .png or .svg.")]


@with_options("brokers", "redis")
def bench(
    given: dict[str, Any],
    figure: Which = EVERY,
    events: Events = None,
    runs: Runs = RUNS,
    data: Data = None,
    seconds: Seconds = SECONDS,
    rate: Rate = RATE,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Measure what Upwell does on this machine, each figure beside its peer in the same run.

    Without servers it starts its own: Apache Kafka where Java 17 is, else the embedded broker, and a Redis with its
    append-only file; it says which. Given servers keep nothing of it.

    \b
    upwell bench                                  # all but soak and handover, some twenty minutes
    upwell bench throughput --runs 5 --plot drain.svg
    upwell bench latency --brokers kafka:9092 --redis redis://redis:6379/0
    upwell bench quality --data clicks.csv.gz     # hit rates on your own events
    upwell bench soak --seconds 600 --rate 1000   # Ctrl-C ends it with what was measured
    upwell bench --events 20000 --runs 1 --json   # a look in a few minutes

    \b
    throughput  200,000 events wait, one worker starts: events/s until all are applied and answered      3 minutes
    workers     100,000 events wait, two workers and one drain them on the same cores: how much faster   2 minutes
    handover    2,000 events/s while a worker joins, one is killed, one stops: the longest wait           3 minutes
    latency     2,000 and 200 events/s on a fixed schedule: ms from when each was due to its
                recommendation, read by a client; and how far the worker's own histogram is off          5 minutes
    http        recommendations read from one process of `upwell serve`: how many a second, and ms from
                when each was due at 2,000 a second                                                       1 minute
    memory      resident memory of a worker at 200,000 and at 1,000,000 events of a steady world         2 minutes
    restart     s until ready on the log of 1,000,000 events, by snapshot and by folding it all          2 minutes
    models      K-means after one pass beside ten batch runs, after a jump, in a steady world; similarity
                updates/s; one recommendation at 50,000 items; fold of the log; without servers           1 minute
    quality     HR@10 and MRR@20 of the blend on 150,000 real purchases, the first fifth not counted, with
                repeats and without; with --data on your files too, with the items.csv.gz beside an
                events.csv.gz as catalogue                                                                7 minutes
    soak        2,000 events/s on full histories, each minute 1 % of users and items new: growth of
                the worker's memory and latency                                                          40 minutes

    Peers take turns with the figure, run by run: a Faust agent that does nothing, on the same broker; a loop that only
    decodes; Redis with the worker's own writes and nothing else; the harness without a worker; each source alone, and
    item-kNN and ALS of implicit, refitted every twentieth of the stream, where it is installed; scikit-learn's K-means,
    where it is installed. The table shows medians, and between which values the runs lay; --json has min and max.

    Latencies count from when an event or a read was due, whatever became of those before. A run whose load was itself more than
    5 ms late at the 99th percentile is invalid and does not count; a figure without a valid run says so.
    """
    if figure not in NAMES:
        raise typer.BadParameter(f"{figure!r} is none of {', '.join(NAMES)}", param_hint="FIGURE")
    if plot is not None:
        _check_drawable(plot)
    from streams.bench import report
    from streams.bench.figures import Wanted

    signal.signal(signal.SIGTERM, _as_interrupt)
    # A shell's background job starts with Ctrl-C ignored; one who sends the signal means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = Wanted(events or EVENTS, runs, seconds, rate, data or (), whole=events is None)
    with ExitStack() as stack:
        place = _place(given, stack, needed=needs_servers(figure))
        told = report.measured(figure, place, wanted)
    if plot is not None:
        _draw(told, plot, f"upwell bench {figure}")
    if json:
        write_json({"servers": place.servers, "figures": [one.told() for one in told.figures]} | dict(told.more))
    else:
        console().print(report.shown(told.figures, place.servers))
        for name, value in told.more.items():
            if name not in LONG:
                console().print(f"{name}: {value}")


LONG = ("quality", "readers", "senders", "soak")  # for --json only


def _check_drawable(plot: str) -> None:
    """Tell before the long work that its picture could not be drawn."""
    from streams.bench.drawing import FORMATS
    from streams.evaluation.plot import PlotError, needed

    try:
        needed(plot, FORMATS)
    except PlotError as error:
        raise Failed(str(error)) from None


def _draw(told: "Told", plot: str, title: str) -> None:
    from streams.bench.drawing import draw

    try:
        draw(told.panels, plot, title)
    except OSError as error:
        raise Failed(f"{plot} cannot be written: {(error.strerror or str(error)).lower()}") from None
    say(f"drawn into {plot}")


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _place(given: dict[str, Any], stack: ExitStack, *, needed: bool) -> "Place":
    """The servers that were given, or own ones, which are never those that the environment names."""
    from streams.bench.place import Place, own_servers

    # What is wrong is told before servers start.
    asked = settings_of(given | {"brokers": given["brokers"] or "127.0.0.1:9092"})
    if asked.kafka.security_protocol != "PLAINTEXT":
        raise Failed("bench's own clients and servers know no TLS and no login; take kafka.security_protocol out for it")
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
