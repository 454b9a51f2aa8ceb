"""The rights in docs/security.md suffice, and where one is taken away, what fails names it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from streams.settings import Settings
from streams.topics import topics
from tests.fixtures.workers import Tree
from tests.live.conftest import shopping
from tests.live.test_security_live import REFUSED, launched, refusal, started, upwell
from tests.outside import Outside, assert_exact, event
from tests.secured import PASSWORD, SecuredKafka, SecuredRedis
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in DOCUMENT.splitlines() if line.startswith("acl --")]
RULES = re.findall(r"^ACL SETUSER (\S+) (.*)$", DOCUMENT, re.MULTILINE)
KINDS = {"--topic": ResourceType.TOPIC, "--group": ResourceType.GROUP, "--transactional-id": ResourceType.TRANSACTIONAL_ID}
LITERAL, ALLOW = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
DEFAULTS = Settings().topics.model_dump(exclude={"replication", "min_insync"})


def bindings(user: str, tree: Tree) -> list[AclBinding]:
    """The document's rights of a user, on this test's topics and groups."""
    parser = argparse.ArgumentParser()
    for option in ("--allow-principal", *KINDS):
        parser.add_argument(option)
    parser.add_argument("--operation", action="append")
    own = {DEFAULTS[role]: name for role, name in tree["topics"].items()}
    found = []
    for words in COMMANDS:
        given = parser.parse_args(words)
        if given.allow_principal == f"User:{user}":
            (kind, name) = next((KINDS[word], words[words.index(word) + 1]) for word in KINDS if word in words)
            if kind is not ResourceType.TOPIC:
                name = name.replace("upwell", tree["group"], 1).replace(DEFAULTS["dead"], tree["topics"]["dead"])
            found += [
                AclBinding(kind, own.get(name, name), LITERAL, given.allow_principal, "*", _operation(one), ALLOW)
                for one in given.operation
            ]
    assert found, user
    return found


def _operation(name: str) -> AclOperation:
    return AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()]


@pytest.fixture
def admin(secured_kafka: SecuredKafka) -> Iterator[AdminClient]:
    """The user that may do everything; afterwards nobody else has any right."""
    client = AdminClient({"bootstrap.servers": secured_kafka.address, "log_level": 0})
    _take(client)
    yield client
    _take(client)


def _take(admin: AdminClient, kind: ResourceType = ResourceType.ANY, name: str | None = None, operation: str = "Any") -> None:
    """Take rights away: all, or one."""
    any_pattern = ResourcePatternType.ANY
    wanted = AclBindingFilter(kind, name, any_pattern, None, None, _operation(operation), AclPermissionType.ANY)
    for done in admin.delete_acls([wanted]).values():
        done.result(30)


@pytest.fixture
def tree(
    options: Callable[..., Tree],
    client_files: dict[str, str],
    secured_kafka: SecuredKafka,
    secured_redis: SecuredRedis,
    admin: AdminClient,
) -> Tree:
    """Settings without users, and the topics but for the one that a redrive makes, made by somebody who may."""
    files = {f"redis_{name}": value for name, value in client_files.items()}
    kafka = {"security_protocol": "SASL_SSL", **client_files, "password": PASSWORD}
    found = options(secured_kafka, partitions=3) | {"brokers": secured_kafka.at("SASL_SSL"), "redis": secured_redis.bare}
    made = [
        NewTopic(topic.name, topic.partitions or 3, config=dict(topic.config))
        for role, topic in topics(Settings(topics=found["topics"])).items()
        if role != "redriven"
    ]
    for done in admin.create_topics(made).values():
        done.result(30)
    return found | files | {"kafka": kafka, "snapshot": {"seconds": 1}}


@pytest.fixture
def given(tree: Tree, admin: AdminClient, secured_redis: SecuredRedis, tmp_path: Path) -> Callable[..., Tree]:
    """Give users the document's rights in Kafka and in Redis; gives the settings with which they log in."""
    (tmp_path / "password").write_text(PASSWORD, encoding="utf-8")

    def give(in_kafka: str = "upwell-nobody", in_redis: str | None = None, without: str = "") -> Tree:
        for done in admin.create_acls(bindings(in_kafka, tree)).values() if in_kafka != "upwell-nobody" else ():
            done.result(30)
        own = {"kafka": tree["kafka"] | {"username": in_kafka}}
        if in_redis is None:
            return tree | own
        (rule,) = [rule for user, rule in RULES if user == in_redis]
        words = [
            word.replace("PASSWORD", PASSWORD).replace("upwell:", tree["prefix"]) for word in rule.split() if word != without
        ]
        with redis.Redis.from_url(secured_redis.url) as client:
            client.execute_command("ACL SETUSER", in_redis, "reset", *words)
        url = secured_redis.bare.replace("//", f"//{in_redis}@")
        return tree | own | {"redis": url, "redis_password_file": str(tmp_path / "password")}

    return give


