"""People and their devices: on a running worker, seen by clients that are not ours."""

from __future__ import annotations

import itertools
import json

import pytest

from state.reader import Reader
from streams.partition import partition_for
from tests.commands_of import runner
from tests.outside import Outside, event

PARTITIONS = 4


@pytest.fixture
def run(shared_tree, capsys):
    return runner(shared_tree, capsys)


@pytest.fixture
def reader(shared_tree):
    with Reader(shared_tree["redis"], shared_tree["prefix"]) as reader:
        yield reader


@pytest.fixture
def at(own):
    """An id of this test's own that belongs to a partition: at(2, "ada")."""

    def named(partition: int, word: str) -> str:
        names = (own(f"{word}{n}-") for n in itertools.count())
        return next(name for name in names if partition_for(name.encode(), PARTITIONS) == partition)

    return named


def identify(user, device, **more):
    return {"type": "identify", "user_id": user, "anonymous_id": device, **more}


def history(service: Outside, user: str) -> list[str]:
    return [entry["item_id"] for entry in service.user(user)["history"]]


def raw(service: Outside, user: str) -> dict[str, str]:
    """The fields of a user's hash, without its fences."""
    stored = service.redis.hgetall(f"{service.prefix}user:{user}")
    return {name.decode(): value.decode() for name, value in stored.items() if not name.startswith(b"at:")}


def letters(service: Outside, key: str) -> list[str]:
    return [one.headers["upwell.error"].decode() for one in service.read("dead") if one.key == key.encode()]


@pytest.mark.parametrize("home", [0, 1], ids=["across partitions", "on one partition"])
def test_what_a_visitor_did_counts_for_the_person_who_logs_in(service, own, at, reader, home):
    ada, phone = at(1, "ada"), at(home, "phone")
    items = [own(f"item{n}") for n in range(4)]
    service.push(event(phone, items[0], timestamp=1_700_000_001), event(ada, items[1], timestamp=1_700_000_002))
    service.push(event(phone, items[2], "cart", timestamp=1_700_000_003), identify(ada, phone))
    service.settle()
    assert history(service, ada) == [items[2], items[1], items[0]]
    assert service.user(ada)["events"] == 3
    assert raw(service, phone)["alias"] == ada
    assert {*raw(service, phone)} == {"alias", "alias_from"}
    answer = service.recommendations(ada)[-1]
    merges = [one for one in service.read("events") if one.key == ada.encode() and "upwell.merge" in one.headers]
    assert answer["trigger"] == {"partition": 1, "offset": merges[0].place.offset, "event_id": None}
    assert reader.user(phone) == reader.user(ada)
    assert reader.recommendations(phone).user_id == ada
    assert reader.history(phone) == reader.history(ada)


def test_what_the_device_does_later_counts_for_the_person_and_is_answered_to_both(service, own, at):
    ada, phone, tea, milk = at(0, "ada"), at(3, "phone"), own("tea"), own("milk")
    service.push(event(phone, tea), identify(ada, phone))
    service.settle()
    service.push(event(phone, milk))
    service.settle()
    assert history(service, ada) == [milk, tea]
    mine, the_phones = service.recommendations(ada)[-1], service.recommendations(phone)[-1]
    assert mine | {"user_id": phone} == the_phones
    copies = [one for one in service.read("events") if one.key == ada.encode() and "upwell.user" in one.headers]
    assert json.loads(copies[-1].value)["user_id"] == phone, "the bytes are as they came"


def test_three_devices_become_one_person_however_often_they_are_identified(service, own, at):
    ada, devices = at(2, "ada"), [at(n, f"device{n}") for n in (0, 2, 3)]
    items = [own(f"item{n}") for n in range(6)]
    service.push(
        *(
            event(device, item, timestamp=1_700_000_000 + n)
            for n, (device, item) in enumerate(zip(devices * 2, items, strict=True))
        )
    )
    for _ in range(3):
        service.push(*(identify(ada, device) for device in devices))
        service.settle()
    assert history(service, ada) == items[::-1]
    assert service.user(ada)["events"] == 6
    assert {*service.user(ada)["aliases"]} == {*devices}


