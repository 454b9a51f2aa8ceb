"""What TLS, SCRAM and pseudonyms cost a drain: the same worker with and without, in turns, on the same broker. No assertions.

python -m pytest -s tests/benchmarks/test_secured.py
"""

from __future__ import annotations

import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.embedded import RedisServer
from tests.fixtures.workers import TOPICS, Tree
from tests.live.conftest import shopping
from tests.live.test_security_live import WORKER, everything_to
from tests.outside import Outside
from tests.secured import PASSWORD, Certificates, SecuredKafka, SecuredRedis
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess

EVENTS = 60_000
RUNS = 3

pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def open_redis() -> Iterator[RedisServer]:
    """The same server as the secured one, without TLS."""
    with RedisServer(binary=shutil.which("redis-server")) as server:
        yield server


@pytest.fixture(scope="module")
def secured_kafka(kafka_jars: Path, certificates: Certificates) -> Iterator[SecuredKafka]:
    """It compiles well: its share of what TLS costs is what a shop's own would have."""
    with SecuredKafka(kafka_jars, certificates, (WORKER,), brief=False) as server:
        yield server


@pytest.fixture
def trees(
    name: Callable[[str], str],
    client_files: dict[str, str],
    secured_kafka: SecuredKafka,
    secured_redis: SecuredRedis,
    open_redis: RedisServer,
    tmp_path: Path,
) -> Callable[[str, int], Tree]:
    """Settings of a worker, secured or open, with topics of each run's own."""
    everything_to(secured_kafka, WORKER)
    login = {"security_protocol": "SASL_SSL", **client_files, "username": WORKER, "password": PASSWORD}
    files = {f"redis_{kind}": file for kind, file in client_files.items()}
    (tmp_path / "key").write_text(secrets.token_hex(32))
    (tmp_path / "key").chmod(0o600)

    def make(kind: str, run: int) -> Tree:
        own = name(f"{kind}{run}")
        ways = {
            "open": {"brokers": secured_kafka.address, "redis": open_redis.url},
            "secured": {"brokers": secured_kafka.at("SASL_SSL"), "redis": secured_redis.bare, "kafka": login} | files,
        }
        ways["hidden"] = ways["secured"] | {"pseudonyms": {"key_file": str(tmp_path / "key")}}
        topics = {role: f"{topic}-{own}" for role, topic in TOPICS.items()}
        return {"prefix": f"{own}:", "group": own, "topics": topics, "partitions": 4} | ways[kind]

    return make


def drained(tree: Tree, brokers: str, redis: str) -> float:
    """Events a second, from the first batch on, of a worker that finds them all waiting."""
    with Outside(tree | {"brokers": brokers, "redis": redis}) as outside, closing(WorkerProcess(tree)) as worker:
        worker.start()  # it makes the topics, and ends before there are events
        worker.stop()
        outside.push(*shopping(7, EVENTS, users=5_000, items=3_000))
        worker.launch()
        wait_until_sync(lambda: sum(outside.applied().values()), within=120, what="the first batch")
        begin, first = time.perf_counter(), sum(outside.applied().values())
        wait_until_sync(lambda: sum(outside.applied().values()) >= EVENTS, within=300, what="all is applied")
        return (EVENTS - first) / (time.perf_counter() - begin)


def test_what_tls_and_scram_cost_a_drain_and_pseudonyms_too(trees, secured_kafka, secured_redis, open_redis):
    rates: dict[str, list[float]] = {"open": [], "secured": [], "hidden": []}
    for run in range(RUNS):
        for kind, server in (("open", open_redis), ("secured", secured_redis), ("hidden", secured_redis)):
            rates[kind].append(drained(trees(kind, run), secured_kafka.address, server.url))
    print({kind: [round(rate) for rate in found] for kind, found in rates.items()})
    for kind in ("secured", "hidden"):
        print(f"{kind} : open = {statistics.median(rates[kind]) / statistics.median(rates['open']):.2f}")
