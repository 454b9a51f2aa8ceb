"""With a key, who wishes to be forgotten is found under the pseudonym, and answered under the id that came in."""

from __future__ import annotations

import pytest

from streams.embedded import RedisServer
from streams.pseudonyms import Pseudonyms
from tests.commands_of import runner
from tests.e2e.conftest import renamed, serving
from tests.outside import Outside, consent, event, wish

MARK = "PERSON-5c1e"
PSEUDONYMS = Pseudonyms(b"0123456789abcdef0123456789abcdef")
ITEMS = [f"i{n}" for n in range(8)]


@pytest.fixture(scope="module")
def tree(shared_tree, tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "pseudonyms"
    file.write_bytes(b"0123456789abcdef0123456789abcdef")
    file.chmod(0o600)
    with RedisServer() as redis:
        own = {"redis": redis.url, "snapshot": {"seconds": 1}, "segments": {"k": 2}, "pseudonyms": {"key_file": str(file)}}
        yield renamed(shared_tree, "wished", **own)


@pytest.fixture(scope="module")
def hidden(tree):
    """A running worker with a key, and its clients."""
    with serving(tree) as (worker,), Outside(tree) as outside:
        # Two tastes, often enough that there are segments, which the others of each test enter too.
        for _ in range(20):
            outside.push(*(event(f"crowd{n}", f"i{n % 2 * 4 + step % 4}") for n in range(24) for step in range(4)))
            outside.settle()
        yield worker, outside


@pytest.fixture
def run(tree, capsys):
    return runner(tree, capsys)


def known(outside, user):
    """Have a user act like the crowd, until others name the user and a segment change was said."""
    for _ in range(3):
        outside.push(*(event(user, item) for item in ITEMS[:4]))
        outside.push(*(event(f"crowd{n}", ITEMS[n % 4]) for n in range(0, 24, 2)))
        outside.settle()
    outside.wait(lambda: changes(outside, user), what="a segment change")
    assert outside.user(PSEUDONYMS.of(user))["events"] == 12
    return PSEUDONYMS.of(user)


def changes(outside, user):
    return [message for message in outside.read("segments") if message.key == user.encode()]


def test_neither_the_id_nor_its_pseudonym_is_left_anywhere(hidden, own):
    worker, outside = hidden
    ada = own(MARK)
    pseudonym = known(outside, ada)
    outside.wait(lambda: len(outside.named(pseudonym)) >= 3, what="profile, neighbors and a snapshot name the pseudonym")
    outside.push(wish(ada))
    outside.settle()
    outside.wait(lambda: not outside.named(pseudonym), what="no key, no value and no snapshot names it")
    assert not outside.named(ada)
    assert not outside.named_in_log(ada)
    said = [worker.get("/metrics")[1], worker.words()]
    assert not [text for text in said if ada in text or pseudonym in text]
    assert changes(outside, ada)[-1].value is None
    assert not changes(outside, pseudonym)


def test_the_commands_take_the_id_that_came_in(hidden, own, run):
    _, outside = hidden
    bob = own(MARK)
    pseudonym = known(outside, bob)
    status, told = run("export", bob, "--topics")
    assert (status, told["user_id"], told["profile"]["events"]) == (0, bob, 12)
    assert told["named_by"]
    assert {message["topic"] for message in told["messages"]} == {outside.topics["events"], outside.topics["recommendations"]}
    outside.wait(lambda: any("snapshot" in place for place in outside.named(pseudonym)), what="a snapshot names the pseudonym")
    status, told = run("forget", "--verify", bob, "--json")
    (certificate,) = told["certificates"]
    assert status == 1
    assert {trace["place"] for trace in certificate["traces"]} == {"redis", "snapshots", "learned log", "segments"}
    status, told = run("forget", bob, "--json", "--timeout", "5")
    (certificate,) = told["certificates"]
    assert certificate["user"] == bob
    # The embedded broker cannot cut off the log; Apache Kafka can.
    assert {trace["place"] for trace in certificate["traces"]} <= {"learned log"}
    assert pseudonym not in str(told)
    assert (outside.topics["events"], 13) in {(one["topic"], one["messages"]) for one in certificate["operator"]}


def test_a_refusal_is_kept_under_the_pseudonym_alone(hidden, own, run):
    _, outside = hidden
    eve = own(MARK)
    pseudonym = known(outside, eve)
    outside.push(consent(eve, given=False))
    outside.settle()
    outside.wait(lambda: outside.named(pseudonym) == [f"{outside.prefix}user:{pseudonym}"], what="the refusal alone is left")
    assert changes(outside, eve)[-1].value is None
    assert run("forget", "--verify", eve, "--json")[1]["certificates"][0]["refusal"] is True


def test_a_command_without_the_key_certifies_nothing(hidden, tree, capsys):
    _, outside = hidden
    outside.wait(lambda: outside.hash("snapshot").get("newest"), what="a snapshot")
    run = runner({name: one for name, one in tree.items() if name != "pseudonyms"}, capsys)
    with pytest.raises(AssertionError, match="another key of pseudonyms"):
        run("forget", "--verify", "crowd0", "--json")
