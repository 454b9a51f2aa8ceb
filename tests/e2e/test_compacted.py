"""A topic of recommendations that is compacted has the newest list of each user, and of who is forgotten a null."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.e2e.conftest import renamed, serving
from tests.outside import Outside, consent, event, wish


@pytest.fixture(scope="module")
def tree(shared_tree):
    return renamed(shared_tree, "compacted")


@pytest.fixture(scope="module")
def compacted(tree):
    made = NewTopic(tree["topics"]["recommendations"], 4, 1, config={"cleanup.policy": "compact,delete"})
    admin = AdminClient({"bootstrap.servers": tree["brokers"]})
    for done in admin.create_topics([made]).values():
        done.result()
    with serving(tree) as (worker,), Outside(tree) as outside:
        yield worker, outside


def lists(outside, user):
    return [None if one.value is None else one.json for one in outside.read("recommendations") if one.key == user.encode()]


def test_who_is_forgotten_gets_a_null_there_and_who_comes_back_a_list_after_it(compacted, own):
    _, outside = compacted
    ada, bob = own("ada"), own("bob")
    outside.push(*(event(user, own("tea")) for user in (ada, bob)))
    outside.settle()
    outside.push(wish(ada), wish(bob), event(bob, own("milk")))
    outside.settle()
    assert lists(outside, ada)[-1] is None
    assert lists(outside, bob)[-1]["trigger"]["offset"] > 0
    assert None in lists(outside, bob)
    # The null goes before the list of the same batch.
    assert lists(outside, bob)[-2] is None


def test_the_metrics_count_who_is_forgotten_and_what_is_refused(compacted, own):
    worker, outside = compacted

    def counted(name):
        lines = worker.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(f"{name}_total ")).split()[1])

    before = counted("upwell_forgotten"), counted("upwell_refused_events")
    eve = own("eve")
    outside.push(event(eve, own("tea")))
    outside.settle()
    outside.push(consent(eve, given=False), event(eve, own("tea")), event(eve, own("milk")))
    outside.settle()
    outside.wait(lambda: counted("upwell_refused_events") >= before[1] + 2, what="both events are counted")
    assert (counted("upwell_forgotten"), counted("upwell_refused_events")) == (before[0] + 1, before[1] + 2)