@pytest.fixture
def outside(tree: Tree, secured_kafka: SecuredKafka, secured_redis: SecuredRedis, stack: Any) -> Outside:
    """Clients that may do everything."""
    return stack.enter_context(Outside(tree | {"brokers": secured_kafka.address, "redis": secured_redis.url}))


def settled(settings: Tree, *words: str) -> Any:
    """Run a command that must succeed; what it prints as JSON."""
    return printed(settings, *words, "--json")


def printed(settings: Tree, *words: str) -> Any:
    """Run a command that must succeed and prints nothing but JSON."""
    code, out, told = upwell(settings, *words)
    assert code == 0, out + told
    return json.loads(out)


def test_what_each_command_needs_is_enough(given, outside, stack, tmp_path):
    worker = launched(given("upwell-worker", "upwell-worker"), stack).start()
    events = shopping(43, 400, users=40)
    outside.push(*events)
    outside.send("items", [(b"i1", b'{"item_id": "i1", "name": "Tea", "category": "drinks"}'), (b"i2", b"no item")])
    outside.send("events", [(b"ada", b"no event"), (b"ada", b"{}")])
    outside.wait(lambda: outside.hash("item:i1").get("name") == "Tea", "the catalogue is in Redis")
    (tmp_path / "more.csv").write_text("user_id,item_id,type\nada,i1,view\n", encoding="utf-8")
    (tmp_path / "items.csv").write_text("item_id,name\ni3,Cup\n", encoding="utf-8")
    push = given("upwell-push")
    assert settled(push, "push", str(tmp_path / "more.csv"))["sent"] == 1
    assert settled(push, "push", "--items", str(tmp_path / "items.csv"))["sent"] == 1
    outside.wait(lambda: outside.hash("item:i3").get("name") == "Cup", "the entry that was pushed is in Redis")
    outside.settle()
    assert_exact(outside, [*events, event("ada", "i1")])
    # The log below two snapshots is deleted.
    outside.wait(lambda: outside.begin("learned") > 0, "the log is truncated")
    reader = given(in_redis="upwell-reader")
    assert settled(reader, "recommend", "ada")["user_id"] == "ada"
    for words in (("user", "ada"), ("item", "i1"), ("segments",), ("trending",)):
        settled(reader, *words)
    redrive = given("upwell-redrive")
    letters = settled(redrive, "dead", "list")
    assert letters["total"] == 3
    assert settled(redrive, "dead", "inspect", letters["dead"][0]["place"])["fault"]
    assert settled(redrive, "dead", "redrive")["redriven"] == 3
    assert settled(redrive, "dead", "redrive")["redriven"] in {0, 3}  # what came back meanwhile is new
    privacy = given("upwell-privacy", "upwell-privacy")
    told = printed(privacy, "export", "ada", "--topics")
    assert (told["profile"]["user_id"], {one["topic"] for one in told["messages"]}) == (
        "ada",
        {outside.topics[role] for role in ("events", "recommendations", "dead")},
    )
    (certificate,) = settled(privacy, "forget", "ada")["certificates"]
    assert certificate["verdict"] == "no trace is left"
    assert all(one["until"] for one in certificate["operator"])
    operator = given("upwell-operator", "upwell-operator")
    checks = settled(operator, "doctor")["checks"]
    assert [check for check in checks if not check["ok"] or "not there" in check["found"]] == []
    worker.stop()
    assert worker.exit_code == 0, worker.words()
    assert "WARNING" not in worker.words()
    assert settled(operator, "reset", "--yes")["reset"] == []
    assert settled(operator, "reset", "--yes", "--models")["reset"]


def test_what_a_rebuild_needs_is_enough(given, outside, stack):
    settings = given("upwell-worker", "upwell-worker")
    worker = launched(settings, stack).start()
    outside.push(*shopping(45, 100, users=10))
    outside.settle()
    worker.stop()
    with started(given("upwell-operator", "upwell-operator"), "rebuild", "--yes", "--json") as rebuild:
        said = rebuild.stderr.readline()
        assert "start the workers now" in said
        launched(settings, stack).start()
        out, told = rebuild.communicate(timeout=90)
    assert (rebuild.returncode, json.loads(out)["events"]) == (0, 100), told


@pytest.mark.parametrize(
    ("kind", "role", "operation", "said"),
    [
        (ResourceType.TOPIC, "learned", "Write", "WRITE"),
        (ResourceType.TOPIC, "items", "Read", "items"),
        (ResourceType.TOPIC, "recommendations", "Write", "CREATE the topic recommendations"),
        (ResourceType.GROUP, "", "Read", "READ the group group-"),
    ],
)
def test_without_a_right_in_kafka_a_worker_ends_and_names_it(given, admin, stack, tree, outside, kind, role, operation, said):
    settings = given("upwell-worker", "upwell-worker")
    _take(admin, kind, tree["topics"].get(role, tree["group"]), operation)
    outside.push({"user_id": "ada", "item_id": "tea", "type": "view"})
    assert said in refusal(settings, stack)


