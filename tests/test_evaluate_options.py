"""What can be asked of `upwell evaluate` beside the figures: fewer sources, a comparison, an explanation, a picture."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from streams.cli import main
from streams.evaluation.compare import RESAMPLES, compared
from streams.evaluation.recorded import events_of, recorded
from streams.evaluation.run import Evaluation
from streams.memory import Loop
from streams.models.sources import SOURCES
from streams.schemas import Event
from streams.settings import Settings

MOMENT = 1_700_000_000
VISITS = [(f"u{(7 * n) % 11}", f"i{(n * n + n // 3) % 23}", "purchase" if n % 5 == 0 else "view") for n in range(240)]


@pytest.fixture
def file(tmp_path):
    rows = "".join(f"{user},{item},{kind},{MOMENT + 60 * n}\n" for n, (user, item, kind) in enumerate(VISITS))
    path = tmp_path / "events.csv"
    path.write_text("user_id,item_id,event,timestamp\n" + rows)
    return str(path)


@pytest.fixture
def run(file, capsys):
    """Run the command over the file: status, its JSON object, and what it said beside."""

    def call(*arguments: str) -> tuple[int, dict, str]:
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", file, *arguments, "--json"])
        told = capsys.readouterr()
        return ended.value.code or 0, json.loads(told.out) if told.out else {}, told.err

    return call


def timeless(found: dict) -> dict:
    return {name: value for name, value in found.items() if name not in {"seconds", "recommend_us", "learn_us"}}


def test_types_keep_an_item_out_only_after_such_an_event(run):
    bought: set[tuple[str, str]] = set()
    met: set[str] = set()
    counted = 0
    for user, item, kind in VISITS:
        counted += user in met and (user, item) not in bought
        met.add(user)
        bought |= {(user, item)} if kind == "purchase" else set()
    _, found, _ = run("--exclude", "purchase,dislike", "--warmup", "0")
    assert found["scored"] == counted
    assert found["protocol"]["exclude"] == "purchase,dislike"
    assert run("--exclude", "none,purchase")[0] == 2


def test_with_some_sources_the_others_say_nothing(run):
    status, found, _ = run("--sources", "popular,covisit")
    assert (status, list(found["sources"]), found["settings"]["sources"]) == (0, ["covisit", "popular"], ["covisit", "popular"])
    whole = run()[1]
    assert found["sources"]["popular"] == whole["sources"]["popular"]
    assert found["blend"] != whole["blend"]


def test_an_unknown_source_is_refused_with_the_names_of_all(run):
    status, _, said = run("--sources", "popular,magic")
    assert status == 2
    assert "magic" in said
    assert "neighbors" in said


def test_a_silent_source_brings_no_candidate_and_no_feature():
    silent: list[np.ndarray] = []
    events = recorded(Event(kind, user, item, MOMENT + n, MOMENT + n) for n, (user, item, kind) in enumerate(VISITS))
    settings = Settings(exclude="none", models={"sources": "repeat,next"})
    evaluation = Evaluation(settings, events, 50, lambda _row, _event, ranked, _run: silent.append(ranked.features))
    asyncio.run(evaluation.run())
    features = np.concatenate(silent)
    heard = [place for place, name in enumerate(SOURCES) if name in {"repeat", "next"}]
    deaf = [place for place in range(len(SOURCES)) if place not in heard]
    assert features[:, heard].any(axis=1).all()
    assert not features[:, deaf].any()
    assert not features[:, [len(SOURCES) + place for place in deaf]].any()


def test_the_seed_is_told_and_changes_the_blend(run):
    first, second, again = (run("--seed", seed)[1] for seed in ("1", "2", "1"))
    assert first["settings"]["seed"] == [1, 1]
    assert timeless(first) == timeless(again)
    assert first["ranks"] != second["ranks"]


def test_figures_do_not_depend_on_the_order_of_hashes(file):
    def told(seed: str) -> dict:
        run = [sys.executable, "-m", "streams.cli", "evaluate", file, "--json", "--exclude", "purchase", "--explain", "u3"]
        done = subprocess.run(run, capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        return timeless(json.loads(done.stdout))

    assert told("1") == told("2")


def test_a_run_beside_itself_differs_by_nothing(run, tmp_path):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(run()[1]))
    _, found, _ = run("--compare", str(before))
    for measure, one in found["compared"].items():
        assert one == {"before": found["blend"][measure], "now": found["blend"][measure], "difference": 0, "low": 0, "high": 0}


def test_a_run_with_fewer_sources_is_told_to_be_worse(run, tmp_path):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(run()[1]))
    found = run("--compare", str(before), "--sources", "new")[1]
    one = found["compared"]["hr@20"]
    assert one["difference"] == pytest.approx(one["now"] - one["before"], abs=2e-6)
    assert one["low"] <= one["difference"] <= one["high"]
    assert one["high"] < 0


@pytest.mark.parametrize(
    ("made", "said"),
    [(["--limit", "200"], "other events"), (["--warmup", "0.5"], "--warmup"), (["--exclude", "seen"], "--exclude")],
)
def test_runs_that_counted_other_events_are_not_compared(run, tmp_path, made, said):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(run(*made)[1]))
    status, _, told = run("--compare", str(before))
    assert status == 1
    assert said in told


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": {}, "ranks": 3}', "\x00"])
def test_what_is_no_run_is_not_compared(run, tmp_path, text):
    before = tmp_path / "before.json"
    before.write_text(text)
    status, _, told = run("--compare", str(before))
    assert status == 1
    assert "upwell evaluate EVENTS --json" in told


def test_a_run_with_damaged_ranks_is_not_compared(run, tmp_path):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(run()[1] | {"ranks": "AAAA"}))
    status, _, told = run("--compare", str(before))
    assert status == 1
    assert "damaged" in told


def test_users_are_drawn_with_all_they_did():
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(400, dtype=np.int32), 5)
    # Each user gains or loses on all events alike: as if there were one event a user.
    before, now = np.repeat(rng.integers(0, 2, (2, 400)), 5, axis=1).astype(np.uint8)
    found = compared(before, now, users)["hr@10"]
    error = np.std(now.astype(float) - before) / 20
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert compared(before, now, users) == compared(before, now, users)
    assert RESAMPLES == 1000


def test_an_explanation_names_the_item_where_its_rank_says(run):
    _, found, _ = run("--explain", "u3", "--warmup", "0")
    told = found["explained"]
    mine = [n for n, (user, _, _) in enumerate(VISITS) if user == "u3"]
    assert told["user_id"] == "u3"
    assert [one["event"] for one in told["events"]] == mine[1:]
    hits = 0
    for one in told["events"]:
        assert one["item_id"] == VISITS[one["event"]][1]
        tops = {name: said["top"] for name, said in one["sources"].items()}
        tops["blend"] = [item["item_id"] for item in one["blend"]["top"]]
        for name, said in [*one["sources"].items(), ("blend", one["blend"])]:
            if said["rank"] is not None and said["rank"] <= 3:
                assert tops[name][said["rank"] - 1] == one["item_id"]
                hits += 1
            else:
                assert one["item_id"] not in tops[name]
        assert all(reason["source"] in SOURCES for item in one["blend"]["top"] for reason in item["reasons"])
    assert hits > 5


def test_an_explanation_is_a_table_for_people(file, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", file, "--explain", "u3", "--limit", "120"])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "user u3 met item" in out
    assert out.count("its first three") > 3


def test_a_user_who_is_not_there_cannot_be_explained(run):
    assert "u0" in run("--explain", "nobody")[2]
    status, _, said = run("--explain", VISITS[3][0], "--limit", "5", "--warmup", "0.9")
    assert status == 1
    assert "--warmup 0" in said


def test_pictures_are_drawn_alike_every_time_and_need_nothing_from_outside(run, tmp_path):
    pytest.importorskip("matplotlib")
    for name, start in {"a.png": b"\x89PNG", "a.svg": b"<?xml", "a.html": b"<!doctype html>"}.items():
        drawn = []
        for _ in range(2):
            assert run("--plot", str(tmp_path / name))[0] == 0
            drawn.append((tmp_path / name).read_bytes())
        assert drawn[0].startswith(start)
        assert drawn[0] == drawn[1]
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    svg = re.search(r"<svg.*</svg>", page, re.DOTALL)
    assert svg
    assert ET.fromstring(svg[0]).tag.endswith("svg")  # noqa: S314 - drawn a moment ago
    assert not re.search(r"<script|<link|<img|@import|src=|url\((?!#)", page)
    assert all(f"<th>{name}</th>" in page for name in ("blend", *SOURCES))


def test_a_picture_of_an_unknown_format_is_refused_before_the_work(run, tmp_path):
    status, found, said = run("--plot", str(tmp_path / "a.pdf"))
    assert (status, found) == (1, {})
    assert ".html" in said


def test_without_matplotlib_the_command_says_how_to_get_it(file, tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from streams.cli import main; main(sys.argv[1:])"
    run = [sys.executable, "-c", code, "evaluate", file, "--plot", str(tmp_path / "a.png")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["upwell: --plot needs matplotlib: pip install 'upwell[plot]'"]


def test_lessons_folded_without_the_log_leave_the_same_models(monkeypatch):
    events = recorded(Event(kind, user, item, MOMENT + n, MOMENT + n) for n, (user, item, kind) in enumerate(VISITS))

    def folded() -> dict[str, bytes]:
        evaluation = Evaluation(Settings(exclude="none"), events)
        asyncio.run(evaluation.run())
        return {name: array.tobytes() for name, array in evaluation.models.arrays().items()}

    direct = folded()
    monkeypatch.setattr(Loop, "learn", lambda loop, observed, scored: loop.append(loop.pipeline.teach(observed, scored)))
    assert folded() == direct


def test_recorded_events_are_what_came_and_take_28_bytes_each(file):
    events, bad = events_of(file)
    assert (len(events), bad) == (len(VISITS), [])
    assert [(one.user_id, one.item_id, one.type, one.time) for one in events] == [
        (*visit, MOMENT + 60.0 * n) for n, visit in enumerate(VISITS)
    ]
    assert sum(column.nbytes for column in events.columns()) == 28 * len(VISITS)


def test_the_fingerprint_is_of_the_events_not_of_the_file(file, tmp_path):
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    other = tmp_path / "reversed.csv"
    other.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    (same, _), (fewer, _) = events_of(str(other)), events_of(file, limit=239)
    assert same.fingerprint() == events_of(file)[0].fingerprint() != fewer.fingerprint()
