"""`upwell reset`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.options import Json, with_settings
from streams.commands.output import clean, write_json

if TYPE_CHECKING:
    from streams.settings import Settings

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Models = Annotated[bool, typer.Option("--models", help="Also let the learned models start over.")]


@with_settings("brokers", "redis", "group", "prefix", "partitions")
def reset(settings: "Settings", models: Models = False, yes: Yes = False, json: Json = False) -> None:
    """Accept what a worker refuses to serve: a recreated events topic, more or fewer partitions, a log without its past.

    It says exactly what it forgets or deletes, and asks. Stop all workers first. Events that Kafka still holds are read
    again.

    \b
    upwell reset                     # shows what it would do, and asks
    upwell reset --models            # also let the models start over
    upwell reset --yes --json        # for scripts
    """
    from streams import reset as state

    with _answering(settings):
        plan = state.plan(settings, models=models)
    if plan and not yes:
        _ask(plan)
    with _answering(settings):
        done = state.run(settings, models=models) if plan else []
    if json:
        write_json({"reset": done})
    else:
        for line in done or ["nothing: a worker would serve what is there"]:
            typer.echo(f"reset {clean(line)}")


@contextmanager
def _answering(settings: "Settings") -> Iterator[None]:
    from streams.servers import kafka_or_failed, redis_or_failed

    with redis_or_failed(settings), kafka_or_failed(settings):
        yield


def _ask(plan: list[str]) -> None:
    typer.echo("This resets:", err=True)
    for line in plan:
        typer.echo(f"  {clean(line)}", err=True)
    typer.confirm("Are all workers stopped, and is this what you want?", abort=True, err=True)
