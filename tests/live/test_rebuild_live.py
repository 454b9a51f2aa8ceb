"""Redis lost altogether, and the log's older part with it: `upwell rebuild` makes all of it anew from the events."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.live.conftest import assert_everything, shopping
from tests.waiting import wait_until_sync
from tests.worker import environment

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_all_is_made_anew_from_the_events(crew, outside, kafka, tree, tmp_path):
    (worker,) = crew(1, partitions=3)
    events = shopping(91, 1_200)
    places = outside.push(*events)
    assert_everything(outside, events, places)
    worker.kill()
    outside.redis.flushall()
    outside.redis.set(f"{outside.prefix}somebody else's", "1")
    log = TopicPartition(outside.topics["learned"], 0, outside.ends("learned")[0] - 1)
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.delete_records([log])[log].result(30)
    command = [sys.executable, "-m", "streams.cli", "rebuild", "--yes", "--json"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("UPWELL_")} | environment(tree)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as rebuild:
        said = wait_until_sync(rebuild.stderr.readline, what="it says that workers may start")
        assert "start the workers now" in said
        worker.start()
        out, err = rebuild.communicate(timeout=120)
    assert rebuild.returncode == 0, err
    told = json.loads(out)
    # On a fast machine all is done before it looks a second time.
    assert (told["events"], told["seconds_per_million"] >= 0) == (len(events), True)
    assert_everything(outside, events, places)
    assert outside.redis.get(f"{outside.prefix}somebody else's") == b"1"
    outside.redis.delete(f"{outside.prefix}somebody else's")
