"""`upwell worker`."""

from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.options import with_settings

if TYPE_CHECKING:
    from streams.settings import Settings


@with_settings("brokers", "redis", "group", "prefix", "http", "partitions", "exclude")
def worker(
    settings: "Settings",
    faust_options: Annotated[list[str] | None, typer.Argument(metavar="[-- FAUST OPTIONS]")] = None,
) -> None:
    """Run one worker: read events, recommend, keep profiles and models; as many as there are partitions share the work.

    It creates missing topics and refuses wrong ones with the command that mends them (exit 3).
    Ctrl-C or SIGTERM: it finishes the batch in hand.

    \b
    upwell worker                                    # on 127.0.0.1:9092 and 127.0.0.1:6379
    upwell worker --brokers kafka:9092 --redis redis://redis:6379/0
    upwell worker --exclude purchase,dislike --http 127.0.0.1:6067
    upwell worker --set segments.k=12 --set intake.batch_ms=50
    upwell worker --set rerank.diversity=0.3 --set rerank.pins.1=sku-9
    upwell worker -- --loglevel debug                # anything after -- is for Faust's worker
    """
    from streams.app import run

    run(settings, faust_options or [])
