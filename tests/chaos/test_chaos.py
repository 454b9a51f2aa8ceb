"""A short run on real servers: what is worst of each kind befalls two workers under load, and all counts once."""

from __future__ import annotations

import json

import pytest

from tests.chaos import run
from tests.chaos.plan import Fault, Round

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

ROUNDS = [
    Round(1, (Fault("hung and killed", 0, 1.0, 0), Fault("redis failed over late", None, 1.0, 0)), 0.3, settle=False),
    Round(2, (Fault("kafka killed", None, 0, 0),), 0.3, settle=True),
    Round(3, (Fault("freeze", 1, 7.5, 0), Fault("redis full", None, 2.0, 0)), 0.3, settle=False),
    Round(4, (Fault("kill", 0, 0, 0), Fault("redis split", None, 1.0, 0)), 0.3, settle=True),
]


def test_all_counts_once_through_the_worst_of_each_kind(kafka_jars):
    said: list[str] = []
    report = run.chaos(
        kafka_jars, seed=11, rounds=4, events=4_000, workers=2, every=4, recreated=False, say=said.append, faults=ROUNDS
    )
    assert report.rounds == 4
    assert report.last.wrong == {}
    assert (report.last.lost, report.last.double) == (0, 0)
    # What the load sends without a key counts by its second place, what is damaged not at all.
    assert 3_500 < report.last.events < 4_500
    assert "seed 11" in "\n".join(report.lines())
    assert json.loads(report.told())["proofs"]["4"]["wrong"] == {}
