"""Implicit's models beside the blend: refitted on what was before, counted under the same protocol."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from streams.bench import item_knn
from streams.evaluation.recorded import recorded
from streams.evaluation.run import Evaluation
from streams.schemas import Event
from streams.settings import Settings

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("implicit"), reason="implicit is not installed")

GROUPS = 5


def world(users: int = 100) -> list[Event]:
    """User by user, each meets all four items of one of five groups: what comes next is in the group."""
    return [
        Event("view", f"u{user}", f"g{user % GROUPS}-{(user // GROUPS + step) % 4}", 100.0 * user + step, 100.0 * user + step)
        for user in range(users)
        for step in range(4)
    ]


def ranked(events: list[Event], warmup: int, exclude: str = "none") -> dict[str, dict[str, float]]:
    return item_knn.peers(Evaluation(Settings(exclude=exclude), recorded(events), warmup))


def test_what_goes_together_is_found():
    found = ranked(world(), 200)
    assert set(found) == {"implicit cosine", "implicit BM25", "implicit ALS"}
    assert all(figures["hr@10"] == 1.0 for figures in found.values())


def test_without_repeats_the_users_own_items_take_no_place():
    # One to three of the group's four items are left: the mean of 1 and (1 + 1/2) / 2 and (1 + 1/2 + 1/3) / 3 at least.
    for figures in ranked(world(), 200, "seen").values():
        assert figures["mrr@20"] > 0.5
        assert figures["mrr@20"] > ranked(world(), 200)["implicit cosine"]["mrr@20"]


def test_a_model_knows_nothing_that_came_after_its_last_refit():
    events = world()
    # Ten strangers' items, all within the last twentieth: nobody can have been told of them.
    late = [Event("view", f"s{user}", f"new{step}", 1e5 + user, 1e5 + user) for user in range(10) for step in range(2)]
    evaluation = Evaluation(Settings(exclude="none"), recorded(events + late), len(events))
    assert len(evaluation.protocol.places) == 10
    assert all(figures["hr@20"] == 0.0 for figures in item_knn.peers(evaluation).values())
    assert np.count_nonzero(evaluation.outcome.blend) == 0
