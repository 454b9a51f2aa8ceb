"""`upwell evaluate`."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, figure, say, table, write_json
from streams.commands.push import SHOWN, Column, Kind, columns_given

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from streams.evaluate import Evaluation
    from streams.files import BadLine
    from streams.settings import Settings

REFRESH = 0.2  # s between two pictures of the bar

File = Annotated[str, typer.Argument(metavar="EVENTS", help="CSV, JSON lines or Parquet, also .gz; - is standard input.")]
Items = Annotated[str | None, typer.Option("--items", metavar="FILE", help="The catalogue, known before the first event.")]
Exclude = Annotated[
    Literal["none", "seen"],
    typer.Option("--exclude", help="seen: never recommend, nor count, what the user touched before."),
]
Warmup = Annotated[float, typer.Option("--warmup", metavar="SHARE", min=0.0, max=0.99, help="First share, not counted.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N events in time order.")]


@with_settings()
def evaluate(
    settings: "Settings",
    events: File,
    items: Items = None,
    exclude: Exclude = "none",
    warmup: Warmup = 0.2,
    limit: Limit = None,
    column: Column = None,
    kind: Kind = None,
    json: Json = False,
) -> None:
    """Tell how good the recommendations would have been: replay a file of events through the code that serves.

    In time order, for each event of a user with a history: rank all known items for the user, see where the event's
    item stands, then learn the event. The first fifth is learned and not counted. No server is needed, and the same
    file and settings give the same figures.

    \b
    upwell evaluate events.csv.gz
    upwell evaluate ratings.csv --items movies.csv --exclude seen
    upwell evaluate clicks.parquet --column user_id=visitor --limit 200000 --json
    upwell evaluate events.csv --set models.neighbors=100        # try a setting

    HR@10 (HR@20): share of events whose item was among the first 10 (20); MRR@20: mean of 1/rank; NDCG@10: the same with
    1/log2(rank + 1). Columns are found as upwell push finds them. --json prints events, scored, seconds,
    recommend_us {p50, p99}, blend and sources {name: {hr@10, hr@20, mrr@20, ndcg@10}}.
    """
    result = _run(
        settings.model_copy(update={"exclude": exclude}), events, items, warmup, limit, columns_given(column), kind, quiet=json
    )
    if json:
        write_json(result)
    else:
        _show(result)


def _run(
    settings: "Settings",
    file: str,
    items: str | None,
    warmup: float,
    limit: int | None,
    given: dict[str, str],
    kind: str | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    from streams import evaluated
    from streams.evaluate import Evaluation

    events, bad = evaluated.events_of(file, given, kind, limit)
    _tell(file, bad)
    if not events:
        raise Failed(f"{file} holds no event")
    evaluation = Evaluation(settings, warmup=int(warmup * len(events)), unseen=settings.exclude == "seen")
    if items is not None:
        entries, bad = evaluated.items_of(items)
        _tell(items, bad)
        evaluation.stock(entries)
    with _progress(len(events), quiet=quiet) as tick:
        begun = time.perf_counter()
        asyncio.run(evaluation.run(events, tick))
    return evaluation.result(time.perf_counter() - begun)


def _tell(file: str, bad: "Sequence[BadLine]") -> None:
    for one in bad[:SHOWN]:
        say(f"{file}:{one.line}: {one.reason}")
    if len(bad) > SHOWN:
        say(f"{file}: {figure(len(bad))} lines could not be read, of which the first {SHOWN} are told above")


@contextmanager
def _progress(total: int, *, quiet: bool) -> "Iterator[Callable[[Evaluation], None]]":
    """A bar over the events, where a person looks; gives what to call after each."""
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda _evaluation: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    text = TextColumn("{task.fields[said]}", markup=False)
    with Progress(BarColumn(), TaskProgressColumn(), text, TimeRemainingColumn(), console=screen, transient=True) as bar:
        yield Ticker(bar, bar.add_task("", total=total, said=""))


class Ticker:
    """Moves the bar, some times a second."""

    def __init__(self, bar: "Progress", task: "TaskID") -> None:
        self._bar, self._task = bar, task
        self._begun = self._shown = time.monotonic()

    def __call__(self, evaluation: "Evaluation") -> None:
        """Show how far it is, how fast, and the hit rate so far."""
        now = time.monotonic()
        if now - self._shown < REFRESH:
            return
        self._shown = now
        rate = figure(round(evaluation.events / (now - self._begun)))
        said = f"{rate} events/s, HR@10 {evaluation.blend.figures()['hr@10']:.4f}"
        self._bar.update(self._task, completed=evaluation.events, said=said)


def _show(result: dict[str, Any]) -> None:
    measures = ("hr@10", "hr@20", "mrr@20", "ndcg@10")
    ranked = sorted(result["sources"].items(), key=lambda one: -one[1]["hr@10"])
    rows = [(name, *(f"{found[measure]:.4f}" for measure in measures)) for name, found in [("blend", result["blend"]), *ranked]]
    spent = result["recommend_us"]
    title = (
        f"{figure(result['scored'])} of {figure(result['events'])} events counted, in {figure(result['seconds'])} s; "
        f"a recommendation takes {figure(spent['p50'])} µs (p99 {figure(spent['p99'])})"
    )
    console().print(table(("", *(measure.upper() for measure in measures)), rows, title=title))