def test_without_delete_the_log_stays_and_the_worker_says_so(given, admin, stack, tree, outside):
    settings = given("upwell-worker", "upwell-worker")
    _take(admin, ResourceType.TOPIC, tree["topics"]["learned"], "Delete")
    worker = launched(settings, stack).start()
    outside.push(*shopping(44, 50, users=5))
    wait_until_sync(lambda: "the learned log keeps what lies below" in worker.words(), within=60, what="the worker says so")
    assert "TopicAuthorizationFailedError" in worker.words()


def test_without_a_right_to_its_transactions_a_redrive_says_so(given, admin):
    settings = given("upwell-redrive")
    _take(admin, ResourceType.TRANSACTIONAL_ID)
    code, _, told = upwell(settings, "dead", "redrive")
    assert code == 1
    assert told.startswith("upwell: Kafka does not give this user the right to WRITE the transactional id group-"), told


def test_the_doctor_names_the_right_that_is_missing(given, admin, tree, outside):
    topic = tree["topics"]["learned"]
    outside.send("learned", [(None, b"x")])
    settings = given("upwell-operator", "upwell-operator")
    _take(admin, ResourceType.TOPIC, topic, "Read")
    code, out, told = upwell(settings, "doctor", "--json")
    found = {one["check"]: one for one in json.loads(out)["checks"]}
    assert (code, found["redis"]["ok"], found["brokers"]["ok"]) == (1, True, True), told
    assert f"the topic {topic}" in found["learned log"]["found"]
    assert "kafka-acls.sh" in found["learned log"]["fix"]
    _take(admin, ResourceType.TOPIC, tree["topics"]["events"], "Read")
    _, out, told = upwell(settings, "doctor", "--json")
    found = {one["check"]: one["found"] for one in json.loads(out)["checks"]}
    assert "no right to DESCRIBE it" in found[f"topic {tree['topics']['events']}"], told


def test_the_doctor_looks_at_what_a_workers_login_may_do(given, admin, tree):
    def looked(settings: Tree, wanted: str) -> Any:
        """Brokers learn of a right a little later."""

        def found() -> Any:
            checks = json.loads(upwell(settings, "doctor", "--json")[1])["checks"]
            return next((one for one in checks if one["check"] == "kafka rights" and wanted in one["found"]), None)

        return wait_until_sync(found, within=30, what=f"the doctor says: {wanted}")

    worker = given("upwell-worker", "upwell-operator")
    assert looked(worker, "may do with the topics what a worker does")["ok"]
    # Who looks after it all need not be allowed to write recommendations.
    assert looked(given("upwell-operator", "upwell-operator"), "none for workers")["ok"]
    segments, events = tree["topics"]["segments"], tree["topics"]["events"]
    _take(admin, ResourceType.TOPIC, segments, "Write")
    _take(admin, ResourceType.TOPIC, events, "Write")
    told = looked(worker, f"may not WRITE the topic {events}, WRITE the topic {segments}")
    assert not told["ok"]
    assert "kafka-acls.sh" in told["fix"]


def test_the_doctor_says_that_a_login_is_refused(given):
    settings = given("upwell-operator", "upwell-operator")
    wrong = settings | {"kafka": settings["kafka"] | {"password": "wrong"}}
    _, out, _ = upwell(wrong, "doctor", "--json")
    (brokers,) = [one for one in json.loads(out)["checks"] if one["check"] == "brokers"]
    assert "refuses the login of 'upwell-operator' by SCRAM-SHA-512" in brokers["found"]


@pytest.mark.parametrize("command", ["eval", "hgetall"])
def test_without_a_command_of_redis_a_worker_ends_and_names_it(given, stack, outside, command):
    settings = given("upwell-worker", "upwell-worker", without=f"+{command}")
    outside.push({"user_id": "ada", "item_id": "tea", "type": "view"})
    line = refusal(settings, stack)
    assert f"'{command}' command" in line
    assert "docs/security.md" in line


def commands_of(user: str) -> Iterable[str]:
    (rule,) = [rule for name, rule in RULES if name == user]
    return [word for word in rule.split() if word.startswith("+") and word != "+ping"]


@pytest.mark.parametrize("word", commands_of("upwell-reader"))
def test_every_command_of_a_reader_is_needed(given, word):
    settings = given(in_redis="upwell-reader", without=word)
    needs = {"+hmget": ("recommend", "ada"), "+hgetall": ("segments",), "+zrevrange": ("trending",)}
    code, _, told = upwell(settings, *needs[word])
    assert (code, f"'{word[1:]}' command" in told) == (1, True), told


def test_a_user_without_rights_is_told_so(given, tmp_path):
    (tmp_path / "one.csv").write_text("user_id,item_id,type\nada,i1,view\n", encoding="utf-8")
    code, _, told = upwell(given(), "push", str(tmp_path / "one.csv"))
    assert code in {1, REFUSED}
    assert "CREATE the topic events-" in told
    assert "docs/security.md" in told
