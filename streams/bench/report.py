"""All figures in the order in which they are told, and the table that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from streams.bench import handover, http, latency, memory, models, quality, restart, soak, throughput, workers
from streams.bench.figures import Figure, Runs, Told, Wanted, least, middle, most, rounded
from streams.bench.known import EVERY, FIGURES
from streams.commands.output import figure, table
from streams.watched import EmbeddedError

if TYPE_CHECKING:
    from rich.table import Table

    from streams.bench.place import Place

MEASURED: Mapping[str, Callable[[Place, Wanted], Told]] = {
    "throughput": throughput.run,
    "workers": workers.run,
    "handover": handover.run,
    "latency": latency.run,
    "http": http.run,
    "memory": memory.run,
    "restart": restart.run,
    "models": models.run,
    "quality": quality.run,
    "soak": soak.run,
}


def measured(name: str, place: Place, wanted: Wanted) -> Told:
    """Measure a figure by its name, or all that belong to all: `count` events in the drain, the others in proportion."""
    if name != EVERY:
        return MEASURED[name](place, _share(name, wanted))
    runs = {name: run for name, run in MEASURED.items() if FIGURES[name].with_all} | {"memory": _memory_and_restart}
    del runs["restart"]
    found = [run(place, _share(name, wanted)) for name, run in runs.items()]
    return Told(
        [one for told in found for one in told.figures],
        {key: value for told in found for key, value in told.more.items()},
        [panel for told in found for panel in told.panels],
    )


def _share(name: str, wanted: Wanted) -> Wanted:
    return replace(wanted, count=max(10, int(FIGURES[name].share * wanted.count)))


def _memory_and_restart(place: Place, wanted: Wanted) -> Told:
    """One long drain serves both."""
    with memory.taught(place, wanted.count) as (settings, told):
        try:
            after = restart.after(place, settings, wanted.count)
        except EmbeddedError as error:
            # The embedded broker tells a log's end wrongly, and a worker refuses a log that seems to have become shorter.
            place.say(f"restart: not measured, for {error}")
            return told
        return Told([*told.figures, *after.figures], after.more, [*told.panels, *after.panels])


def shown(figures: Sequence[Figure], servers: str) -> Table:
    """The figures as people read them."""
    rows = [(one.name, f"{_runs(one.runs)} {one.unit}".strip(), _promise(one), _peers(one)) for one in figures]
    return table(("figure", "measured", "promised", "beside it, in the same run"), rows, title=servers or None)


def _runs(runs: Runs) -> str:
    """The median, and between which values the runs lay."""
    value = figure(rounded(middle(runs)))
    if not isinstance(runs, Sequence) or len(runs) == 1:
        return value
    return f"{value} ({figure(rounded(least(runs)))} to {figure(rounded(most(runs)))})"


def _promise(one: Figure) -> str:
    if one.invalid:
        return f"INVALID: {one.invalid}"
    if one.kept is None:
        return ""
    bound = f"≥ {figure(one.at_least)}" if one.at_least is not None else f"≤ {figure(one.at_most)}"
    return f"{bound} {'kept' if one.kept else 'MISSED'}"


def _peers(one: Figure) -> str:
    return ", ".join(f"{name} {_runs(runs)}" for name, runs in one.peers.items())
