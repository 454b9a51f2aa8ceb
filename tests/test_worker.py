from __future__ import annotations

from collections.abc import Callable

from streams.embedded import Broker
from streams.settings import Settings
from tests.fixtures.workers import Tree, merged
from tests.worker import environment


def test_settings_become_variables() -> None:
    tree = {"group": "a", "intake": {"batch_ms": 5}, "partitions": 2}
    assert environment(tree) == {"UPWELL_GROUP": "a", "UPWELL_INTAKE_BATCH_MS": "5", "UPWELL_PARTITIONS": "2"}


def test_settings_of_a_test_change_single_fields_of_a_section() -> None:
    tree = merged({"group": "a", "intake": {"batch_ms": 5, "rewind_s": 1}}, {"intake": {"batch_ms": 9}, "size": 3})
    assert tree == {"group": "a", "intake": {"batch_ms": 9, "rewind_s": 1}, "size": 3}


def test_two_tests_share_no_name(options: Callable[..., Tree], settings: Callable[..., Settings], broker: Broker) -> None:
    checked = settings(broker, partitions=2, intake={"batch_ms": 5})
    assert (checked.partitions, checked.intake.batch_ms, checked.brokers) == (2, 5, broker.address)
    assert checked.topics.events == options(broker)["topics"]["events"] != "events"
    assert checked.group != "group"
