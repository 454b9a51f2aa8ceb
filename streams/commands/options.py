"""The options that commands share, and the settings they make."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]

_ANYWHERE = {
    "config": Annotated[Path | None, typer.Option("--config", help="Settings file; ./upwell.toml where it exists.")],
    "assigned": Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.NAME=VALUE", help="Any other setting; repeatable."),
    ],
}
_SETTINGS = {
    "brokers": Annotated[str | None, typer.Option(metavar="HOST:PORT,…", help="Kafka brokers.")],
    "redis": Annotated[str | None, typer.Option(metavar="URL", help="Redis, as redis://host:port/0.")],
    "group": Annotated[str | None, typer.Option(metavar="NAME", help="Consumer group of the workers.")],
    "prefix": Annotated[str | None, typer.Option(metavar="TEXT", help="What every key in Redis begins with.")],
    "http": Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where the worker serves health and metrics.")],
    "partitions": Annotated[int | None, typer.Option(metavar="N", help="Partitions of topics that are created.")],
    "exclude": Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="Not recommended again: none, seen, or event types as purchase,dislike."),
    ],
}


Command = Callable[..., None]


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command the options `names`, --config and --set; its first argument is the settings they make."""
    return _with(names, settings_of)


def with_options(*names: str) -> Callable[[Command], Command]:
    """As `with_settings`, but hand over what was given, for a command that adds to it before it makes settings."""
    return _with(names, dict)


def _with(names: Sequence[str], make: Callable[[dict[str, Any]], Any]) -> Callable[[Command], Command]:
    options = {name: _SETTINGS[name] for name in names} | _ANYWHERE

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> None:  # noqa: ANN401 - what typer hands over
            given = {name: values.pop(name) for name in options}
            command(make(given), **values)

        own = list(inspect.signature(command).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in options.items()]
        parameters = [one.replace(kind=keyword) for one in own] + shared
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def settings_of(given: Mapping[str, Any]) -> "Settings":
    """Settings from the file, the environment and these options, which win in this order."""
    from streams.settings import load

    overrides = {name: value for name, value in given.items() if name in _SETTINGS and value is not None}
    return load(given["config"], overrides | named(given["assigned"] or ()))


def named(assigned: Sequence[str]) -> dict[str, str]:
    """`a.b=c` as {"a.b": "c"}."""
    pairs = [(text, *text.partition("=")) for text in assigned]
    for text, name, equals, _ in pairs:
        if not name.strip() or not equals:
            from streams.settings import SettingsError

            raise SettingsError(f"--set {text!r} is no setting; write it as SECTION.NAME=VALUE, e.g. intake.batch_ms=50")
    return {name.strip(): value for _, name, _, value in pairs}
