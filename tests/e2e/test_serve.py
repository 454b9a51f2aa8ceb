"""The HTTP API before a running service: what it reads and writes, whom it refuses, and that it says so as a problem."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import msgspec
import pytest

from streams.embedded import RedisServer
from streams.watched import free_port
from streams.web.openapi import document
from tests.e2e.conftest import renamed
from tests.outside import Outside, event
from tests.waiting import wait_until_sync

BEARER = "of-the-test"


class Api:
    """The command `upwell serve` as a process, and requests to it."""

    def __init__(self, tree, **serve: object) -> None:
        self.port = free_port()
        names = {"brokers": tree["brokers"], "redis": tree["redis"], "prefix": tree["prefix"]}
        options = [part for name, value in names.items() for part in (f"--{name}", str(value))]
        given = {"serve.http": f"127.0.0.1:{self.port}", "topics.events": tree["topics"]["events"]}
        given |= {f"serve.{name}": value for name, value in serve.items()}
        sets = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "streams.cli", "serve", *options, *sets]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_until_sync(lambda: self._status("/health") == 200, within=30, what="the API listens")

    def _status(self, path: str) -> int | None:
        assert self.process.poll() is None, self.process.stdout.read()
        try:
            return self.ask(path)[0]
        except OSError:
            return None

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET" if body is None else "POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def json(self, path: str, body: bytes | None = None, **headers: str):
        status, _, found = self.ask(path, body, **headers)
        return status, json.loads(found)

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def api(shared_tree, shared_worker) -> Iterator[Api]:
    assert shared_worker.alive
    api = Api(shared_tree)
    wait_until_sync(lambda: api.ask("/ready")[0] == 200, within=30, what="the API is ready")
    yield api
    api.end()


def test_an_event_goes_in_and_its_recommendation_comes_out_as_on_the_topic(api, service: Outside, own):
    user, item = own("ada/ü ?"), own("tea")
    posted = json.dumps({"user_id": user, "item_id": item, "type": "view"}).encode()
    status, told = api.json("/v1/events", posted)
    assert status == 202
    (place,) = told["events"]
    path = f"/v1/users/{quote(user, safe='')}/recommendations"
    wait_until_sync(lambda: api.ask(path)[0] == 200, within=30, what="the recommendation")
    status, headers, body = api.ask(path)
    assert body == service.redis.hget(f"{service.prefix}user:{user}", "recommendations")
    found = json.loads(body)
    assert (found["user_id"], found["trigger"]["partition"], found["trigger"]["offset"]) == (
        user,
        place["partition"],
        place["offset"],
    )
    assert headers["content-type"].startswith("application/json")
    status, headers, body = api.ask(path, If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")
    service.push(event(user, own("milk")))
    service.settle()
    assert api.ask(path, If_None_Match=headers["etag"])[0] == 200


def test_a_list_of_events_is_sent_in_order_to_the_partitions_where_workers_look_for_them(api, service: Outside, own):
    users = [own(f"u{n}") for n in range(5)] * 2
    posted = [{"user_id": user, "item_id": own("tea"), "type": "view", "value": n} for n, user in enumerate(users)]
    status, told = api.json("/v1/events", json.dumps(posted).encode())
    assert status == 202
    assert len(told["events"]) == len(users)
    for user, first, second in zip(users, told["events"], told["events"][5:], strict=False):
        assert first["partition"] == second["partition"], user
        assert first["offset"] < second["offset"]
    service.settle()
    assert [profile["events"] for profile in service.users(users[:5]).values()] == [2] * 5


def test_what_users_wish_goes_in_as_events_do(api, service: Outside, own):
    ada, bob = own("ada"), own("bob")
    posted = [{"user_id": user, "item_id": own("tea"), "type": "view"} for user in (ada, bob)] + [
        {"user_id": ada, "type": "forget"},
        {"user_id": bob, "type": "consent", "properties": {"consent": False}},
    ]
    status, told = api.json("/v1/events", json.dumps(posted).encode())
    assert (status, len(told["events"])) == (202, 4)
    service.settle()
    assert service.user(ada) == {}
    assert service.user(bob)["consent"] is False
    assert "history" not in service.user(bob)
    status, told = api.json("/v1/events", json.dumps([*posted[:1], {"user_id": bob, "type": "consent"}]).encode())
    assert (status, [one["error"] for one in told["events"]]) == (422, ["missing_consent"])


def test_what_is_no_event_is_refused_whole_with_the_place_and_the_reason(api, service: Outside, own):
    before = service.ends()
    good = {"user_id": own("u"), "item_id": "tea", "type": "view"}
    status, told = api.json("/v1/events", json.dumps([good, {"user_id": "u"}, 7]).encode())
    assert status == 422
    assert [one["index"] for one in told["events"]] == [1, 2]
    assert all(one["error"] and one["message"] for one in told["events"])
    assert service.ends() == before


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/events", b"", 422),
        ("/v1/events", b"[" * 5000, 400),
        ("/v1/events", b"[]", 400),
        ("/v1/events", b'{"user_id": "\xff"}', 422),
        ("/v1/events", b"x" * (1 << 20) + b"x", 413),
        ("/v1/users/nobody-at-all/recommendations", None, 404),
        ("/v1/items/nothing-at-all/similar", None, 404),
        ("/v1/trending?n=0", None, 400),
        ("/v1/trending?n=x", None, 400),
        ("/v1/nowhere", None, 404),
        ("/v1/segments", b"{}", 405),
        ("/v1/users/%ff%fe/recommendations", None, 404),
    ],
)
def test_a_wrong_request_gets_a_problem(api, path, body, status):
    found, headers, text = api.ask(path, body)
    assert found == status
    assert headers["content-type"].startswith("application/problem+json")
    told = json.loads(text)
    assert told["status"] == status
    assert told["detail"]
    assert "Traceback" not in text.decode()


def test_what_is_read_has_the_shape_of_the_document(api, service: Outside, own):
    item = own("popular")
    service.push(*(event(own(f"fan{n}"), item) for n in range(30)))
    service.settle()
    wait_until_sync(lambda: api.ask(f"/v1/items/{item}/similar")[0] == 200, within=30, what="the item")
    status, trending = api.json("/v1/trending?n=100")
    assert status == 200
    assert all(set(one) == {"item_id", "count"} for one in trending["trending"])
    status, segments = api.json("/v1/segments")
    assert status == 200
    assert isinstance(segments["segments"], list)
    told = json.loads(document())
    assert api.ask("/openapi.json")[2] == document()
    assert told["openapi"].startswith("3.1")
    for path in told["paths"]:
        method = "POST" if path == "/v1/events" else "GET"
        status = api.ask(path.format(user_id="u", item_id="i"), b"{}" if method == "POST" else None)[0]
        assert status not in {401, 405, 500}, path
    assert msgspec.json.decode(document())["components"]["schemas"]["Recommendation"]["required"]


@pytest.mark.usefixtures("shared_worker")
def test_without_the_token_nothing_is_read(shared_tree):
    os.environ["UPWELL_SERVE_TOKEN"] = BEARER
    try:
        api = Api(shared_tree)
    finally:
        del os.environ["UPWELL_SERVE_TOKEN"]
    try:
        assert api.ask("/v1/trending", Authorization=f"Bearer {BEARER}")[0] == 200
        for wrong in ({}, {"Authorization": "Bearer no"}, {"Authorization": BEARER}, {"Authorization": "Bearer \xfc"}):
            status, headers, _ = api.ask("/v1/trending", **wrong)
            assert status == 401
            assert headers["www-authenticate"] == "Bearer"
        assert api.ask("/v1/events", b"{}")[0] == 401
        assert api.ask("/health")[0] == 200
    finally:
        assert BEARER not in api.end()


@pytest.mark.usefixtures("shared_worker")
def test_who_asks_too_much_is_told_to_wait(shared_tree):
    api = Api(shared_tree, rate=2)
    try:
        found = [api.ask("/v1/trending") for _ in range(8)]
        assert 429 in [status for status, _, _ in found]
        assert all(int(headers["retry-after"]) >= 1 for status, headers, _ in found if status == 429)
    finally:
        api.end()


def test_beyond_this_machine_a_token_is_demanded():
    command = [sys.executable, "-m", "streams.cli", "serve", "--set", "serve.http=0.0.0.0:6067"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "UPWELL_SERVE_TOKEN" in done.stderr


def test_without_redis_reads_are_a_problem_and_come_back_with_it(shared_tree):
    with RedisServer() as redis:
        tree = renamed(shared_tree, "api", redis=redis.url)
        api = Api(tree)
        assert api.ask("/v1/trending")[0] == 200
        redis.kill()
        status, headers, _ = api.ask("/v1/trending")
        assert (status, headers["retry-after"]) == (503, "1")
        assert api.ask("/v1/users/known-to-nobody/recommendations")[0] == 503
        assert api.ask("/health")[0] == 200
        redis.start()
        wait_until_sync(lambda: api.ask("/v1/trending")[0] == 200, within=30, what="reads come back")
        said = api.end()
        assert "GET /v1/users/{user_id}/recommendations" in said
        assert "known-to-nobody" not in said
