"""The scrape configuration, the alerts and the dashboard in a real Prometheus that scrapes real metrics."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml
from prometheus_client import CollectorRegistry

from streams.metrics import BLEND, KINDS, ORIGINS, PARTS, STAGES, Metrics
from streams.models.sources import SOURCES
from streams.watched import WatchedServer
from tests.waiting import wait_until_sync

METRIC = re.compile(r"\b(?:upwell|process)_\w+")


class Shop:
    """A worker's metrics in an ordinary hour: every look finds a hundred events more."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())

    def go_on(self) -> None:
        """Let every metric say something, by the same methods as a worker."""
        self._flow()
        self._places()
        self._models()

    def _flow(self) -> None:
        self.metrics.events.inc(100)
        self.metrics.recommendations.inc(90)
        self.metrics.rekeyed.inc()
        self.metrics.forgotten.inc()
        self.metrics.merged.inc()
        self.metrics.refused_events.inc()
        self.metrics.deleted_events.inc(0)
        self.metrics.refused_records.inc(0)
        self.metrics.dead_letters.labels("decode", "not_json").inc(0.1)
        self.metrics.batch_events.observe(100)
        self.metrics.event_to_recommendation_seconds.observe([0.01] * 89 + [0.08])
        for stage in STAGES:
            self.metrics.stage_seconds.labels(stage).observe(0.002)

    def _places(self) -> None:
        for partition in range(8):
            for gauge in (self.metrics.taught_offset, self.metrics.applied_offset):
                gauge.labels(partition).inc(12)
            self.metrics.lag_events.labels(partition).set(3)
        self.metrics.learned_offset.inc(8)
        self.metrics.ready.set(1)
        self.metrics.cached_profiles.set(1000)
        for part in PARTS:
            self.metrics.ready_part.labels(part).set(1)
        for origin in ORIGINS:
            self.metrics.profiles.labels(origin).inc(30)

    def _models(self) -> None:
        for segment in range(8):
            self.metrics.segment_size.labels(segment).set(100)
        for rank, source in enumerate((BLEND, *SOURCES)):
            self.metrics.hit_rate.labels(source).set(0.3 - rank / 100)
        for kind in KINDS:
            self.metrics.evicted.labels(kind).inc(5)
        self.metrics.snapshot_seconds.observe(0.7)
        self.metrics.snapshot_bytes.set(1e6)
        self.metrics.snapshot_timestamp_seconds.set(time.time())

    def names(self) -> set[str]:
        """Names of all samples on the page."""
        return {sample.name for family in self.metrics.registry.collect() for sample in family.samples}


