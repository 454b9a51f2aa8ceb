"""Apache Kafka under the very settings of the compose file, turned into its files by the image's own program."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.embedded import ApacheKafka, free_port
from streams.watched import WatchedServer

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

# What depends on the machine: names and ports of the network, and where the data lies.
PLACES = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


class ComposedKafka(ApacheKafka):
    """A broker that is configured, formatted and started as the image does it, on free ports of 127.0.0.1."""

    def __init__(self, jars: Path, environment: dict[str, object]) -> None:
        heap = re.search(r"-Xmx(\w+)", str(environment["KAFKA_HEAP_OPTS"]))
        super().__init__(jars, heap=heap[1] if heap else "512m")
        self.environment = {name: str(value) for name, value in environment.items()}
        self.cluster_id = self.environment["CLUSTER_ID"]
        self.inside, self.controller = free_port(), free_port()

    def replaced(self) -> dict[str, str]:
        """The compose file's environment with this machine's places."""
        ports = {"19092": self.inside, "9092": self.port, "9093": self.controller}
        environment = dict(self.environment, KAFKA_LOG_DIRS=str(self.folder / "data"))
        for name in ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_CONTROLLER_QUORUM_VOTERS"):
            environment[name] = re.sub(
                r"(://|@)[\w.]*:(\d+)", lambda place: f"{place[1]}127.0.0.1:{ports[place[2]]}", environment[name]
            )
        return environment

    def _prepare(self) -> None:
        WatchedServer._prepare(self)
        folders = {name: self.folder / name for name in ("default", "mounted")}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        setup = ["setup", "-D", str(folders["default"]), "-M", str(folders["mounted"]), "-F", str(self.folder)]
        done = subprocess.run(
            self._java("kafka.docker.KafkaDockerWrapper", *setup),
            env={"PATH": os.environ["PATH"]} | self.replaced(),
            capture_output=True,
            text=True,
            check=False,
        )
        # The image formats at every start and takes this one refusal for success.
        assert done.returncode == 0 or "already formatted" in done.stdout + done.stderr, done.stderr


@pytest.fixture(scope="module")
def composed(kafka_jars, compose):
    with ComposedKafka(kafka_jars, compose["services"]["kafka"]["environment"]) as kafka:
        yield kafka


@pytest.fixture(scope="module")
def admin(composed):
    return AdminClient({"bootstrap.servers": composed.address})


def test_the_broker_runs_with_every_setting_of_the_file(composed, admin):
    written = dict(line.split("=", 1) for line in composed._file.read_text().splitlines() if line)
    (broker,) = admin.describe_configs([ConfigResource(ResourceType.BROKER, "1")]).values()
    applied = {name: entry.value for name, entry in broker.result(30).items()}
    excluded = {"KAFKA_HEAP_OPTS"}
    settings = [name for name in composed.environment if name.startswith("KAFKA_") and name not in excluded]
    names = {name.removeprefix("KAFKA_").lower().replace("_", "."): composed.environment[name] for name in settings}
    assert written.keys() == names.keys()
    # Kafka keeps silent about a name it does not know, but gives no value for it.
    assert {name: applied[name] for name in names.keys() - PLACES} == {
        name: value for name, value in names.items() if name not in PLACES
    }


def test_the_cluster_has_the_id_of_the_file(composed, admin):
    assert admin.list_topics(timeout=30).cluster_id == composed.environment["CLUSTER_ID"]


def test_no_topic_appears_by_a_typing_error(composed, admin):
    producer = Producer({"bootstrap.servers": composed.address, "message.timeout.ms": 3000})
    errors = []
    producer.produce("evnets", b"?", on_delivery=lambda error, _: errors.append(error))
    producer.flush(30)
    assert [error is not None for error in errors] == [True]
    assert "evnets" not in admin.list_topics(timeout=30).topics


@pytest.mark.parametrize("listener", ["inside", "port"])
def test_the_health_check_passes_when_the_broker_listens_and_not_before(composed, compose, listener):
    command = compose["services"]["kafka"]["healthcheck"]["test"]
    assert command[0] == "CMD"

    def look(port):
        words = [word.replace("/19092", f"/{port}") for word in command[1:]]
        return subprocess.run(words, capture_output=True, check=False).returncode

    assert look(getattr(composed, listener)) == 0
    assert look(free_port()) != 0


@pytest.mark.parametrize("listener", ["inside", "port"])
def test_a_record_goes_in_and_comes_out_by_either_listener(composed, admin, listener):
    address, topic = f"127.0.0.1:{getattr(composed, listener)}", f"by-{listener}"
    admin.create_topics([NewTopic(topic, 8)])[topic].result(30)
    put(address, topic, b"hello")
    assert take(address, topic) == b"hello"


def test_a_stopped_broker_comes_back_with_its_records(composed, admin):
    admin.create_topics([NewTopic("kept", 1)])["kept"].result(30)
    put(composed.address, "kept", b"still here")
    composed.restart()
    assert take(composed.address, "kept") == b"still here"


def put(address, topic, value):
    producer = Producer({"bootstrap.servers": address, "acks": "all", "enable.idempotence": True})
    errors = []
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def take(address, topic):
    consumer = Consumer({"bootstrap.servers": address, "group.id": f"test-{topic}", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        record = consumer.poll(60)
        if record is None or record.error():
            raise KafkaException(record and record.error())
        return record.value()
    finally:
        consumer.close()
