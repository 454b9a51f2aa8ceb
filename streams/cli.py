"""The command `upwell`: hands over to streams/commands and turns failures into one sentence and an exit status."""

import gc
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from streams.commands.bench import bench
from streams.commands.dead import dead
from streams.commands.demo import demo
from streams.commands.doctor import doctor
from streams.commands.evaluate import evaluate
from streams.commands.export import export
from streams.commands.failures import told
from streams.commands.forget import forget
from streams.commands.item import item
from streams.commands.plan import plan
from streams.commands.push import push
from streams.commands.rebuild import rebuild
from streams.commands.recommend import recommend
from streams.commands.redrive import redrive
from streams.commands.reset import reset
from streams.commands.segments import segments
from streams.commands.serve import serve
from streams.commands.trending import trending
from streams.commands.user import user
from streams.commands.worker import worker

_COLLECT_AFTER = 20_000  # objects more than there were
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended

app = typer.Typer(
    name="upwell",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"upwell {version('upwell')}")
        except PackageNotFoundError:
            typer.echo("upwell (not installed)")
        raise typer.Exit


@app.callback()
def upwell(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Streaming, real-time personalization: events into Kafka, fresh explained recommendations out, all state in Redis.

    \b
    upwell demo                                   # see it work, with nothing else installed
    upwell worker --brokers kafka:9092 --redis redis://redis:6379/0
    upwell push events.csv                        # columns by their usual names
    upwell recommend 42

    Settings come from upwell.toml (or --config), then the environment (UPWELL_BROKERS, …), then options;
    the last wins.

    Exit status: 0 done, 1 failed (a server is away, bad lines), 2 wrong settings or options, 3 refused, with what mends it.
    """


_COMMANDS = (
    (demo, "See it work: broker, Redis, worker and real data in one."),
    (worker, "Run one worker."),
    (serve, "An HTTP API: read what Redis has, send events."),
    (push, "Send the events, or the items, of a file."),
    (recommend, "A user's newest recommendation, and why."),
    (user, "A user's profile."),
    (item, "An item: catalogue entry, popularity, similar ones."),
    (segments, "The segments of users."),
    (trending, "The items that are visited most these days."),
    (evaluate, "How good the recommendations would have been, on a file of events."),
    (bench, "What it does on this machine, beside its peers."),
    (plan, "What a load needs: workers, memory, Redis, Kafka; and what is full first."),
    (forget, "Have users forgotten everywhere, and certify it."),
    (export, "All that is stored of a user, as JSON."),
    (doctor, "Check brokers, topics, Redis and settings; print the fixes."),
    (rebuild, "Make profiles and models anew from the events that Kafka still has."),
    (reset, "Accept a recreated topic or another number of partitions."),
)
for _command, _summary in _COMMANDS:
    app.command(short_help=_summary)(_command)
dead.command()(redrive)
app.add_typer(dead, name="dead", short_help="What was no event or item: list, inspect, redrive.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; never shows a traceback for what a person can mend."""
    # Imports make a hundred thousand objects that stay; to look through them again and again takes a fifth of a worker's start.
    gc.set_threshold(_COLLECT_AFTER)
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="upwell")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        message, status = told(error)
        sys.stderr.write(f"upwell: {message}\n")
        sys.exit(status)


if __name__ == "__main__":
    main()
