from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.histories import NAMES, Histories
from tests.models import worlds
from tests.models.worlds import World


@given(worlds.worlds(), st.integers(1, 6))
def test_a_query_gives_what_bounded_deques_hold_newest_first(world: World, length: int) -> None:
    histories = Histories(slots=16, length=length)
    histories.push(world.users, world.items, world.weights, world.times, world.items % 2)
    oracle = defaultdict(lambda: deque(maxlen=length))
    for event in zip(world.users, world.items, world.weights, world.times, strict=True):
        oracle[int(event[0])].appendleft(event[1:])
    to_model = np.arange(10, dtype=np.int32) + 100
    query = histories.query(range(16), to_model, np.full(16, 9.0))
    for slot in range(16):
        own = slice(query.starts[slot], query.starts[slot + 1])
        expected = list(oracle[slot])
        assert query.items[own].tolist() == [100 + item if item < 10 else -1 for item, _, _ in expected]
        assert query.weights[own].tolist() == [weight for _, weight, _ in expected]
        assert query.times[own].tolist() == [time for _, _, time in expected]
        assert query.blocked[own].tolist() == [item % 2 for item, _, _ in expected]


def test_a_query_is_in_the_order_asked_and_may_repeat_a_user() -> None:
    histories = Histories(slots=4)
    histories.push([1, 2], [0, 1], [1, 1], [10, 20])
    query = histories.query([2, 0, 1, 2], [5, 6], [1.0, 2.0, 3.0, 4.0], users=[7, -1, 8, 7])
    assert query.items.tolist() == [6, 5, 6]
    assert query.starts.tolist() == [0, 1, 1, 2, 3]
    assert query.users.tolist() == [7, -1, 8, 7]
    assert query.now.tolist() == [1, 2, 3, 4]


def test_users_are_unknown_to_the_models_and_nothing_is_blocked_by_default() -> None:
    histories = Histories(slots=4)
    histories.push([0], [0], [1], [1])
    query = histories.query([0], [3], [1.0])
    assert (query.users.tolist(), query.blocked.tolist()) == ([-1], [0])


def test_a_query_is_not_changed_by_later_events() -> None:
    histories = Histories(slots=2)
    histories.push([0], [0], [1], [1])
    query = histories.query([0], [3, 4], [1.0])
    histories.push([0], [1], [1], [2])
    assert query.items.tolist() == [3]


def test_loading_equals_pushing_from_the_oldest_on() -> None:
    loaded, pushed = Histories(slots=2, length=3), Histories(slots=2, length=3)
    loaded.load(1, [4, 3, 2, 1], [0.5, 1, 2, 3], [40, 30, 20, 10], [1, 0, 0, 1], [8, 7, 6, 5], [44, 33, 22, 11])
    pushed.push([1] * 4, [1, 2, 3, 4], [3, 2, 1, 0.5], [10, 20, 30, 40], [1, 0, 0, 1], [5, 6, 7, 8], [11, 22, 33, 44])
    for name in (*NAMES, "count"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(pushed, name))


def test_loading_and_clearing_leave_nothing_of_the_user_before() -> None:
    histories = Histories(slots=2, length=3)
    for forget in (lambda: histories.clear(0), lambda: histories.load(0, [], [], [])):
        histories.push([0, 0], [1, 2], [1, 1], [1, 2])
        forget()
        assert histories.count[0] == 0
        assert histories.items[0].tolist() == [-1, -1, -1]


def test_memory_grows_by_doubling_up_to_the_slots_and_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.models.slots.MAPPED_SLOTS", 256)
    histories = Histories(slots=700, length=2)
    sizes = [len(histories.count)]
    for slot in (255, 256, 512, 699):
        histories.push([slot], [slot], [1], [1])
        sizes.append(len(histories.count))
    assert sizes == [256, 256, 512, 700, 700]
    assert histories.items[[255, 256, 512, 699], 0].tolist() == [255, 256, 512, 699]
    assert (histories.items[:, 1] == -1).all()


@pytest.mark.parametrize("slot", [-1, 4])
def test_a_slot_out_of_range_is_an_error(slot: int) -> None:
    histories = Histories(slots=4)
    message = "are not all within 0 to 3"
    with pytest.raises(IndexError, match=message):
        histories.push([0, slot], [0, 0], [1, 1], [1, 1])
    with pytest.raises(IndexError, match=message):
        histories.clear(slot)
    with pytest.raises(IndexError, match=message):
        histories.query([slot], [0], [0.0])
    assert histories.count.sum() == 0


def test_columns_that_do_not_fit_together_are_refused() -> None:
    histories = Histories(slots=4)
    with pytest.raises(ValueError, match="columns of"):
        histories.push([0], [0], [1, 1], [1])
    with pytest.raises(ValueError, match="2 slots for 1 events"):
        histories.push([0, 1], [0], [1], [1])
