"""`upwell evaluate`: what is counted, by a plain count beside it; the shape; the same again; what it says of bad files."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from streams.cli import main
from streams.evaluation.recorded import events_of
from streams.evaluation.report import report
from streams.evaluation.run import Evaluation
from streams.models.sources import SOURCES
from streams.settings import Settings

MEASURES = ["hr@10", "hr@20", "mrr@20", "ndcg@10"]
MOMENT = 1_700_000_000  # all at one moment: nothing decays, and popularity is a plain count

Visit = tuple[str, str]


def world(count: int, users: int = 9, items: int = 30, seed: int = 1) -> list[Visit]:
    """Visits of users to items, of which a few are liked by most."""
    rng = random.Random(seed)
    return [(f"u{rng.randrange(users)}", f"i{int(items * rng.random() ** 2)}") for _ in range(count)]


def written(folder: Path, visits: list[Visit], name: str = "events.csv") -> str:
    rows = "".join(f"{user},{item},{MOMENT}\n" for user, item in visits)
    file = folder / name
    file.write_bytes((gzip.compress if name.endswith(".gz") else bytes)(b"user_id,item_id,timestamp\n" + rows.encode()))
    return str(file)


@pytest.fixture
def evaluate(capsys):
    """Run the command: its JSON object."""

    def run(*arguments: str, status: int = 0) -> dict:
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", *arguments, "--json"])
        assert (ended.value.code or 0) == status
        out = capsys.readouterr().out
        return json.loads(out) if out else {}

    return run


def popular_ranks(visits: list[Visit], *, unseen: bool, skip: int) -> list[int]:
    """The rank of each counted event's item among the most visited, 0 below 20: the protocol once more, in plain Python."""
    counts: Counter[str] = Counter()
    seen: dict[str, set[str]] = {}
    ranks = []
    for number, (user, item) in enumerate(visits):
        mine = seen.setdefault(user, set())
        if mine and number >= skip and not (unseen and item in mine):
            # Counter keeps the order of first appearance, and sorting keeps it among equals.
            ranked = [one for one, _ in sorted(counts.items(), key=lambda pair: -pair[1]) if not (unseen and one in mine)]
            ranks.append(ranked.index(item) + 1 if item in ranked[:20] else 0)
        counts[item] += 1
        mine.add(item)
    return ranks


@pytest.mark.parametrize("exclude", ["none", "seen"])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.9])
def test_what_is_counted_and_where_it_stood_agree_with_a_plain_count(evaluate, tmp_path, exclude, warmup):
    visits = world(400)
    found = evaluate(written(tmp_path, visits), "--exclude", exclude, "--warmup", str(warmup))
    ranks = popular_ranks(visits, unseen=exclude == "seen", skip=int(warmup * len(visits)))
    assert (found["events"], found["scored"]) == (400, len(ranks))
    popular = found["sources"]["popular"]
    assert popular["hr@10"] == pytest.approx(sum(0 < rank <= 10 for rank in ranks) / len(ranks), abs=1e-6)
    assert popular["hr@20"] == pytest.approx(sum(0 < rank <= 20 for rank in ranks) / len(ranks), abs=1e-6)
    assert popular["mrr@20"] == pytest.approx(sum(1 / rank for rank in ranks if rank) / len(ranks), abs=1e-6)


def test_a_world_counted_by_hand(evaluate, tmp_path):
    # a's first and b's first have no history. Counted are a's y (unknown: a miss), b's y (known: a hit), a's x (a hit).
    visits = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("a", "x")]
    found = evaluate(written(tmp_path, visits), "--warmup", "0")
    assert (found["events"], found["scored"]) == (5, 3)
    assert found["blend"]["hr@10"] == pytest.approx(2 / 3, abs=1e-6)


def test_the_json_has_the_documented_shape(evaluate, tmp_path):
    found = evaluate(written(tmp_path, world(50)))
    assert list(found)[:6] == ["events", "scored", "seconds", "recommend_us", "blend", "sources"]
    assert list(found["recommend_us"]) == ["p50", "p99"]
    assert list(found["blend"]) == MEASURES
    assert list(found["sources"]) == list(SOURCES)
    assert all(list(figures) == MEASURES for figures in found["sources"].values())


def test_the_same_file_gives_the_same_figures(evaluate, tmp_path):
    file = written(tmp_path, world(300, seed=3))
    first, second = (evaluate(file) for _ in range(2))
    assert (first["blend"], first["sources"]) == (second["blend"], second["sources"])


