"""What `upwell evaluate` shows a person: tables of figures, of a comparison, and of one user's events."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from streams.commands.output import console, figure, moment, table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from streams.evaluation.run import Evaluation

REFRESH = 0.2  # s between two pictures of the bar
MEASURES = ("hr@10", "hr@20", "mrr@20", "ndcg@10")
HEADS = tuple(measure.upper() for measure in MEASURES)

Told = dict[str, Any]


@contextmanager
def progress(total: int, *, quiet: bool) -> "Iterator[Callable[[Evaluation], None]]":
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
        rate = figure(round(evaluation.done / (now - self._begun)))
        said = f"{rate} events/s, HR@10 {evaluation.outcome.hit_rate():.4f}"
        self._bar.update(self._task, completed=evaluation.done, said=said)


def show(result: Told, before: str = "") -> None:
    """One user's events, if that was asked for; all figures; the differences from the run ``before``."""
    if "explained" in result:
        _explanation(result["explained"])
    _figures(result)
    _groups(result)
    _lists(result)
    if "compared" in result:
        _comparison(result["compared"], before)


def _figures(result: Told) -> None:
    ranked = sorted(result["sources"].items(), key=lambda one: -one[1]["hr@10"])
    rows = [(name, *_cells(found)) for name, found in [("blend", result["blend"]), *ranked]]
    spent, learned = result["recommend_us"], result["learn_us"]
    title = (
        f"{figure(result['scored'])} of {figure(result['events'])} events counted, in {figure(result['seconds'])} s; "
        f"a recommendation takes {figure(spent['p50'])} µs (p99 {figure(spent['p99'])}), learning {figure(learned['p50'])}"
    )
    screen = console()
    screen.print(title)
    screen.print(table(("", *HEADS), rows))


def _groups(result: Told) -> None:
    """For whom and for what the blend is right."""
    items = result["items"]
    groups = {"users counted for the first time": result["new_users"]}
    groups |= {f"users with {name} event{'s' if name != '1' else ''} before": found for name, found in result["history"].items()}
    groups |= {"items first seen within a day": items["lately"], "items known for longer": items["before"]}
    rows = [(name, figure(found["scored"]), *_cells(found)) for name, found in groups.items() if found["scored"]]
    console().print(table(("the blend for", "counted", *HEADS), rows))


def _cells(found: Told) -> list[str]:
    return [f"{found[measure]:.4f}" for measure in MEASURES]


def _lists(result: Told) -> None:
    lists = result["lists"]
    unlike, place = lists["diversity"], lists["popularity_rank"]
    rows = [
        ("counted events whose item nobody had visited before", f"{result['items']['new_share']:.1%}"),
        (f"share of the {figure(lists['known_items'])} known items that were recommended", f"{lists['coverage']:.1%}"),
        ("share of all places taken by the top 1 % of items", f"{lists['top_percent_share']:.1%}"),
        ("Gini coefficient of how often items were recommended", f"{lists['gini']:.3f}"),
        ("mean popularity rank of what was recommended (higher: more novel)", "" if place is None else figure(float(place))),
        ("diversity within a list (1 - mean cosine of two items)", "" if unlike is None else f"{unlike:.3f}"),
    ]
    console().print(table(("the first ten", ""), rows))


def _comparison(found: Told, name: str) -> None:
    """The differences from an earlier run."""
    rows = []
    for measure, one in found.items():
        clear = "better" if one["low"] > 0 else "worse" if one["high"] < 0 else "no clear difference"
        interval = f"{one['low']:+.4f} to {one['high']:+.4f}"
        rows.append((measure.upper(), f"{one['before']:.4f}", f"{one['now']:.4f}", f"{one['difference']:+.4f}", interval, clear))
    heads = ("", name, "now", "difference", "95 % interval", "")
    console().print(table(heads, rows, title=f"The blend, beside {name}"))


def _explanation(found: Told) -> None:
    """A table for each of a user's events: what each list had first, and where it had the item that came."""
    screen = console()
    for one in found["events"]:
        who = f"{moment(one['at'])}, event {figure(one['event'])}: user {found['user_id']}"
        title = f"{who} met item {one['item_id']} ({one['type']})"
        rows = [("blend", _rank(one["blend"]), ", ".join(map(_why, one["blend"]["top"])))]
        rows += [(name, _rank(said), ", ".join(said["top"])) for name, said in one["sources"].items()]
        screen.print(table(("", "rank", "its first three"), rows, title=title))


def _rank(said: Told) -> str:
    return "" if said["rank"] is None else str(said["rank"])


def _why(one: Told) -> str:
    parts = [
        f"{reason['source']} {reason['share']:.0%}" + (f" for {' '.join(reason['because'])}" if reason["because"] else "")
        for reason in one["reasons"]
    ]
    return f"{one['item_id']} ({'; '.join(parts)})"