@contextmanager
def served(shop):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            shop.go_on()
            body, content_type = shop.metrics.exposition()
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Prometheus(WatchedServer):
    """Prometheus with the very files of the deployment, but for the way it finds workers and its hurry."""

    title = "Prometheus"

    def __init__(self, binary, files, config):
        super().__init__()
        self.binary, self.files, self.config = binary, files, config

    def _prepare(self):
        super()._prepare()
        shutil.copytree(self.files, self.folder / "etc", dirs_exist_ok=True)
        (self.folder / "etc/prometheus.yml").write_text(yaml.safe_dump(self.config))

    def _command(self):
        return [
            self.binary,
            f"--config.file={self.folder}/etc/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address={self.address}",
        ]

    def _answers(self):
        try:
            return self.get("status/flags")["storage.tsdb.path"] == f"{self.folder}/data"
        except OSError:
            return False

    def get(self, path, **parameters):
        """Answer of the API; an error is one here too."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """Values of all series of an instant query."""
        answer = self.get("query", query=expression)
        if answer["resultType"] == "scalar":
            return [float(answer["result"][1])]
        return [float(series["value"][1]) for series in answer["result"]]


@pytest.fixture(scope="module")
def shop():
    return Shop()


@pytest.fixture(scope="module")
def prometheus(prometheus_tools, root, scraping, shop):
    config = copy.deepcopy(scraping)
    config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
    with served(shop) as address:
        (job,) = config["scrape_configs"]
        job.pop("dns_sd_configs")
        job["static_configs"] = [{"targets": [address]}]
        with Prometheus(prometheus_tools[0], root / "deploy/prometheus", config) as server:
            wait_until_sync(lambda: server.query('count_over_time(up{job="upwell"}[1m]) >= 4'), what="four scrapes")
            yield server


def expressions(panels):
    return [(panel["title"], target["expr"].replace("$__rate_interval", "1m")) for panel in panels for target in panel["targets"]]


def test_prometheus_takes_the_page_as_it_is(prometheus):
    (target,) = prometheus.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


def test_every_line_of_the_dashboard_shows_figures(prometheus, panels):
    for title, expression in expressions(panels):
        values = prometheus.query(expression)
        assert values, f"{title}: {expression} gives nothing"
        assert all(map(math.isfinite, values)), f"{title}: {expression} gives {values}"


def test_the_dashboard_shows_what_the_worker_counted(prometheus):
    found = {
        "blend": prometheus.query('max(upwell_hit_rate{source="blend"})'),
        "waiting": prometheus.query("sum(upwell_lag_events)"),
        "median": prometheus.query(
            "histogram_quantile(0.5, sum by (le) (rate(upwell_event_to_recommendation_seconds_bucket[1m])))"
        ),
    }
    assert found["blend"] == [0.3]
    assert found["waiting"] == [24]
    assert 0.0075 < found["median"][0] <= 0.01


def test_every_alert_is_evaluated_and_none_fires_in_an_ordinary_hour(prometheus, alerts):
    rules = {rule["name"]: rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]}
    assert rules.keys() == {alert["alert"] for alert in alerts}
    wait_until_sync(lambda: {rule["health"] for rule in all_rules(prometheus)} == {"ok"}, what="all rules evaluated")
    for alert in alerts:
        assert prometheus.query(alert["expr"]) == [], alert["alert"]


def all_rules(prometheus):
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def test_promtool_finds_no_fault_in_the_configuration(prometheus_tools, root):
    check(prometheus_tools[1], "check", "config", root / "deploy/prometheus/prometheus.yml")


def test_promtool_finds_no_fault_in_the_page(prometheus_tools, shop):
    shop.go_on()
    # The process's own metrics are named by custom, and the client's …_created are none of ours.
    page = "".join(line for line in shop.metrics.exposition()[0].decode().splitlines(keepends=True) if "_created" not in line)
    check(prometheus_tools[1], "check", "metrics", input=page)


def test_every_alert_fires_when_it_should_and_only_then(prometheus_tools, root):
    check(prometheus_tools[1], "test", "rules", root / "tests/deploy/alerts_test.yml")


def check(promtool, *arguments, **options):
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_firing(alerts, root):
    cases = yaml.safe_load((root / "tests/deploy/alerts_test.yml").read_text())["tests"]
    fired = {try_["alertname"] for case in cases for try_ in case["alert_rule_test"] if try_["exp_alerts"]}
    assert fired == {alert["alert"] for alert in alerts}


def test_every_alert_says_how_bad_it_is_and_what_to_do(alerts):
    for alert in alerts:
        assert alert["labels"]["severity"] in {"info", "warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "action"}
        assert all(text.endswith(".") for text in alert["annotations"].values())


def test_dashboard_and_alerts_name_only_metrics_that_exist(shop, panels, alerts):
    shop.go_on()
    used = [expression for _, expression in expressions(panels)] + [alert["expr"] for alert in alerts]
    assert {name for expression in used for name in METRIC.findall(expression)} <= shop.names()


def test_every_metric_of_ours_is_on_the_dashboard(shop, panels):
    shown = " ".join(expression for _, expression in expressions(panels))
    ours = {family.name for family in shop.metrics.registry.collect() if family.name.startswith("upwell_")}
    assert {name for name in ours if name not in shown} == set()


def test_every_panel_has_its_own_place_sentence_and_data_source(dashboard, panels, root):
    source = yaml.safe_load((root / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {panel["datasource"]["uid"]} == {uid}


def test_a_panels_window_is_never_shorter_than_two_scrapes(root, scraping):
    source = yaml.safe_load((root / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
