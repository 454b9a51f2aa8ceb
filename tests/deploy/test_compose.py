"""The compose file against its specification (compose_spec: from compose-go 2.16.2, Apache-2.0) and our other files."""

from __future__ import annotations

import copy
import json
import re
import shlex
import tomllib
from pathlib import Path

import jsonschema
import pytest
import redis
import yaml

from streams.embedded import RedisServer
from streams.settings import load

HERE = Path(__file__).parent
SERVERS = ("kafka", "redis", "worker", "prometheus")


@pytest.fixture(scope="session")
def schema():
    specification = json.loads((HERE / "compose_spec/compose-spec.json").read_text())
    return jsonschema.Draft202012Validator(specification)


@pytest.fixture(scope="session")
def worker(compose):
    return compose["services"]["worker"]


def without_anchors(compose):
    """YAML has merged them already; Compose ignores top-level x-… keys."""
    return {name: part for name, part in compose.items() if not name.startswith("x-")}


def flags(service):
    words = shlex.split(service["command"]) if isinstance(service["command"], str) else service["command"]
    return dict(zip(words[1::2], words[2::2], strict=True))


def test_the_file_follows_the_compose_specification(compose, schema):
    assert [error.message for error in schema.iter_errors(without_anchors(compose))] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "worker", "restrat"), "always"),
        (("services", "redis", "healthcheck", "retries"), ["many"]),
        (("services", "grafana", "depends_on", "prometheus", "condition"), "service_started_well"),
    ],
)
def test_the_specification_refuses_a_typing_error(compose, schema, path, value):
    broken = copy.deepcopy(compose)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not schema.is_valid(broken)


def test_whoever_waits_for_a_service_waits_for_one_that_can_become_what_it_waits_for(compose):
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} waits for {needed}"
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[needed], f"{needed} has no health check"


def test_every_service_is_watched(compose):
    without = {name for name, service in compose["services"].items() if "healthcheck" not in service}
    # The worker's is in its image.
    assert without == {"worker"}


def test_every_service_comes_back_by_itself_and_keeps_its_log_small(compose):
    for service in compose["services"].values():
        assert service["restart"] == "unless-stopped"
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", SERVERS)
def test_a_service_with_state_gets_time_to_put_it_down(compose, name):
    assert int(compose["services"][name]["stop_grace_period"].removesuffix("s")) >= 30


def test_every_image_is_pinned_by_a_full_version(compose):
    for service in compose["services"].values():
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"]), service["image"]


def test_the_workers_image_carries_the_projects_version(worker, root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert worker["image"] == f"upwell:{project['version']}"


def test_no_port_is_open_to_other_machines(compose):
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_volume_is_used_and_every_mounted_folder_exists(compose, root):
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts]
    assert {source for source in sources if not source.startswith(".")} == compose["volumes"].keys()
    for source in sources:
        assert not source.startswith(".") or (root / source).is_dir(), source


def test_two_workers_run_without_any_right_they_do_not_need(worker):
    assert worker["deploy"]["replicas"] == 2
    assert worker["read_only"]
    assert worker["tmpfs"] == ["/tmp", "/var/lib/upwell"]  # noqa: S108 - inside the container
    assert not {"privileged", "cap_add", "devices", "pid", "network_mode", "user"} & worker.keys()


def test_no_service_can_get_a_right_that_it_does_not_have(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # The images of these two write their configuration when they start.
        assert service.get("read_only", False) or name in {"kafka", "grafana"}, name


def test_there_is_a_port_for_every_worker(worker):
    first, last = map(int, re.fullmatch(r"127\.0\.0\.1:(\d+)-(\d+):6066", worker["ports"][0]).groups())
    assert last - first + 1 >= worker["deploy"]["replicas"]


def test_workers_reach_kafka_and_redis_where_they_listen(compose, worker):
    kafka = compose["services"]["kafka"]["environment"]
    assert f"INSIDE://{worker['environment']['UPWELL_BROKERS']}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert worker["environment"]["UPWELL_REDIS"] == "redis://redis:6379/0"


def test_prometheus_scrapes_the_port_that_workers_serve(worker, scraping):
    (job,) = scraping["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    assert names["names"] == ["worker"]
    assert worker["environment"]["UPWELL_HTTP"] == f"0.0.0.0:{names['port']}"


def test_every_variable_of_the_worker_is_a_setting(worker, monkeypatch):
    for name, value in worker["environment"].items():
        monkeypatch.setenv(name, value)
    loaded = load(None, {})
    for name, value in worker["environment"].items():
        assert str(setting(loaded, name)) == value


def setting(settings, variable):
    """UPWELL_HTTP is `http`; UPWELL_INTAKE_BATCH_MS is `intake.batch_ms`."""
    name = variable.removeprefix("UPWELL_").lower()
    if name in type(settings).model_fields:
        return getattr(settings, name)
    section, _, name = name.partition("_")
    return getattr(getattr(settings, section), name)


def test_grafana_finds_its_data_source_and_dashboard(compose, root, dashboard):
    provisioning = root / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/upwell.yml").read_text())["providers"]
    grafana = compose["services"]["grafana"]
    assert source["url"] == "http://prometheus:9090"
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/{dashboard['uid']}.json"


def test_redis_takes_the_settings_and_would_rather_refuse_than_forget(compose):
    settings = {name.removeprefix("--"): value for name, value in flags(compose["services"]["redis"]).items()}
    with RedisServer(settings) as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        applied = client.config_get(*settings)
    assert applied == settings | {"maxmemory": str(1 << 30), "auto-aof-rewrite-min-size": str(512 << 20)}
    assert applied["appendonly"] == "yes"
    assert applied["maxmemory-policy"] == "noeviction"
