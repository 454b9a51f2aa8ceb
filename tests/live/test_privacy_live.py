"""Users are forgotten exactly once on Apache Kafka and Redis, whoever dies meanwhile; an outside client greps for their ids."""

from __future__ import annotations

import secrets
import time

import pytest

from streams.pseudonyms import Pseudonyms
from tests.commands_of import runner
from tests.live.conftest import assert_taught, partitions_of, shopping
from tests.outside import assert_exact, consent, event, wish
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ALL = set(range(8))
ITEMS = [f"i{n}" for n in range(40)]


def own(word):
    """An id whose bytes are nowhere else."""
    return f"{word}-{secrets.token_hex(4)}"


def traces(outside, user):
    return [*outside.named(user), *(f"log {offset}" for offset in outside.named_in_log(user))]


def gone(outside, *users):
    """Wait until nothing names them; what still does is in the failure."""
    deadline = time.monotonic() + 90
    for user in users:
        while (found := traces(outside, user)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not found


def test_no_trace_of_a_thousand_events_is_left(crew, outside, tree, capsys):
    crew(2)
    ada = own("ada")
    others = shopping(31, 1_500)
    outside.push(*others[:1_000], *(event(ada, ITEMS[n % len(ITEMS)]) for n in range(1_000)))
    outside.settle(within=120)
    assert_taught(outside, 2_000)
    outside.push(*others[1_000:])
    outside.settle(within=120)
    wait_until_sync(lambda: any("user:u" in place for place in outside.named(ada)), within=60, what="others name the user")
    status, told = runner(tree, capsys)("forget", ada, "--json")
    assert status == 0, told
    assert not traces(outside, ada)
    (certificate,) = told["certificates"]
    assert certificate["verdict"] == "no trace is left"
    assert sum(one["messages"] for one in certificate["operator"] if one["topic"] == tree["topics"]["events"]) == 1_001
    assert all(one["until"] > time.time() for one in certificate["operator"])
    assert_exact(outside, others)
    assert_taught(outside, 2_500)


def test_with_a_key_neither_the_id_nor_its_pseudonym_is_left(crew, outside, tree, capsys, tmp_path):
    file = tmp_path / "pseudonyms"
    file.write_bytes(b"0123456789abcdef0123456789abcdef")
    file.chmod(0o600)
    hidden = {"pseudonyms": {"key_file": str(file)}}
    crew(1, **hidden)
    ada = own("ada")
    pseudonym = Pseudonyms.read(file).of(ada)
    outside.push(*shopping(33, 1_000), *(event(ada, item) for item in ITEMS))
    outside.settle(within=120)
    assert outside.user(pseudonym)["events"] == len(ITEMS)
    assert traces(outside, pseudonym)
    run = runner(tree | hidden, capsys)
    assert run("forget", "--verify", ada, "--json")[0] == 1
    status, told = run("forget", ada, "--json")
    assert status == 0, told
    assert not traces(outside, pseudonym) + traces(outside, ada)


def test_who_is_forgotten_while_workers_die_stays_forgotten_and_who_comes_back_begins_anew(crew, outside, load):
    first, second = crew(2, snapshot={"seconds": 1}, intake={"session_timeout_ms": 6_000})
    leaver, returner, refuser, nobody = own("leaver"), own("returner"), own("refuser"), own("nobody")
    events = shopping(32, 3_000)
    for place in range(0, 2_000, 10):
        events[place] = event((leaver, returner, refuser)[place // 10 % 3], ITEMS[place // 10 % len(ITEMS)])
    events[2_000] = event(returner, "late")
    with load(events[:1_200], speed=500) as sending:
        sending.reaches(600)
        wait_until_sync(lambda: partitions_of(first) and partitions_of(second), within=60, what="both have a share")
        first.kill()
        outside.push(wish(leaver), wish(returner), consent(refuser, given=False), wish(nobody))
        sending.reaches(1_000)
        first.launch()
    with load(events[1_200:2_000], speed=500) as sending:
        sending.reaches(400)
        outside.push(wish(leaver), wish(returner), wish(leaver), consent(refuser, given=False))
        second.kill()
        first.wait_until_ready()
        second.launch()
        second.wait_until_ready()
    # What was sent beside the load may have come before some of it.
    outside.push(wish(leaver), wish(returner), wish(refuser), consent(refuser, given=False))
    outside.push(*events[2_000:])
    outside.settle(within=120)
    assert_exact(outside, [one for one in events if one["user_id"] not in {leaver, returner, refuser}])
    gone(outside, leaver, nobody)
    stored = outside.user(returner)
    assert (stored["events"], [entry["item_id"] for entry in stored["history"]]) == (1, ["late"])
    assert {name for name in outside.user(refuser) if not name.startswith("at:")} == {"consent"}
    assert first.alive
    assert second.alive


def test_a_worker_that_was_taken_for_dead_brings_nobody_back(crew, outside, load):
    zombie, heir = crew(2, intake={"session_timeout_ms": 6_000})
    users = [own("mia") for _ in range(16)]
    events = [event(users[n % 16], ITEMS[n % 40]) for n in range(2_000)]
    with load(events, speed=500) as sending:
        wait_until_sync(lambda: partitions_of(zombie) and partitions_of(heir), within=60, what="both have a share")
        sending.reaches(500)
        zombie.pause()
        sending.reaches(2_000)
    wait_until_sync(lambda: partitions_of(heir) == ALL, within=60, what="the heir has all")
    outside.push(*map(wish, users))
    outside.settle(within=120)
    zombie.resume()
    # It stands where the log is cut off already: it ends, and says so, or it comes back to life.
    wait_until_sync(lambda: not zombie.alive or partitions_of(zombie), within=90, what="the zombie ends or lives")
    gone(outside, *users)
