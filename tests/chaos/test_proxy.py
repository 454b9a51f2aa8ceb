"""A link passes on what it is given, and keeps back, cuts and slows down when it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from streams.watched import HOST
from tests.chaos.proxy import Network


@pytest.fixture
def echo(stack):
    """A server that says what it hears, and its port."""
    listening = stack.enter_context(socket.create_server((HOST, 0)))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=_answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    stack.callback(listening.shutdown, socket.SHUT_RDWR)
    return listening.getsockname()[1]


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(1024):
            connection.sendall(data)


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def call(stack):
    """Connect to a link."""
    return lambda link: stack.enter_context(socket.create_connection((HOST, link.port), timeout=10))


def test_a_whole_link_passes_bytes_both_ways(network, echo, call):
    client = call(network.link("a", echo))
    client.sendall(b"hello")
    assert client.recv(5) == b"hello"


def test_what_is_sent_while_a_link_hangs_arrives_afterwards(network, echo, call):
    link = network.link("a", echo)
    client = call(link)
    client.sendall(b"one")
    assert client.recv(3) == b"one"
    with network.hung(link):
        client.sendall(b"two")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(3)
    client.settimeout(10)
    assert client.recv(3) == b"two"


def test_a_cut_link_resets_connections_old_and_new(network, echo, call):
    link = network.link("a", echo)
    client = call(link)
    client.sendall(b"one")
    assert client.recv(3) == b"one"
    with network.cut(link):
        assert _is_over(client)
        assert _is_over(call(link))
    client = call(link)
    client.sendall(b"two")
    assert client.recv(3) == b"two"


def _is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_link_that_is_led_elsewhere_resets_who_came_by_it(network, echo, call):
    link = network.link("a", 1)
    network.lead(link, echo)
    client = call(link)
    client.sendall(b"one")
    assert client.recv(3) == b"one"
    network.lead(link, echo)
    assert _is_over(client)


def test_a_narrow_link_passes_all_bytes_in_order(network, echo, call):
    link = network.link("a", echo)
    client = call(link)
    sent = bytes(range(256)) * 40
    with network.slow(link, delay=0.001, rate=1e6):
        threading.Thread(target=client.sendall, args=(sent,)).start()
        heard = b""
        while len(heard) < len(sent):
            heard += client.recv(4096)
    assert heard == sent
