"""The commands on a Redis Cluster of three shards: what reads, what looks, what forgets on all of them, and the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from state import catalogue, items, model, segments, snapshots, trending
from state.connection import connect_cluster
from state.items import CatalogueEntry
from state.keys import Keys
from state.profiles import Profile
from state.store import Applied, Store
from streams import cli
from streams.watched import free_port
from tests.waiting import wait_until_sync

USERS = [f"u{number}" for number in range(40)]
LIST = {"recommendation_id": "0-1", "user_id": "u0", "generated_at": 1.0, "trigger": {"partition": 0, "offset": 1}, "items": []}
BEYOND = 1_000_000  # more than the topic holds


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, shards, broker, prefix, name):
    """Run a command on the cluster, as JSON; gives its exit status and what it says."""
    monkeypatch.chdir(tmp_path)
    roles = ("events", "items", "recommendations", "segments", "dead", "redriven", "learned")
    topics = [word for role in roles for word in ("--set", f"topics.{role}={name(role)}")]
    kafka = ["--brokers", broker.address, "--set", "partitions=4", *topics]
    redis = ["--redis", shards.url, "--prefix", prefix]

    def run(command: str, *arguments: str, takes: str = "redis"):
        options = {"redis": redis, "kafka": kafka, "both": [*kafka, *redis]}[takes]
        with pytest.raises(SystemExit) as ended:
            cli.main([command, *options, "--json", *arguments])
        out, err = capsys.readouterr()
        assert out, err
        return ended.value.code or 0, json.loads(out)

    return run


@pytest.fixture
def kept(shards, keys):
    """A user on every shard, and whatever else a worker keeps."""
    asyncio.run(_keep(shards.url, keys))
    return keys


async def _keep(url: str, keys: Keys) -> None:
    said = json.dumps(LIST).encode()
    async with connect_cluster(url) as client:
        writes = [Profile(user, 0, {0: BEYOND}, updated_at=1.0, events=1).write(0, b"[]", b"[]", said) for user in USERS]
        await Store(client, keys).commit({0: writes}, {0: Applied(None, BEYOND + 1)})
        await items.write_catalogue(client, keys, 0, [CatalogueEntry("i1", 1, {"name": "Milk"})])
        await trending.replace(client, keys, {"i1": 2.0})
        figures = {"size": 1, "share": 1.0, "centroid": [0.0], "since": 0.0, "drift": 0.0}
        await segments.write(client, keys, 3, name="dairy", growth=None, top=[], **figures)
        await model.write(client, keys, version=1, events=1, weights={}, hit_rate={})
        await snapshots.save(client, keys, 1, [b"x"], "w", at=0.0)
        await catalogue.complete(client, keys, catalogue.holder(client))


@pytest.mark.usefixtures("kept")
def test_the_commands_that_read_find_what_is_on_any_shard(run):
    assert all(run("user", user)[1]["events"] == 1 for user in USERS[:6])
    assert run("recommend", USERS[0])[1]["recommendation_id"] == "0-1"
    assert run("item", "i1")[1]["name"] == "Milk"
    assert [one["name"] for one in run("segments")[1]["segments"]] == ["dairy"]
    assert [one["item_id"] for one in run("trending")[1]["trending"]] == ["i1"]


def test_the_doctor_and_reset_look_at_and_forget_on_all_shards(run, kept, shards, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\na,b\n")
    assert run("push", "x.csv", takes="kafka")[0] == 0
    status, told = run("doctor", "--http", "127.0.0.1:1", takes="both")
    checks = {check["check"]: check for check in told["checks"]}
    assert status == 1
    assert checks["redis"]["ok"]
    assert checks["redis persistence"]["ok"]
    assert checks["offsets"]["fix"] == "upwell reset"
    asyncio.run(_note_safe(shards.url, kept))
    status, told = run("reset", "--models", "--yes", takes="both")
    assert (status, len(told["reset"])) == (0, 2)
    assert asyncio.run(_left(shards.url, kept)) == set()


async def _note_safe(url: str, keys: Keys) -> None:
    async with connect_cluster(url) as client:
        await Store(client, keys).doubtful({0: BEYOND})


async def _left(url: str, keys: Keys) -> set[bytes]:
    """What a reset has to forget, and did not."""
    async with connect_cluster(url) as client:
        found = [key async for key in client.scan_iter(keys.prefix + b"*")]
        left = {key for key in found if key in {keys.applied, keys.safe} or keys.family(key) == "segment"}
        for user in USERS:
            left |= {field for field in await client.hkeys(keys.user(user)) if field.startswith(b"at:")}
        pointer = await snapshots.pointer(client, keys)
        assert pointer.newest is not None
        own = set(snapshots.part_keys(keys, pointer.newest))
        return left | {key async for key in client.scan_iter(keys.snapshot_pointer + b":*") if key not in own}


def test_the_api_serves_from_all_shards_and_through_a_primary_that_dies(shards, broker, kept):
    port = free_port()
    options = ["--brokers", broker.address, "--redis", shards.url, "--prefix", kept.prefix.decode()]
    command = [sys.executable, "-m", "streams.cli", "serve", *options, "--set", f"serve.http=127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            wait_until_sync(lambda: _status(port, "/ready") == 200, what="the API is ready")
            assert _status(port, "/v1/items/i1/similar") == 200
            (slot,) = shards.slots_of([kept.item("i1")])
            victim = shards.owner(slot)
            shards.fail_over(victim)
            wait_until_sync(lambda: _status(port, "/v1/items/i1/similar") == 200, what="the API reads from the replica")
            assert _status(port, "/v1/segments") == _status(port, "/v1/trending") == 200
            victim.start()
            wait_until_sync(shards.whole, what="the cluster is whole again")
        finally:
            process.send_signal(signal.SIGTERM)


def _status(port: int, path: str) -> int:
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
    return 0
