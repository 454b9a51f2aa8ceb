from __future__ import annotations

import itertools
from collections import Counter

import numpy as np

from tests.models.worlds import checkerboard, world


def test_in_the_checkerboard_world_only_the_right_item_ever_follows_a_users_last() -> None:
    events, right = checkerboard()
    walks = {user: events.items[events.users == user] for user in range(len(right))}
    after = {item: Counter() for item in range(len(right))}
    for walk in walks.values():
        for item, following in itertools.pairwise(walk):
            after[item][following] += 1
    assert [set(after[walks[user][-1]]) for user in walks] == [{item} for item in right]
    assert np.all(np.diff(events.times) > 0)


def test_the_random_world_has_late_events_and_users_and_items_of_all_frequencies() -> None:
    events = world(1, events=1000)
    assert 0.02 < np.mean(np.diff(events.times) < 0) < 0.2
    for column in (events.users, events.items):
        counts = np.bincount(column)
        assert counts.max() > 5 * np.median(counts)
