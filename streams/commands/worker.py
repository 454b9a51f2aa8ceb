"""`upwell worker`."""

import functools
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.failures import told
from streams.commands.options import with_settings

if TYPE_CHECKING:
    from streams.settings import Settings

MOST = 64

Processes = Annotated[
    int, typer.Option(metavar="N", min=1, max=MOST, help="Run so many workers; each serves HTTP on the next port.")
]


@with_settings("brokers", "redis", "group", "prefix", "http", "partitions", "exclude")
def worker(
    settings: "Settings",
    faust_options: Annotated[list[str] | None, typer.Argument(metavar="[-- FAUST OPTIONS]")] = None,
    processes: Processes = 1,
) -> None:
    """Run one worker: read events, recommend, keep profiles and models; as many as there are partitions share the work.

    It creates missing topics and refuses wrong ones with the command that mends them (exit 3).
    Ctrl-C or SIGTERM: it finishes the batch in hand. With --processes a worker that dies is started again.

    \b
    upwell worker                                    # on 127.0.0.1:9092 and 127.0.0.1:6379
    upwell worker --brokers kafka:9092 --redis redis://redis:6379/0
    upwell worker --processes 4                      # one per core; HTTP on 6066, 6067, 6068, 6069
    upwell worker --exclude purchase,dislike --http 127.0.0.1:6067
    upwell worker --set segments.k=12 --set intake.batch_ms=50
    upwell worker --set rerank.diversity=0.3 --set rerank.pins.1=sku-9
    upwell worker -- --loglevel debug                # anything after -- is for Faust's worker
    """
    if processes == 1:
        from streams.app import run

        run(settings, faust_options or [])
        return
    from streams.processes import keep

    _at(settings, processes - 1)  # a port that is none is told before anything starts
    sys.exit(keep(processes, functools.partial(_one, settings, tuple(faust_options or ()))))


def _at(settings: "Settings", number: int) -> "Settings":
    """The settings of one of several workers: HTTP on a port of its own."""
    host, _, port = settings.http.rpartition(":")
    if int(port) + number > 65_535:
        raise typer.BadParameter(f"port {int(port) + number} is none; give a lower one", param_hint="--http")
    return settings.model_copy(update={"http": f"{host}:{int(port) + number}"})


def _one(settings: "Settings", faust_options: tuple[str, ...], number: int) -> None:
    from streams.app import run

    try:
        run(_at(settings, number), faust_options)
    except Exception as error:  # noqa: BLE001 - told() raises again what nobody foresaw
        message, status = told(error)
        sys.stderr.write(f"upwell: {message}\n")
        sys.exit(status)
