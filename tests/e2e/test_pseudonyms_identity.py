"""With a key, the devices of a person become one whoever owns them, and nothing that is stored tells whose they are."""

from __future__ import annotations

import itertools
import json

import pytest

from state.reader import Reader
from streams.embedded import RedisServer
from streams.partition import partition_for
from streams.pseudonyms import Pseudonyms
from tests.commands_of import runner
from tests.e2e.conftest import renamed, serving
from tests.outside import Outside, event, wish

MARK = "PERSON-9b2d"
KEY = b"0123456789abcdef0123456789abcdef"
OF = Pseudonyms(KEY).of
PARTITIONS = 4


@pytest.fixture(scope="module")
def tree(shared_tree, tmp_path_factory):
    file = tmp_path_factory.mktemp("key") / "pseudonyms"
    file.write_bytes(KEY)
    file.chmod(0o600)
    with RedisServer() as redis:
        own = {"redis": redis.url, "snapshot": {"seconds": 1}, "pseudonyms": {"key_file": str(file)}}
        yield renamed(shared_tree, "joined", **own)


@pytest.fixture(scope="module")
def hidden(tree):
    """A running worker with a key, and its clients."""
    with serving(tree) as (worker,), Outside(tree) as outside:
        yield worker, outside


@pytest.fixture
def run(tree, capsys):
    return runner(tree, capsys)


@pytest.fixture
def joined(hidden, own):
    """A person, a phone and a watch of three partitions, who did something each before they were joined."""
    _, outside = hidden

    def at(partition: int, word: str) -> str:
        names = (own(f"{MARK}-{word}{n}") for n in itertools.count())
        return next(name for name in names if partition_for(name.encode(), PARTITIONS) == partition)

    ada, phone, watch = names = at(0, "ada"), at(1, "phone"), at(3, "watch")
    outside.push(*(event(name, f"i{n}", timestamp=1_700_000_000 + n) for n, name in enumerate(names)))
    outside.push(*({"type": "identify", "user_id": ada, "anonymous_id": device} for device in (phone, watch)))
    outside.settle()
    return names


def history(outside, user):
    return [entry["item_id"] for entry in outside.user(OF(user))["history"]]


def test_devices_become_one_person_and_no_id_is_stored(hidden, tree, joined, run):
    worker, outside = hidden
    ada, phone, watch = joined
    assert history(outside, ada) == ["i2", "i1", "i0"]
    stored = outside.user(OF(ada))
    assert {alias: home for alias, (_, home) in stored["aliases"].items()} == {OF(phone): 1, OF(watch): 3}
    fields = outside.redis.hgetall(f"{outside.prefix}user:{OF(phone)}")
    kept = {name: value for name, value in fields.items() if not name.startswith(b"at:")}
    assert kept.keys() == {b"alias", b"alias_from", b"alias_home"}
    assert (kept[b"alias"].decode(), kept[b"alias_home"]) == (OF(ada), b"0")
    assert outside.recommendations(ada)[-1]["items"] == outside.recommendations(watch)[-1]["items"]

    outside.push(event(phone, "later"))
    outside.settle()
    assert history(outside, ada)[0] == "later"
    assert outside.user(OF(ada))["events"] == 4
    newest = outside.recommendations(phone)[-1]
    assert newest["recommendation_id"] == outside.user(OF(ada))["recommendations"]["recommendation_id"]
    with Reader(tree["redis"], tree["prefix"], pseudonym=OF) as reader:
        mine, the_phones = reader.recommendations(ada), reader.recommendations(phone)
        assert (mine.user_id, the_phones.user_id, mine.items) == (ada, phone, the_phones.items)
    assert run("export", phone)[1]["profile"]["events"] == 4

    for name in joined:
        assert not outside.named(name)
        assert not outside.named_in_log(name)
        assert name not in worker.get("/metrics")[1] + worker.words()
        assert OF(name) not in worker.words()
        for topic in ("recommendations", "segments", "dead"):
            assert not [message for message in outside.read(topic) if OF(name) in repr(message)]


@pytest.mark.parametrize("forgotten", [0, 1], ids=["by the person's id", "by a device's"])
def test_forgetting_one_of_the_ids_forgets_all_and_the_certificate_names_no_pseudonym(hidden, joined, run, forgotten):
    _, outside = hidden
    _, told = run("forget", joined[forgotten], "--json", "--timeout", "5")
    (certificate,) = told["certificates"]
    assert (certificate["user"], certificate["others"]) == (joined[forgotten], 2)
    assert {trace["place"] for trace in certificate["traces"]} <= {"learned log"}, "the embedded broker cannot cut off the log"
    assert not [name for name in joined if OF(name) in json.dumps(told)]
    for name in joined:
        outside.wait(lambda name=name: not outside.named(OF(name)), what="no key, no value and no snapshot names it")
    outside.push(event(joined[2], "fresh"))
    outside.settle()
    assert history(outside, joined[2]) == ["fresh"], "a device that is seen again is somebody anew"
    outside.push(wish(joined[2]))
    outside.settle()
