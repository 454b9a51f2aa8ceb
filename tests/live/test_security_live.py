"""A whole service over TLS, certificates on both sides and logins; and what is said where any of it is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from streams.admission import kafka_refusal
from streams.settings import Settings
from streams.watched import free_port
from tests.fixtures.workers import Tree
from tests.live.conftest import assert_everything, shopping
from tests.outside import Outside
from tests.secured import KEY_PASSWORD, PASSWORD, SecuredKafka, SecuredRedis
from tests.worker import WorkerProcess, environment

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

REFUSED = 3
WORKER = "upwell-worker"


@pytest.fixture
def login(client_files: dict[str, str]) -> dict[str, str]:
    """The section `kafka` of a client that every listener but the open one lets in, where it takes so much."""
    return {"security_protocol": "SASL_SSL", **client_files, "username": WORKER, "password": PASSWORD}


def everything_to(kafka: SecuredKafka, user: str) -> None:
    """Let a user do everything; tests/live/test_rights_live.py is about who needs what."""
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
    kinds = {ResourceType.TOPIC: "*", ResourceType.GROUP: "*", ResourceType.BROKER: "kafka-cluster"}
    bindings = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation.ALL, AclPermissionType.ALLOW)
        for kind, name in kinds.items()
    ]
    for done in admin.create_acls(bindings).values():
        done.result(30)


@pytest.fixture
def secured_tree(
    options: Callable[..., Tree],
    login: dict[str, str],
    client_files: dict[str, str],
    secured_kafka: SecuredKafka,
    secured_redis: SecuredRedis,
    tmp_path: Any,
) -> Tree:
    """Settings of a worker by mutual TLS and SCRAM, its passwords in files."""
    everything_to(secured_kafka, WORKER)
    (tmp_path / "kafka").write_text(PASSWORD + "\n", encoding="utf-8")
    named = {name: value for name, value in login.items() if name != "password"} | {"password_file": str(tmp_path / "kafka")}
    files = {f"redis_{name}": value for name, value in client_files.items()}
    secure = {"brokers": secured_kafka.at("SASL_SSL"), "redis": secured_redis.bare, "kafka": named}
    return options(secured_kafka, partitions=3) | secure | files


@pytest.fixture
def plain_sight(secured_tree: Tree, secured_kafka: SecuredKafka, secured_redis: SecuredRedis, stack: Any) -> Outside:
    """Clients of the same topics and keys, as the user that may do everything."""
    return stack.enter_context(Outside(secured_tree | {"brokers": secured_kafka.address, "redis": secured_redis.url}))


def launched(tree: Tree, stack: Any) -> WorkerProcess:
    process = WorkerProcess(tree)
    stack.callback(process.close)
    return process


def upwell(tree: Tree, *words: str) -> tuple[int, str, str]:
    """Run a command with these settings: its status, what it prints and what it complains of."""
    with started(tree, *words) as process:
        out, told = process.communicate(timeout=90)
    return process.returncode, out, told


@contextmanager
def started(tree: Tree, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command with these settings; it is ended with the block."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
    command, pipe = [sys.executable, "-m", "streams.cli", *words], subprocess.PIPE
    with subprocess.Popen(command, env=bare | environment(tree), stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_events_in_recommendations_out_all_over_mutual_tls_and_scram(secured_tree, plain_sight, stack, tmp_path):
    worker = launched(secured_tree, stack).start()
    events = shopping(41, 300, users=30)
    places = plain_sight.push(*events)
    # The catalogue goes by Faust's own clients.
    plain_sight.send("items", [(b"i1", b'{"item_id": "i1", "name": "Tea", "category": "drinks"}')])
    assert_everything(plain_sight, events, places)
    plain_sight.wait(lambda: plain_sight.hash("item:i1").get("name") == "Tea", "the catalogue is in Redis")
    (tmp_path / "more.csv").write_text("user_id,item_id,type\nada,i1,view\n", encoding="utf-8")
    code, _, told = upwell(secured_tree, "push", str(tmp_path / "more.csv"))
    assert code == 0, told
    plain_sight.settle()
    code, out, told = upwell(secured_tree, "recommend", "ada", "--json")
    assert (code, '"user_id": "ada"' in out) == (0, True), told
    code, out, told = upwell(secured_tree, "doctor", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True), out + told
    worker.stop()
    assert worker.exit_code == 0, worker.words()
    assert PASSWORD not in worker.words()


def refusal(tree: Tree, stack: Any) -> str:
    """Start a worker that must refuse; gives the one line that says why."""
    code, words = launched(tree, stack).run(within=60)
    assert code == REFUSED, words
    assert "Traceback" not in words
    assert PASSWORD not in words
    (line,) = [line for line in words.splitlines() if line.startswith("upwell: ")]
    return line


@pytest.mark.parametrize(
    ("listener", "change", "said"),
    [
        ("SASL_SSL", {"password": "wrong"}, "refuses the login of 'upwell-worker' by SCRAM-SHA-512"),
        ("SASL_SSL", {"ca_file": "of strangers"}, "shows a certificate that does not hold"),
        ("SASL_PLAINTEXT", None, "wants a login, by PLAIN or SCRAM-SHA-256"),
    ],
)
def test_a_worker_that_is_not_let_in_says_so_at_once_and_ends(
    secured_tree, login, strangers, secured_kafka, stack, listener, change, said
):
    changed = {name: strangers.ca if value == "of strangers" else value for name, value in (change or {}).items()}
    tree = secured_tree | {"brokers": secured_kafka.at(listener), "kafka": {} if change is None else login | changed}
    line = refusal(tree, stack)
    assert said in line
    assert "To mend it: " in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redis_ca_file": "of strangers"}, "Redis shows a certificate that does not hold"),
        ({"redis_cert_file": "", "redis_key_file": ""}, "Redis refuses this client's certificate"),
        ({"redis": "with a wrong password"}, "Redis refuses user or password"),
    ],
)
def test_a_worker_that_redis_does_not_let_in_says_so_and_ends(secured_tree, strangers, secured_redis, stack, change, said):
    meant = {"of strangers": strangers.ca, "with a wrong password": secured_redis.bare.replace("//", "//ada:wrong@")}
    line = refusal(secured_tree | {name: meant.get(value, value) for name, value in change.items()}, stack)
    assert said in line
    assert "wrong" not in line.replace("WRONGPASS", "")


def test_a_command_that_is_not_let_in_says_so_in_one_sentence(secured_tree, login, tmp_path):
    (tmp_path / "one.csv").write_text("user_id,item_id,type\nada,i1,view\n", encoding="utf-8")
    code, out, told = upwell(secured_tree | {"kafka": login | {"password": "wrong"}}, "push", str(tmp_path / "one.csv"))
    assert (code, out) == (1, "")
    assert "refuses the login of 'upwell-worker'" in told
    assert "Traceback" not in told
    code, out, told = upwell(secured_tree | {"redis_ca_file": str(tmp_path / "none.pem")}, "recommend", "ada")
    assert (code, out) == (2, "")
    assert "redis_ca_file is" in told


class TestListeners:
    """What each kind of listener takes, and what is said where a client comes as it is not taken."""

    @pytest.fixture
    async def ask(self, secured_kafka, login, client_files, strangers, certificates):
        """Knock at a listener: with TLS, with a login, and with changes of the section `kafka`."""
        foreign = dict(zip(("cert_file", "key_file"), strangers.issue("client"), strict=True))
        locked = {"key_file": certificates.locked(client_files["key_file"]), "key_password": KEY_PASSWORD}
        meant = {"with a stranger's": foreign, "with a locked": locked, "without a": {"cert_file": None, "key_file": None}}

        async def ask(listener: str, protocol: str, change: str = "", **more: object):
            section = {"security_protocol": protocol}
            section |= client_files if protocol.endswith("SSL") else {}
            section |= {"username": login["username"], "password": PASSWORD} if protocol.startswith("SASL") else {}
            section |= meant.get(change, {})
            address = secured_kafka.address if listener == "PLAINTEXT" else secured_kafka.at(listener)
            return str(await kafka_refusal(Settings(brokers=address, kafka=section | more)) or "")

        return ask

    @pytest.mark.parametrize(
        ("listener", "change", "more"),
        [
            ("PLAINTEXT", "", {}),
            ("SSL", "", {}),
            ("SSL", "with a locked", {}),
            ("SASL_SSL", "", {}),
            ("SASL_PLAINTEXT", "", {"sasl_mechanism": "PLAIN"}),
            ("SASL_PLAINTEXT", "", {"sasl_mechanism": "SCRAM-SHA-256"}),
        ],
    )
    async def test_lets_in_who_comes_as_it_wants(self, ask, listener, change, more):
        assert await ask(listener, listener, change, **more) == ""

    @pytest.mark.parametrize(
        ("listener", "protocol", "change", "more", "said"),
        [
            ("SSL", "SSL", "without a", {}, "refuses this client's certificate"),
            ("SSL", "SSL", "with a stranger's", {}, "refuses this client's certificate"),
            ("SSL", "PLAINTEXT", "", {}, "speaks TLS only"),
            ("SSL", "SASL_SSL", "", {}, "takes no login"),
            ("SASL_SSL", "SSL", "", {}, "wants a login, by SCRAM-SHA-512"),
            ("SASL_SSL", "SASL_SSL", "", {"username": "upwell-unknown"}, "refuses the login of 'upwell-unknown'"),
            ("SASL_PLAINTEXT", "SASL_PLAINTEXT", "", {"sasl_mechanism": "PLAIN", "password": "no"}, "refuses the login"),
            ("SASL_PLAINTEXT", "SASL_PLAINTEXT", "", {}, "takes no login by SCRAM-SHA-512"),
            ("PLAINTEXT", "SSL", "", {}, "speaks no TLS"),
            ("PLAINTEXT", "SASL_PLAINTEXT", "", {"sasl_mechanism": "PLAIN"}, "takes no login"),
        ],
    )
    async def test_says_what_it_wants(self, ask, listener, protocol, change, more, said):
        told = await ask(listener, protocol, change, **more)
        assert said in told
        assert "To mend it: " in told
        assert PASSWORD not in told

    async def test_is_waited_for_where_nobody_listens(self, login):
        assert await kafka_refusal(Settings(brokers=f"127.0.0.1:{free_port()}", kafka=login)) is None

    async def test_is_enough_when_one_of_two_lets_in(self, secured_kafka, login):
        both = f"{secured_kafka.at('SASL_PLAINTEXT')},{secured_kafka.at('SASL_SSL')}"
        assert await kafka_refusal(Settings(brokers=both, kafka=login)) is None