def test_a_merge_that_comes_twice_counts_once(service, own, at):
    ada, phone, tea = at(0, "ada"), at(1, "phone"), own("tea")
    service.push(event(phone, tea), identify(ada, phone))
    service.settle()
    (merge,) = [one for one in service.read("events") if one.key == ada.encode() and "upwell.merge" in one.headers]
    service.send("events", [(merge.key, merge.value)], headers=merge.headers)
    service.settle()
    assert history(service, ada) == [tea]
    assert service.user(ada)["events"] == 1


def test_nobody_takes_over_a_person_or_the_device_of_another(service, own, at):
    ada, eve, phone, secret = at(0, "ada"), at(1, "eve"), at(2, "phone"), own("secret")
    service.push(event(ada, secret), event(phone, own("tea")), identify(ada, phone))
    service.settle()
    service.push(identify(eve, ada), identify(eve, phone), event(phone, own("milk")), identify(eve, eve))
    service.settle()
    assert letters(service, ada) == ["identify_person"]
    assert letters(service, phone) == ["already_identified"]
    assert letters(service, eve) == ["bad_anonymous_id"]
    assert not service.user(eve).get("history")
    assert service.user(ada)["events"] == 3


def test_a_device_that_identifies_goes_on_to_its_person(service, own, at):
    ada, phone, watch, tea = at(0, "ada"), at(1, "phone"), at(2, "watch"), own("tea")
    service.push(identify(ada, phone))
    service.settle()
    service.push(event(watch, tea), identify(phone, watch))
    service.settle()
    assert history(service, ada) == [tea]
    assert raw(service, watch)["alias"] == ada


def test_forgetting_the_person_reaches_every_device_and_forgetting_a_device_the_person(service, own, at, run):
    for word, forgotten in (("ada", 0), ("bob", 1)):
        names = at(0, word), at(1, f"{word}-phone"), at(3, f"{word}-watch")
        person, *devices = names
        service.push(*(event(name, own("tea")) for name in names), *(identify(person, device) for device in devices))
        service.settle()
        _, told = run("forget", names[forgotten], "--json", "--timeout", "10")
        assert {one["user"] for one in told["certificates"]} == {*names}
        places = {trace["place"] for one in told["certificates"] for trace in one["traces"]}
        assert places <= {"learned log"}, "the embedded broker cannot cut off the log"
        assert [raw(service, name) for name in names] == [{}, {}, {}]
        service.push(event(devices[0], own("fresh")))
        service.settle()
        assert history(service, devices[0]) == [own("fresh")], "a device that is seen again is somebody anew"


def test_the_persons_refusal_holds_for_the_devices(service, own, at):
    ada, phone, tea = at(0, "ada"), at(1, "phone"), own("tea")
    service.push({"type": "consent", "user_id": ada, "properties": {"consent": False}}, event(phone, tea), identify(ada, phone))
    service.settle()
    service.push(event(phone, own("milk")))
    service.settle()
    assert {*raw(service, ada)} == {"consent", "person", "aliases"}
    assert service.recommendations(phone)


def test_the_metrics_count_ids_that_are_merged(service, shared_worker, own, at):
    def counted() -> float:
        lines = shared_worker.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith("upwell_merged_total ")).split()[1])

    before, (ada, phone) = counted(), (at(0, "ada"), at(1, "phone"))
    service.push(event(phone, own("tea")), identify(ada, phone), identify(ada, phone))
    service.settle()
    service.wait(lambda: counted() > before, "it is counted")
    assert counted() == before + 1


def test_export_names_the_devices(service, own, at, run):
    ada, phone = at(0, "ada"), at(1, "phone")
    service.push(event(phone, own("tea")), identify(ada, phone))
    service.settle()
    for name in (ada, phone):
        status, told = run("export", name)
        assert (status, told["profile"]["user_id"], told["profile"]["aliases"]) == (0, ada, [phone])
        assert told["profile"]["events"] == 1
