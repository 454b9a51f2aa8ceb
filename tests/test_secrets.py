"""Every secret is set to a marker of its own, all that can fail is made to, and nothing that is written holds a marker."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from typing import get_args

import pytest
from pydantic import SecretStr

from streams import cli, settings
from streams.knobs.fields import RedisURL
from streams.security import kafka_client, redis_url
from streams.settings import load
from streams.watched import free_port
from tests.waiting import wait_until_sync

COMMANDS = [command.callback.__name__.rstrip("_") for command in cli.app.registered_commands]


@pytest.fixture
def marks() -> dict[str, str]:
    """A marker for each secret, by the name of its setting."""
    found = [name for name, field in settings._knobs() if SecretStr in get_args(field.annotation)]
    assert len(found) >= 3
    return {name: f"mark{secrets.token_hex(8)}" for name in [*found, "redis"]}


@pytest.fixture
def marked(marks: dict[str, str], client_files: dict[str, str], tmp_path) -> dict[str, str]:
    """The environment of a process with all secrets set, before servers that are not there."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
    values = {settings._variable(name): mark for name, mark in marks.items()}
    values["UPWELL_REDIS"] = f"redis://ada:{marks['redis']}@127.0.0.1:{free_port()}/0"
    files = {f"UPWELL_KAFKA_{name.upper()}": file for name, file in client_files.items()}
    login = {"UPWELL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "UPWELL_KAFKA_USERNAME": "ada"}
    (tmp_path / "events.csv").write_text("user_id,item_id,type\nada,i1,view\n", encoding="utf-8")
    return bare | values | files | login | {"UPWELL_BROKERS": f"127.0.0.1:{free_port()}"}


def said(environment: dict[str, str], *command: str, within: float = 90) -> str:
    """Everything that a command writes."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=within, check=False)
    return done.stdout + done.stderr


def upwell(environment: dict[str, str], *words: str) -> str:
    return said(environment, sys.executable, "-m", "streams.cli", *words)


def assert_unsaid(text: str, marks: dict[str, str]) -> None:
    assert text
    assert [name for name, mark in marks.items() if mark in text] == []


@pytest.mark.parametrize(
    "words",
    [
        ("doctor",),
        ("doctor", "--json"),
        ("recommend", "ada"),
        ("segments", "--json"),
        ("push", "{folder}/events.csv"),
        ("dead", "list"),
        ("reset", "--yes"),
        ("bench", "throughput"),
        ("worker", "--set", "kafka.password_file=/nowhere"),
        ("worker", "--set", "kafka.sasl_mechanism=none"),
        ("worker", "--set", "kafka.nothing=1"),
        ("worker", "--set", "redis_ca_file=/nowhere"),
        ("serve", "--set", "serve.http=nowhere"),
    ],
    ids=" ".join,
)
def test_a_command_that_fails_keeps_secrets(marked, marks, tmp_path, words):
    assert_unsaid(upwell(marked, *(word.replace("{folder}", str(tmp_path)) for word in words)), marks)


HELP = """
import sys
from streams import cli
for name in sys.argv[1:]:
    try:
        cli.main([name, "--help"])
    except SystemExit:
        pass
"""


def test_help_keeps_secrets(marked, marks):
    text = said(marked, sys.executable, "-c", HELP, *COMMANDS)
    assert text.count("Usage: upwell ") == len(COMMANDS)
    assert_unsaid(text, marks)


@pytest.mark.parametrize("command", ["worker", "serve"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_server_that_waits_for_others_keeps_secrets(marked, marks, tmp_path, command, level):
    more = {"UPWELL_LOG_LEVEL": level, "UPWELL_LOG_USER_IDS": "true", "UPWELL_HTTP": f"127.0.0.1:{free_port()}"}
    more |= {"UPWELL_SERVE_HTTP": f"127.0.0.1:{free_port()}"}
    with (tmp_path / "log").open("w") as log:
        words = [sys.executable, "-m", "streams.cli", command]
        with subprocess.Popen(words, env=marked | more, stdout=log, stderr=subprocess.STDOUT) as process:
            try:
                wait_until_sync(lambda: "the broker: " in (tmp_path / "log").read_text(), within=60, what="it waits")
            finally:
                process.send_signal(signal.SIGINT)
    assert_unsaid((tmp_path / "log").read_text(), marks)


CRASH = """
import logging, sys
from streams import app, serving, settings
def broken(self):
    loaded, knobs = self.settings, self.settings.kafka
    raise RuntimeError(f"{loaded} {loaded!r} {loaded.redis} {loaded.redis!r:s} %s %r" % (loaded.redis, knobs))
serving.Serving._open = broken
serving.Serving.on_start = lambda self: __import__("asyncio").sleep(0)
app.run(settings.load())
"""


@pytest.mark.parametrize("kind", ["console", "json"])
def test_the_trace_of_a_crash_keeps_secrets(marked, marks, kind):
    more = {"UPWELL_HTTP": f"127.0.0.1:{free_port()}", "UPWELL_LOG_FORMAT": kind}
    text = said(marked | more, sys.executable, "-c", CRASH)
    assert "RuntimeError" in text
    assert "kafka=Kafka(" in text
    assert_unsaid(text, marks)


def test_a_dump_of_the_settings_keeps_secrets(marked, marks, monkeypatch):
    for name, value in marked.items():
        monkeypatch.setenv(name, value)
    loaded = load()
    dumped = [repr(loaded), str(loaded), loaded.model_dump_json(), json.dumps(loaded.model_dump(mode="json"))]
    dumped += [repr(loaded.model_dump()), f"{loaded.redis}", "%s %r" % (loaded.redis, loaded.kafka), repr(vars(loaded))]  # noqa: UP031 - as a log writes it
    for text in dumped:
        assert_unsaid(text, marks)
    assert marks["redis"] in redis_url(loaded)
    loaded = load(
        None, {"kafka.security_protocol": "SASL_PLAINTEXT", "kafka": {"ca_file": None, "cert_file": None, "key_file": None}}
    )
    assert kafka_client(loaded)["sasl_plain_password"] == marks["kafka.password"]


def test_a_url_in_a_message_keeps_its_password():
    url = RedisURL("rediss://ada:s3cret@host/0?ssl_password=s3cret")
    assert not re.search("s3cret", f"{url} {url!r} {url:>80} {[url]} {url.masked}")
    assert url.revealed.count("s3cret") == 2
