"""All figures in the order in which they are told, and the table that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streams.bench import http, latency, memory, models, quality, restart, throughput
from streams.bench.figures import Figure, rounded
from streams.commands.output import figure, table
from streams.watched import EmbeddedError

if TYPE_CHECKING:
    from rich.table import Table

    from streams.bench.place import Place

NAMES = ("throughput", "latency", "http", "memory", "restart", "models", "quality")
NEEDS_SERVERS = ("throughput", "latency", "http", "memory", "restart")
EVENTS = 100_000
# Of the events of the drain: 20 s at 2,000/s; 20,000 reads; a million; 150,000.
LATENCY_SHARE, READS_SHARE, LONG, QUALITY_SHARE = 0.4, 0.2, 10, 1.5

Told = tuple[list[Figure], dict[str, Any]]


def measured(name: str, place: Place, wanted: int | None, files: Sequence[str]) -> Told:
    """Measure a figure by its name, or all: `wanted` events in the drain, others in proportion; without it files are whole."""
    count = wanted or EVENTS
    some = int(QUALITY_SHARE * count)
    runs: dict[str, Callable[[], Told]] = {
        "throughput": lambda: throughput.run(place, count),
        "latency": lambda: latency.run(place, max(10, int(LATENCY_SHARE * count))),
        "http": lambda: http.run(place, max(10, int(READS_SHARE * count))),
        "memory": lambda: memory.run(place, LONG * count),
        "restart": lambda: restart.run(place, LONG * count),
        "models": lambda: models.run(place, count),
        "quality": lambda: quality.run(place, some, files, limit=some if wanted else None),
    }
    if name != "all":
        return runs[name]()
    runs["memory"] = lambda: _memory_and_restart(place, LONG * count)
    del runs["restart"]
    told = [run() for run in runs.values()]
    return [one for figures, _ in told for one in figures], {key: value for _, more in told for key, value in more.items()}


def _memory_and_restart(place: Place, count: int) -> Told:
    """One long drain serves both."""
    with memory.taught(place, count) as (settings, figures):
        try:
            restarts, more = restart.after(place, settings, count)
        except EmbeddedError as error:
            # The embedded broker tells a log's end wrongly, and a worker refuses a log that seems to have become shorter.
            place.say(f"restart: not measured, for {error}")
            return figures, {}
        return figures + restarts, more


def shown(figures: Sequence[Figure], servers: str) -> Table:
    """The figures as people read them."""
    rows = [(one.name, f"{figure(rounded(one.value))} {one.unit}".strip(), _promise(one), _peers(one)) for one in figures]
    return table(("figure", "measured", "promised", "beside it, in the same run"), rows, title=servers or None)


def _promise(one: Figure) -> str:
    if one.kept is None:
        return ""
    bound = f"≥ {figure(one.at_least)}" if one.at_least is not None else f"≤ {figure(one.at_most)}"
    return f"{bound} {'kept' if one.kept else 'MISSED'}"


def _peers(one: Figure) -> str:
    return ", ".join(f"{name} {figure(rounded(value))}" for name, value in one.peers.items())