def test_limit_takes_the_first_events_in_time_order(evaluate, tmp_path):
    file = tmp_path / "events.jsonl"
    rows = [(9, "late", "z"), (1, "a", "x"), (2, "a", "x"), (3, "a", "x")]
    lines = [json.dumps({"user_id": u, "item_id": i, "type": "view", "timestamp": MOMENT + at}) for at, u, i in rows]
    file.write_text("\n".join(lines))
    found = evaluate(str(file), "--limit", "3", "--warmup", "0")
    assert (found["events"], found["scored"], found["blend"]["hr@10"]) == (3, 2, 1.0)


def test_events_of_a_file_are_in_time_order_and_those_of_one_moment_in_its_order(tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("user,item,time\na,1,30\na,2,10\na,3,10\na,4,\n")
    events, bad = events_of(str(file))
    assert ([event.item_id for event in events], bad) == (["2", "3", "4", "1"], [])


def test_columns_are_named_by_hand_and_files_may_be_packed(evaluate, tmp_path):
    file = tmp_path / "clicks.csv.gz"
    rows = "".join(f"{item},{user},{MOMENT}\n" for user, item in world(40))
    file.write_bytes(gzip.compress(b"sku,who,timestamp\n" + rows.encode()))
    assert evaluate(str(file), "--column", "user_id=who")["events"] == 40


def test_the_catalogue_is_known_before_the_first_event(evaluate, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item_id,name,brand\n" + "".join(f"i{n},Thing {n},brand{n % 3}\n" for n in range(30)))
    file = written(tmp_path, world(200))
    without, beside = evaluate(file), evaluate(file, "--items", str(items))
    assert beside["scored"] == without["scored"]
    assert beside["sources"]["new"] != without["sources"]["new"] or beside["sources"]["content"] != without["sources"]["content"]


def test_bad_lines_are_told_and_the_rest_counts(tmp_path, capsys):
    file = tmp_path / "events.csv"
    file.write_text(f"user_id,item_id,timestamp\na,x,{MOMENT}\n,y,{MOMENT}\na,x,{MOMENT}\n")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(file), "--json"])
    told = capsys.readouterr()
    assert not ended.value.code
    assert json.loads(told.out)["events"] == 2
    assert ":3: " in told.err


def test_a_file_without_events_is_a_failure(evaluate, tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("user_id,item_id,timestamp\n")
    evaluate(str(file), status=1)


def test_the_table_names_the_blend_first(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", written(tmp_path, world(120))])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    names = [line[0] for line in lines if line[0] in {"blend", *SOURCES}]
    assert names[0] == "blend"
    assert sorted(names[1:]) == sorted(SOURCES)


def test_limits_above_all_there_are_change_no_figure(evaluate, tmp_path):
    file = written(tmp_path, world(300))
    free, limited = evaluate(file), evaluate(file, "--set", "models.max_users=10000", "--set", "models.max_items=10000")
    assert {name for name in free if free[name] != limited[name]} <= {"seconds", "recommend_us", "learn_us", "settings"}


def test_lists_are_counted_by_the_items_that_they_showed_also_where_these_left(tmp_path):
    shown = []
    knobs = Settings().models.model_copy(update={"max_users": 5, "max_items": 8})
    events, _ = events_of(written(tmp_path, world(200)))
    found = Evaluation(
        Settings().model_copy(update={"models": knobs}),
        events,
        witness=lambda _row, _event, ranked, run: shown.append(run.models.items.names(ranked.items[0][ranked.items[0] >= 0])),
    )
    asyncio.run(found.run())
    assert min(found.models.left().values()) > 20
    for row, names in enumerate(shown):
        listed = found.outcome.lists[row]
        assert found.items.names(listed[listed >= 0]) == names[: len(listed)]
    assert report(found, 0.0)["lists"]["known_items"] == len(events.item_ids)


def test_what_users_wish_is_passed_over(tmp_path):
    view = b'{"type":"view","user_id":"ada","item_id":"tea","timestamp":1700000000}'
    wishes = [b'{"type":"forget","user_id":"ada"}', b'{"type":"consent","user_id":"ada","properties":{"consent":false}}']
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join([view, *wishes, view, b'{"type":"consent","user_id":"ada"}']))
    events, bad = events_of(str(file))
    assert ([(one.type, one.item_id) for one in events], [one.line for one in bad]) == ([("view", "tea")] * 2, [5])
