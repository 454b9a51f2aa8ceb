"""`upwell evaluate`."""

import asyncio
import time
from collections.abc import Sequence
from json import JSONDecodeError, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands import evaluate_view as view
from streams.commands.failures import Failed
from streams.commands.options import Json, settings_of, with_options
from streams.commands.output import figure, say, write_json
from streams.commands.push import SHOWN, Column, Kind, columns_given

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streams.evaluation.recorded import Recorded
    from streams.evaluation.run import Evaluation
    from streams.files import BadLine

File = Annotated[str, typer.Argument(metavar="EVENTS", help="CSV, JSON lines or Parquet, also .gz; - is standard input.")]
Items = Annotated[str | None, typer.Option("--items", metavar="FILE", help="The catalogue, known before the first event.")]
Exclude = Annotated[
    str,
    typer.Option(
        "--exclude",
        metavar="none|seen|TYPES",
        help="Neither recommend nor count what the user touched before (seen), or touched by these types (purchase,dislike).",
    ),
]
Warmup = Annotated[float, typer.Option("--warmup", metavar="SHARE", min=0.0, max=0.99, help="First share, not counted.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N events in time order.")]
Sources = Annotated[
    str | None, typer.Option("--sources", metavar="A,B", help="Only these sources bring candidates and are heard by the blend.")
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", min=0, help="Seed of the blend, the segments and the drawn places.")
]
Plot = Annotated[
    str | None, typer.Option("--plot", metavar="OUT", help="Draw the run: .png, .svg, or .html, a page that needs nothing else.")
]
Compare = Annotated[
    str | None, typer.Option("--compare", metavar="RUN.json", help="Differences from an earlier --json, with intervals.")
]
Explain = Annotated[
    str | None, typer.Option("--explain", metavar="USER", help="What each source said before each counted event of a user.")
]


@with_options()
def evaluate(
    given: dict[str, Any],
    events: File,
    items: Items = None,
    exclude: Exclude = "none",
    warmup: Warmup = 0.2,
    limit: Limit = None,
    sources: Sources = None,
    seed: Seed = None,
    plot: Plot = None,
    compare: Compare = None,
    explain: Explain = None,
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
    upwell evaluate events.csv --plot run.html                   # hit rate over time, by history, weights, coverage
    upwell evaluate events.csv --explain 42                      # what every source said to user 42
    \b
    upwell evaluate events.csv --json > before.json              # keep a run,
    upwell evaluate events.csv --set models.neighbors=100 --compare before.json   # try a setting beside it,
    upwell evaluate events.csv --sources covisit,next,popular --compare before.json   # or fewer sources

    HR@10 (HR@20): share of events whose item was among the first 10 (20); MRR@20: mean of 1/rank; NDCG@10: the same with
    1/log2(rank + 1). Columns are found as upwell push finds them. With --exclude seen only events whose item is new to
    the user count; with types, only those whose item the user had no event of such a type on. --json prints events,
    scored, seconds, recommend_us {p50, p99}, blend and sources {name: {hr@10, hr@20, mrr@20, ndcg@10}}, and more, all
    described in docs/evaluate.md; its "ranks" are what --compare reads.
    """
    from streams.evaluation.compare import compared
    from streams.evaluation.explain import Explanation
    from streams.evaluation.report import report
    from streams.evaluation.run import Evaluation

    chosen = {"exclude": exclude} | ({} if sources is None else {"models.sources": sources})
    chosen |= {} if seed is None else {f"{part}.seed": str(seed) for part in ("models", "segments", "rerank")}
    assigned = [*(given["assigned"] or ()), *(f"{name}={value}" for name, value in chosen.items())]
    settings = settings_of(given | {"assigned": assigned})
    _drawable(plot)
    recorded = _read(events, columns_given(column), kind, limit)
    explanation = None if explain is None else Explanation(explain)
    evaluation = Evaluation(settings, recorded, int(warmup * len(recorded)), explanation)
    before = None if compare is None else _before(compare, evaluation)
    _check_explained(explain, evaluation)
    if items is not None:
        _stock(items, evaluation)
    result = report(evaluation, _pass(evaluation, quiet=json))
    if before is not None:
        result["compared"] = compared(before, evaluation.outcome.blend, evaluation.counted_users())
    if explanation is not None:
        result["explained"] = explanation.told()
    if plot is not None:
        _draw(evaluation, result, plot, events)
    if json:
        write_json(result)
    else:
        view.show(result, compare or "")


def _drawable(plot: str | None) -> None:
    """Tell before the long work that its picture could not be drawn."""
    from streams.evaluation.plot import PlotError, needed

    try:
        if plot is not None:
            needed(plot)
    except PlotError as error:
        raise Failed(str(error)) from None


def _read(file: str, given: dict[str, str], kind: str | None, limit: int | None) -> "Recorded":
    from streams.evaluation.recorded import events_of

    recorded, bad = events_of(file, given, kind, limit)
    _tell(file, bad)
    if not len(recorded):
        raise Failed(f"{file} holds no event")
    return recorded


def _before(file: str, evaluation: "Evaluation") -> "NDArray[np.uint8]":
    """The ranks of an earlier run."""
    from streams.evaluation.compare import Incomparable, earlier_ranks

    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{file} cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    try:
        return earlier_ranks(loads(text), evaluation, file)
    except JSONDecodeError:
        raise Failed(f"{file} is no run: make one with upwell evaluate EVENTS --json > {file}") from None
    except Incomparable as error:
        raise Failed(str(error)) from None


def _check_explained(user_id: str | None, evaluation: "Evaluation") -> None:
    if user_id is None:
        return
    known = evaluation.events.user_ids
    if user_id not in known:
        near = ", ".join(known[:3])
        raise Failed(f"no event is of user {user_id!r}; users are, for example, {near}")
    if not (evaluation.counted_users() == known.index(user_id)).any():
        raise Failed(f"no event of user {user_id!r} is counted; --warmup 0 counts all but each user's first")


def _stock(file: str, evaluation: "Evaluation") -> None:
    from streams.evaluation.recorded import items_of

    entries, bad = items_of(file)
    _tell(file, bad)
    evaluation.stock(entries)


def _pass(evaluation: "Evaluation", *, quiet: bool) -> float:
    """Test and learn all events; gives the seconds it took."""
    with view.progress(len(evaluation.events), quiet=quiet) as tick:
        begun = time.perf_counter()
        asyncio.run(evaluation.run(tick))
    return time.perf_counter() - begun


def _draw(evaluation: "Evaluation", result: dict[str, Any], file: str, events: str) -> None:
    from streams.evaluation.plot import plot
    from streams.evaluation.series import series

    try:
        plot(series(evaluation), result, file, f"upwell evaluate {Path(events).name}")
    except OSError as error:
        raise Failed(f"{file} cannot be written: {(error.strerror or str(error)).lower()}") from None
    say(f"drawn into {file}")


def _tell(file: str, bad: "Sequence[BadLine]") -> None:
    for one in bad[:SHOWN]:
        say(f"{file}:{one.line}: {one.reason}")
    if len(bad) > SHOWN:
        say(f"{file}: {figure(len(bad))} lines could not be read, of which the first {SHOWN} are told above")
