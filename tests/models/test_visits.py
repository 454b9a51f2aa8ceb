from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models.rings import rings
from streams.models.visits import POSITION, Visits, held, position_of
from tests.models import worlds
from tests.models.worlds import World


def taught(world: World, **parameters: int) -> Visits:
    visits = Visits(**parameters)
    visits.apply(world.users, world.items, world.weights, world.times)
    return visits


@given(worlds.worlds(), st.integers(1, 6), st.integers(1, 6))
def test_rings_hold_the_last_of_what_plain_lists_hold(world: World, visitors: int, length: int) -> None:
    visits = taught(world, visitors=visitors, length=length)
    by_user, by_item = defaultdict(list), defaultdict(list)
    for user, item, weight, time in zip(world.users, world.items, world.weights, world.times, strict=True):
        by_item[item].append((user, len(by_user[user])))
        by_user[user].append((item, weight, time))
    for item, events in by_item.items():
        assert visits.item_count[item] == len(events)
        for number, (user, position) in list(enumerate(events))[-visitors:]:
            assert visits.item_users[item, number % visitors] == user
            assert visits.item_positions[item, number % visitors] == position
    for user, events in by_user.items():
        assert visits.user_count[user] == len(events)
        for position, event in list(enumerate(events))[-length:]:
            cell = position % length
            assert (
                visits.user_items[user, cell],
                visits.user_weights[user, cell],
                visits.user_times[user, cell],
            ) == event


@given(worlds.worlds(), st.integers(1, 4))
def test_an_items_cell_is_held_just_when_its_users_ring_still_names_the_item(world: World, length: int) -> None:
    visits = taught(world, visitors=100, length=length)
    for item, count in enumerate(visits.item_count[:15]):
        for user, position in zip(visits.item_users[item, :count], visits.item_positions[item, :count], strict=True):
            newest = visits.user_count[user] - 1
            assert held(visits.user_count, user, position, length) == (newest - position < length)
            if held(visits.user_count, user, position, length):
                assert visits.user_items[user, position % length] == item


def test_no_position_is_held_before_the_first_or_after_the_last_visit() -> None:
    visits = Visits(visitors=2, length=3)
    visits.apply([1, 1], [0, 0], [1, 1], [0, 1])
    assert [held(visits.user_count, 1, position, 3) for position in (-1, 0, 1, 2)] == [False, True, True, False]
    assert not held(visits.user_count, 0, -1, 3)


def test_positions_are_told_by_their_last_bits_while_a_user_has_fewer_later_visits_than_these_count() -> None:
    visits, later = Visits(visitors=8, length=5), POSITION - 5
    for items in ([7, 8, 9], [1] * later, [7, 8, 7, 9]):
        visits.apply([1] * len(items), items, np.ones(len(items)), np.arange(len(items)))
    walked, count = rings(visits), int(visits.user_count[1])
    assert count == 3 + later + 4 == POSITION + 2
    found = {
        item: [position_of(told, count) for told in walked.item_positions[item, : visits.item_count[item]]] for item in (7, 8, 9)
    }
    assert found == {7: [later + 6, later + 3, later + 5], 8: [1, later + 4], 9: [2, later + 6]}, "the first is 65,536 visits old"
    restored = Visits.from_arrays(visits.arrays(), visitors=8, length=5)
    for name, array in visits.arrays().items():
        np.testing.assert_array_equal(restored.arrays()[name], array)
    assert restored.item_positions.dtype == np.uint16


def test_snapshots_hold_whole_positions_and_none_of_users_who_left() -> None:
    visits = Visits(visitors=2, length=2)
    visits.apply([0, 1, 1], [4, 4, 5], [1, 1, 1], [1, 2, 3])
    visits.keep_users(np.array([1]))
    arrays = visits.arrays()
    assert (arrays["item_users"].tolist(), arrays["item_positions"].tolist()) == ([-1, 0, 0], [-1, 0, 1])
    assert arrays["item_positions"].dtype == np.int32, "as versions before read them"
    same = Visits.from_arrays(arrays, visitors=2, length=2)
    assert (same.item_positions == visits.item_positions).all()


def test_unused_cells_are_empty() -> None:
    visits = Visits(visitors=2, length=2)
    visits.apply([1], [1], [2.5], [9.0])
    assert visits.item_users[:2].tolist() == [[-1, -1], [1, -1]]
    assert visits.item_positions[:2].tolist() == [[0, 0], [0, 0]]
    assert visits.user_items[:2].tolist() == [[-1, -1], [1, -1]]
    assert visits.user_weights[1].tolist() == [2.5, 0.0]
    assert visits.user_times[1].tolist() == [9.0, 0.0]


def test_reserving_changes_no_cell_and_growing_at_least_doubles() -> None:
    visits = Visits(visitors=2, length=2)
    visits.apply([5], [7], [1], [1])
    rows = len(visits.user_count)
    visits.reserve(rows + 1, 10)
    assert len(visits.user_count) == 2 * rows
    assert (visits.user_items[5, 0], visits.item_users[7, 0], visits.user_count[rows:].sum()) == (7, 5, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1], [0], [1, 1], [1, 1]), "columns of 2 users, 1 items"),
        (([-1], [0], [1], [1]), "known user and a known item"),
        (([0], [-1], [1], [1]), "known user and a known item"),
    ],
)
def test_visits_that_make_no_sense_are_refused_whole(columns: tuple[list[float], ...], message: str) -> None:
    visits = Visits(visitors=2, length=2)
    with pytest.raises(ValueError, match=message):
        visits.apply(*columns)
    assert visits.user_count.sum() == visits.item_count.sum() == 0


def test_arrays_hold_used_cells_only() -> None:
    visits = Visits()
    visits.apply([0, 3, 3], [0, 1, 0], [1, 1, 1], [1, 2, 3])
    assert {name: len(array) for name, array in visits.arrays().items()} == {
        "lengths": 2,
        "item_count": 2,
        "user_count": 4,
        "item_users": 3,
        "item_positions": 3,
        "user_items": 3,
        "user_weights": 3,
        "user_times": 3,
        "user_segments": 3,
        "user_kinds": 2,
    }


def test_arrays_of_other_parameters_are_refused() -> None:
    arrays = taught(worlds.world(1), visitors=5, length=4).arrays()
    with pytest.raises(ValueError, match="not of 6 and 4"):
        Visits.from_arrays(arrays, visitors=6, length=4)


def test_fresh_memory_is_touched_at_once() -> None:
    assert np.all(Visits(visitors=3, length=3).item_users == -1)
