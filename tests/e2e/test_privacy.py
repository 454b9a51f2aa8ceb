"""A person is forgotten, exported, refuses and consents: on a running worker, seen by clients that are not ours."""

from __future__ import annotations

import json
import time

import pytest

from tests.commands_of import runner
from tests.outside import consent, event, wish

REFUSAL = {"consent"}


@pytest.fixture
def run(shared_tree, capsys):
    return runner(shared_tree, capsys)


def gone(service, user):
    return service.wait(lambda: not service.named(user), what=f"{user} is named nowhere in Redis")


def shared_taste(service, own, *names):
    """Users who look at the same items, so that each is a neighbor of the others; given when the last knows it."""
    users, items = [own(name) for name in names], [own(f"item{n}") for n in range(6)]
    for _ in range(2):
        service.push(*(event(user, item) for item in items for user in users))
        service.settle()
    return users, items


def test_a_user_is_forgotten_where_others_name_the_user_too(service, own):
    (ada, bob), items = shared_taste(service, own, "ada", "bob")
    assert f"{service.prefix}user:{bob}" in service.named(ada), "or there is nothing to mend"
    service.push(wish(ada))
    service.settle()
    assert service.user(ada) == {}
    assert gone(service, ada)
    assert [entry["item_id"] for entry in service.user(bob)["history"]][:6] == items[::-1]
    last = [message for message in service.read("segments") if message.key == ada.encode()][-1:]
    assert all(message.value is None for message in last)


def test_who_comes_back_begins_anew(service, own):
    (eve, _), items = shared_taste(service, own, "eve", "bob")
    fresh = own("fresh")
    service.push(wish(eve), event(eve, fresh))
    service.settle()
    assert [entry["item_id"] for entry in service.user(eve)["history"]] == [fresh]
    assert service.user(eve)["events"] == 1
    answer = service.recommendations(eve)[-1]
    assert not {item for one in answer["items"] for reason in one["reasons"] for item in reason["because"]} & {*items}


def test_nobody_minds_who_is_unknown_or_forgotten_twice(service, own):
    nobody, ann = own("nobody"), own("ann")
    service.push(wish(nobody), event(ann, own("tea")), wish(ann), wish(ann), wish(nobody))
    service.settle()
    assert gone(service, nobody)
    assert gone(service, ann)
    assert not service.recommendations(nobody)


def test_a_refusal_is_kept_and_nothing_else_and_the_user_is_answered_all_the_same(service, own):
    (max_, _), items = shared_taste(service, own, "max", "bob")
    service.push(consent(max_, given=False))
    service.settle()
    assert {name for name in service.user(max_) if not name.startswith("at:")} == REFUSAL
    service.wait(lambda: service.named(max_) == [f"{service.prefix}user:{max_}"], what="nothing but the refusal is left")
    before = len(service.recommendations(max_))
    service.push(event(max_, items[0]))
    service.settle()
    answers = service.recommendations(max_)[before:]
    assert answers
    assert answers[-1]["segment"] is None
    assert answers[-1]["items"]
    assert {item for one in answers[-1]["items"] for reason in one["reasons"] for item in reason["because"]} <= {items[0]}
    assert {name for name in service.user(max_) if not name.startswith("at:")} == REFUSAL


def test_consent_that_is_given_again_begins_anew(service, own):
    kim, old, between, new = own("kim"), own("old"), own("between"), own("new")
    service.push(event(kim, old), event(kim, between, properties={"consent": False}), event(kim, between))
    service.settle()
    service.push(event(kim, new, properties={"consent": True}))
    service.settle()
    stored = service.user(kim)
    assert stored["consent"] is True
    assert [entry["item_id"] for entry in stored["history"]] == [new]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"type": "forget"}, "missing_user_id"),
        ({"type": "forget", "item_id": "tea"}, "unwanted_item_id"),
        ({"type": "consent"}, "missing_consent"),
        ({"type": "consent", "properties": {"consent": "yes"}}, "bad_consent"),
        ({"type": "view", "item_id": "tea", "properties": {"consent": 1}}, "bad_consent"),
    ],
)
def test_nobody_is_forgotten_on_a_guess(service, own, body, error):
    lea = own("lea")
    service.push(event(lea, own("tea")))
    service.send("events", [(lea.encode(), json.dumps(body | ({} if "user" in error else {"user_id": lea})).encode())])
    service.settle()
    letters = [one for one in service.read("dead") if one.key == lea.encode()]
    assert [dict(one.headers)["upwell.error"] for one in letters] == [error.encode()]
    assert service.user(lea)["events"] == 1


def test_the_command_forgets_and_certifies_what_it_looked_at(service, own, run):
    (ida, bob), _ = shared_taste(service, own, "ida", "bob")
    status, told = run("forget", ida, "--json", "--timeout", "10")
    (certificate,) = told["certificates"]
    assert certificate["user"] == ida
    assert abs(certificate["at"] - time.time()) < 60
    assert certificate["searched"]["redis keys"] > 0
    held = {(one["topic"], one["messages"]) for one in certificate["operator"]}
    assert (service.topics["events"], 13) in held, "twelve events, and the one that makes forget"
    assert gone(service, ida)
    status, told = run("forget", "--verify", ida, "--json")
    (certificate,) = told["certificates"]
    # The embedded broker cannot cut off the log; Apache Kafka can.
    assert {trace["place"] for trace in certificate["traces"]} <= {"learned log"}
    assert status == (1 if certificate["traces"] else 0)
    assert run("forget", "--verify", bob, "--json")[0] == 1


def test_an_export_holds_all_that_is_stored_of_a_user(service, own, run):
    (ben, bob), items = shared_taste(service, own, "ben", "bob")
    status, told = run("export", ben, "--topics")
    assert status == 0
    assert told["profile"]["events"] == 12
    assert {entry["item_id"] for entry in told["profile"]["history"]} == {*items}
    assert bob in told["named_by"]
    kinds = [message["topic"] for message in told["messages"]]
    assert kinds.count(service.topics["events"]) == 12
    assert service.topics["recommendations"] in kinds
    assert run("export", own("nobody"))[1] | {"profile": None, "segment": None, "named_by": {}} == run("export", own("nobody"))[1]
