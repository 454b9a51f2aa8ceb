"""Each check of `upwell doctor`, provoked on real servers: what it finds, and the fix it names."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from aiokafka import AIOKafkaProducer

from state import model, snapshots
from state.connection import open_redis
from state.keys import Keys
from streams.checks import clocks
from streams.checks.look import checks
from streams.checks.redis_rights import HARMLESS, fail_over
from streams.knobs.servers import Kafka
from streams.records import VERSION, Kind, Record, encode
from streams.security import redis_url
from streams.settings import Settings
from streams.topics import ensure

ROOT = Path(__file__).parents[1]
NOBODY = "127.0.0.1:1"
RECORD = encode(Record(Kind.RESET, 0, 0, 0, 0, b""))


@pytest.fixture
def made(settings, broker):
    """Settings of this test, its topics made, and a Redis that this test may spoil."""

    def make(server, **over) -> Settings:
        found = settings(broker, redis=server.url, http=NOBODY, partitions=2, **over)
        asyncio.run(ensure(found))
        return found

    return make


def diagnosed(settings) -> dict:
    return {check.name: check for check in asyncio.run(checks(settings))}


def store(settings, what) -> None:
    async def write():
        async with open_redis(redis_url(settings)) as client:
            await what(client, Keys(settings.prefix))

    asyncio.run(write())


def append(settings, *records: bytes) -> None:
    """To the learned log."""

    async def send():
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers) as producer:
            for done in [await producer.send(settings.topics.learned, record) for record in records]:
                await done

    asyncio.run(send())


def test_good_servers_need_no_fix(made, own_redis):
    found = diagnosed(made(own_redis()))
    assert {name for name, check in found.items() if check.fix or not check.ok} == set()
    assert {"redis rights", "redis clock", "events clock", "learned log", "record version", "offsets"} <= found.keys()


def test_a_snapshot_that_no_worker_renews_is_old(made, own_redis):
    settings = made(own_redis())
    append(settings, RECORD, RECORD)
    old = time.time() - 40 * settings.snapshot.seconds
    store(settings, lambda client, keys: snapshots.save(client, keys, 1, [b"x"], "w", at=old))
    check = diagnosed(settings)["snapshot"]
    assert (check.ok, "1 records before the end" in check.found) == (False, True)
    append(settings, RECORD)
    store(settings, lambda client, keys: snapshots.save(client, keys, 2, [b"x"], "w", at=time.time()))
    assert diagnosed(settings)["snapshot"].ok


def test_a_log_that_ends_before_the_snapshot_was_recreated(made, own_redis):
    settings = made(own_redis())
    append(settings, RECORD)
    store(settings, lambda client, keys: snapshots.save(client, keys, 9, [b"x"], "w", at=time.time()))
    check = diagnosed(settings)["learned log"]
    assert (check.ok, check.fix) == (False, "upwell reset --models")


def test_a_record_of_a_later_version_is_told(made, own_redis):
    settings = made(own_redis())
    append(settings, RECORD, RECORD[:2] + bytes([VERSION + 1]) + RECORD[3:])
    check = diagnosed(settings)["record version"]
    assert not check.ok
    assert f"version {VERSION + 1}" in check.found


def test_models_far_behind_the_log_are_told(made, own_redis):
    settings = made(own_redis())
    append(settings, *[RECORD] * 5_010)
    store(settings, lambda client, keys: model.write(client, keys, version=5, events=1, weights={}, hit_rate={}))
    check = diagnosed(settings)["models"]
    assert (check.ok, check.found) == (False, "5,005 records of the learned log wait to be folded")


def test_a_redis_that_refuses_the_login_is_told_so(made, own_redis):
    server = own_redis()
    settings = made(server)
    url = server.url.replace("redis://", "redis://ada:wrong@")
    check = diagnosed(settings.model_copy(update={"redis": type(settings.redis)(url)}))["redis"]
    assert not check.ok
    assert check.found.startswith("Redis refuses user or password: ")
    assert "redis_password_file" in check.fix


def test_a_redis_that_refuses_a_command_is_told_so(made, own_redis):
    server = own_redis()
    settings = made(server)
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys=[f"{settings.prefix}*"], commands=["+hgetall"])
    url = server.url.replace("redis://", "redis://reader:any@")
    check = diagnosed(settings.model_copy(update={"redis": type(settings.redis)(url)}))["redis"]
    assert not check.ok
    assert "does not let this user do what Upwell does" in check.found
    assert "'info' command" in check.found
    assert "docs/security.md" in check.fix


def test_a_broker_that_speaks_no_tls_is_told_so(made, own_redis):
    settings = made(own_redis())
    secured = settings.model_copy(update={"kafka": Kafka(security_protocol="SSL")})
    check = diagnosed(secured)["brokers"]
    assert (check.ok, check.found) == (False, f"The broker at {settings.brokers} speaks no TLS")
    assert "kafka.security_protocol" in check.fix


def test_a_redis_user_without_rights_is_told_which(made, own_redis):
    server = own_redis()
    settings = made(server)
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("reader", enabled=True, nopass=True, keys=[f"{settings.prefix}*"], categories=["+@read"],
                           commands=["+ping", "+info", "+time", "+select", "+client", "+hello"])  # fmt: skip
    url = server.url.replace("redis://", "redis://reader:any@")
    check = diagnosed(settings.model_copy(update={"redis": type(settings.redis)(url)}))["redis rights"]
    assert not check.ok
    assert check.found == f"Redis refuses DEL EVAL EXPIRE HDEL HSET PERSIST SET UNLINK ZADD on {settings.prefix}*"
    with redis.Redis.from_url(server.url) as client:
        _, *fix = shlex.split(check.fix)
        client.execute_command(*("reader" if word == "USER" else word for word in fix))
    assert diagnosed(settings.model_copy(update={"redis": type(settings.redis)(url)}))["redis rights"].ok


def test_what_is_tried_is_what_the_document_gives_a_worker():
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    given = set(re.findall(r"\+(\S+)", re.search(r"^ACL SETUSER upwell-worker (.*)$", document, re.MULTILINE)[1]))
    assert given == {command.lower() for command, *_ in HARMLESS} | {"ping", "info", "eval", "scan"}
    called = re.findall(r"redis\.call\('(\w+)'", "".join(one.read_text() for one in (ROOT / "state" / "lua").glob("*.lua")))
    assert {command.lower() for command in called} <= given


def test_a_replica_is_told(made, own_redis):
    primary, replica = own_redis(), own_redis()
    settings = made(replica)
    with redis.Redis.from_url(replica.url) as client:
        client.replicaof("127.0.0.1", primary.port)
    check = diagnosed(settings)["redis rights"]
    assert (check.ok, check.found) == (False, "this Redis is a replica, which takes no writes")


@pytest.mark.parametrize("ahead", [3_600.0, -3_600.0])
def test_a_clock_that_is_apart_is_told(made, own_redis, monkeypatch, ahead):
    settings = made(own_redis())
    monkeypatch.setattr(clocks, "time", SimpleNamespace(time=lambda: time.time() + ahead))
    check = diagnosed(settings)["redis clock"]
    assert (check.ok, check.found) == (False, f"this machine is 60 minutes {'ahead of' if ahead > 0 else 'behind'} Redis")


async def test_a_cluster_that_may_lose_more_than_workers_go_back_is_told(shards):
    async with open_redis(shards.url) as client:
        (check,) = await fail_over(client, 0.001)
        assert (check.ok, "min-replicas-to-write 1" in check.fix) == (True, True)
        (check,) = await fail_over(client, 3_600.0)
        assert check.fix is None
