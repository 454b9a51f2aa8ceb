"""The HTTP API before those who mean it no good: slow, many, large, curious."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e.test_serve import Api
from tests.waiting import wait_until_sync

ASK = b"GET /v1/trending HTTP/1.1\r\nHost: upwell\r\n"
GREETING = b"GET /health HTTP/1.1\r\nHost: upwell\r\n\r\n"


@pytest.fixture(scope="module")
def short(shared_tree, shared_worker) -> Iterator[Api]:
    """An API with little patience and few places."""
    assert shared_worker.alive
    api = Api(shared_tree, header_seconds=1, body_seconds=1, connections=6)
    yield api
    api.end()


def opened(api: Api) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), timeout=30)


def answered(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up, or what was sent of a request that it keeps open."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while more := connection.recv(1 << 16):
            found += more
    return found


@pytest.mark.parametrize("said", [b"", b"GET", ASK, ASK + b"X-Slow: "])
def test_who_does_not_end_the_headers_is_hung_up_on(short, said):
    with closing(opened(short)) as connection:
        connection.sendall(said)
        assert answered(connection) == b""


def test_a_second_request_must_end_its_headers_too(short):
    with closing(opened(short)) as connection:
        connection.sendall(GREETING)
        first = connection.recv(1 << 16)
        connection.sendall(ASK)
        assert first.startswith(b"HTTP/1.1 200")
        assert answered(connection) == b""


def test_a_patient_client_with_whole_requests_is_kept(short):
    with closing(opened(short)) as connection:
        for _ in range(3):
            connection.sendall(GREETING)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_is_not_waited_for(short):
    with closing(opened(short)) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: upwell\r\nContent-Length: 100\r\n\r\n{")
        found = answered(connection)
    assert found.startswith(b"HTTP/1.1 408")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["status"] == 408


def test_more_connections_than_there_are_places_are_hung_up_on(short):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(closing(opened(short))) for _ in range(6)]
        for connection in held:
            connection.sendall(GREETING)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        assert answered(stack.enter_context(closing(opened(short)))) == b""
    wait_until_sync(lambda: _status(short) == 200, what="there are places again")


def _status(api: Api) -> int | None:
    with contextlib.suppress(OSError):
        return api.ask("/health")[0]
    return None


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/users/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: upwell\r\n\r\n",
        ASK + b"X-Long: " + b"x" * 9_000 + b"\r\n\r\n",
        ASK + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        ASK.replace(b"HTTP/1.1", b"HTTP/9.9.9") + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["url", "header", "headers", "version", "tls"],
)
def test_what_is_too_long_or_no_request_is_refused_without_a_trace(short, request_):
    with closing(opened(short)) as connection:
        connection.sendall(request_)
        found = answered(connection)
    assert found[9:12] in {b"400", b""}
    assert b"Traceback" not in found
    assert b'File "' not in found


def test_every_answer_is_data_and_does_not_say_what_made_it(short):
    for path in ("/v1/trending", "/v1/nowhere", "/openapi.json"):
        _, headers, _ = short.ask(path)
        assert headers["server"] == "upwell"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_a_worker_shows_no_pages_but_its_own(shared_worker):
    for path in ("/table/", "/router/", "/graph/", "/performance/", "/table/x/y/"):
        assert shared_worker.get(path)[0] == 404, path
    assert shared_worker.get("/")[1].replace(" ", "") == '{"status":"OK"}'
    for path in ("/health", "/ready", "/metrics"):
        assert shared_worker.get(path)[0] == 200, path
