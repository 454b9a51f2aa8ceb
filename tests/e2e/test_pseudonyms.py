"""With a key no id of a user is anywhere in what the service stores or says, but in the messages that answer the user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
import zlib
from contextlib import closing

import pytest

from streams.embedded import RedisServer
from streams.pseudonyms import Pseudonyms
from tests.e2e.conftest import renamed
from tests.outside import Outside, event
from tests.waiting import wait_until_sync
from tests.worker import WorkerProcess, environment

MARK = "PERSON-7f3a"
KEY = b"0123456789abcdef0123456789abcdef"
USERS, ITEMS = 24, 12


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "pseudonyms"
    file.write_bytes(KEY)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def tree(shared_tree, key):
    with RedisServer() as redis:
        own = {"redis": redis.url, "snapshot": {"seconds": 1}, "segments": {"k": 2}, "pseudonyms": {"key_file": str(key)}}
        yield renamed(shared_tree, "hidden", **own)


def events(first):
    for n in range(first, first + 700):
        user = n * 7 % USERS
        yield event(f"{MARK}-{user}", f"i{user % 2 * ITEMS + n * 5 % (ITEMS - 1)}", event_id=f"e{n}")


def batched(sent, size):
    """Give so many at a time."""
    rest = list(sent)
    return [rest[n : n + size] for n in range(0, len(rest), size)]


def served(tree, outside, first):
    """Let a worker answer some events and save what it learned; give all that it said, pages and log."""
    worker = WorkerProcess(tree).start()
    try:
        # In steps, so that there are enough batches to find segments from.
        for step in batched(events(first), USERS):
            outside.push(*step)
            outside.settle()
        # One that sits on a wrong partition, and one that is none.
        outside.send("events", [(b"elsewhere", json.dumps(event(f"{MARK}-0", "i1")).encode()), (b"x", b"{")])
        outside.settle()
        before = outside.hash("snapshot").get("newest")
        outside.wait(lambda: outside.hash("snapshot").get("newest") != before, "a snapshot of it")
        pages = [worker.get(page)[1] for page in ("/metrics", "/ready", "/health")]
        os.kill(worker.pid, signal.SIGINT)
        wait_until_sync(lambda: not worker.alive, within=60, what="the worker ends")
        return [*pages, worker.words()]
    finally:
        worker.close()


@pytest.fixture(scope="module")
def service(tree):
    """Two workers in a row, the second from the snapshot of the first."""
    with Outside(tree) as outside:
        yield outside, served(tree, outside, 0) + served(tree, outside, 700)


def stored(redis):
    """Everything in Redis: keys, values, and snapshots inflated."""
    for name in redis.scan_iter():
        yield name
        kind = redis.type(name)
        if kind == b"hash":
            yield from (part for pair in redis.hgetall(name).items() for part in pair)
        elif kind == b"zset":
            yield from redis.zrange(name, 0, -1)
        else:
            yield redis.get(name)
    for named in (json.loads(value) for value in redis.hmget("hidden:snapshot", "newest", "previous")):
        parts = [redis.get(f"hidden:snapshot:{named['offset']}:{named['writer']}:{n}") for n in range(named["parts"])]
        data = b"".join(parts)
        yield zlib.decompress(data[10 + int.from_bytes(data[6:10], "little") :])


def test_no_id_is_in_redis_the_learned_log_the_pages_and_the_log_of_the_worker(service):
    outside, words = service
    found = list(stored(outside.redis))
    pseudonym = Pseudonyms(KEY).of(f"{MARK}-0").encode()
    assert sum(pseudonym in part for part in found) >= 3, "in the key, the message and a snapshot"
    assert not [part for part in found if MARK.encode() in part]
    assert not [message for message in outside.read("learned") if MARK.encode() in (message.value or b"")]
    assert all(said for said in words)
    assert not [said for said in words if MARK in said]


def test_what_goes_out_is_under_the_id_that_came_in(service):
    outside, _ = service
    assert set(outside.newest()) == {f"{MARK}-{user}" for user in range(USERS)}
    assert {said["user_id"] for said in outside.recommendations()} == set(outside.newest())
    changes = outside.read("segments")
    assert changes
    assert all(change.key.decode() == change.json["user_id"] for change in changes)
    assert {change.json["user_id"] for change in changes} <= set(outside.newest())


def test_every_event_is_counted_once_though_a_worker_took_over(service):
    outside, _ = service
    users = {Pseudonyms(KEY).of(f"{MARK}-{user}"): user for user in range(USERS)}
    sent = [event["user_id"] for first in (0, 700) for event in events(first)]
    for pseudonym, found in outside.users(list(users)).items():
        extra = 2 if users[pseudonym] == 0 else 0  # those from a wrong partition
        assert found["events"] == sent.count(f"{MARK}-{users[pseudonym]}") + extra


def command(tree, *arguments):
    own = {name: value for name, value in tree.items() if name in {"redis", "prefix", "pseudonyms"}}
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")}
    call = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(call, env=foreign | environment(own), capture_output=True, text=True, timeout=60, check=False)


def test_commands_and_the_http_api_read_by_the_id_that_came_in(service, tree):
    outside, _ = service
    newest = outside.newest()[f"{MARK}-3"]
    told = json.loads(command(tree, "recommend", f"{MARK}-3", "--json").stdout)
    assert (told["user_id"], told["recommendation_id"]) == (f"{MARK}-3", newest["recommendation_id"])
    assert json.loads(command(tree, "user", f"{MARK}-3", "--json").stdout)["user_id"] == f"{MARK}-3"
    unkeyed = command({name: value for name, value in tree.items() if name != "pseudonyms"}, "user", f"{MARK}-3")
    assert unkeyed.returncode == 1
    with Served(tree) as server:
        assert server.get(f"/v1/users/{MARK}-3/recommendations") == newest
        assert MARK not in server.words()


class Served(WorkerProcess):
    """`upwell serve` instead of a worker."""

    title = "the API"

    def __init__(self, tree):
        super().__init__(tree)
        self.settings |= {"serve": {"http": self.settings["http"]}}

    def _command(self):
        return [sys.executable, "-m", "streams.cli", "serve"]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def get(self, path, timeout=5.0):
        if not path.startswith("/v1"):
            return super().get(path, timeout)
        with urllib.request.urlopen(f"http://{self.settings['http']}{path}", timeout=timeout) as answer:
            return json.loads(answer.read())


@pytest.mark.parametrize("secret", [b"f" * 32, None])
def test_a_worker_with_another_key_or_none_is_refused(service, tree, tmp_path, secret):
    assert service
    other = tmp_path / "key"
    other.write_bytes(secret or b"")
    other.chmod(0o600)
    with closing(WorkerProcess(tree | {"pseudonyms": {"key_file": str(other) if secret else ""}})) as worker:
        status, words = worker.run()
    assert status == 3
    assert "another key of pseudonyms" in words
