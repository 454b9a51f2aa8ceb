"""Habits agree with counting every visit again at every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.habits import HOURS, UNNAMED, Habits
from streams.models.ids import pack
from tests.models.worlds import HOUR, TYPES, World, kinds, world, worlds

HALF_LIFE = 48 * HOUR
PROPERTY = settings(max_examples=40, deadline=None)


def counted(events: World, *, types: int = 31) -> Habits:
    habits = Habits(half_life=HALF_LIFE, segments=4, types=types)
    habits.apply(events.segments, events.times, kinds(events), pack(TYPES))
    return habits


def counted_again(events: World, landmark: float) -> tuple[dict[tuple[int, int], float], dict[tuple[int, bytes], float]]:
    """Plain sums as of the landmark, over all visits of users with a segment."""
    hours: dict[tuple[int, int], float] = {}
    types: dict[tuple[int, bytes], float] = {}
    for segment, time, kind in zip(events.segments.tolist(), events.times.tolist(), kinds(events).tolist(), strict=True):
        if segment >= 0:
            gain = 2.0 ** ((time - landmark) / HALF_LIFE)
            hour = segment, int(time // HOUR) % HOURS
            hours[hour] = hours.get(hour, 0.0) + gain
            types[segment, TYPES[kind]] = types.get((segment, TYPES[kind]), 0.0) + gain
    return hours, types


@PROPERTY
@given(worlds(segments=4))
def test_hours_and_types_are_the_decayed_sums_of_all_visits(events: World) -> None:
    habits = counted(events)
    hours, types = counted_again(events, float(habits.landmark[0]))
    expected = np.zeros((4, HOURS))
    for place, sum_ in hours.items():
        expected[place] = sum_
    np.testing.assert_allclose(habits.hours, expected, rtol=1e-9, atol=1e-25)
    columns = {name: column for column, name in enumerate(habits.names.names(range(len(habits.names))))}
    expected = np.zeros(habits.kinds.shape)
    for (segment, name), sum_ in types.items():
        expected[segment, columns[name]] = sum_
    np.testing.assert_allclose(habits.kinds, expected, rtol=1e-9, atol=1e-25)


def test_types_beyond_those_told_apart_are_counted_together() -> None:
    events = world(3)
    all_apart, two = counted(events), counted(events, types=2)
    first = list(dict.fromkeys(TYPES[kind] for kind in kinds(events).tolist()))[:2]
    assert two.names.names(range(len(two.names))) == first
    np.testing.assert_array_equal(two.kinds[:, :2], all_apart.kinds[:, :2])
    np.testing.assert_allclose(two.kinds[:, 2], all_apart.kinds[:, 2:].sum(axis=1))


def test_a_visit_whose_type_has_no_place_is_counted_with_the_rest() -> None:
    habits = Habits(segments=1)
    habits.apply([0, 0], [1.7e9, 1.7e9], [UNNAMED, 0], pack([b"view"]))
    assert habits.kinds[0, -1] == habits.kinds[0, 0] > 0
    assert len(habits.names) == 1


@given(st.lists(st.sampled_from(TYPES), min_size=1, max_size=20))
def test_columns_do_not_depend_on_the_order_in_which_a_lesson_lists_its_types(visited: list[bytes]) -> None:
    forward, backward = Habits(segments=1, types=2), Habits(segments=1, types=2)
    for habits, listed in ((forward, TYPES), (backward, TYPES[::-1])):
        habits.apply([0] * len(visited), [1.7e9] * len(visited), [listed.index(name) for name in visited], pack(listed))
    np.testing.assert_array_equal(forward.kinds, backward.kinds)
    assert forward.names.names(range(len(forward.names))) == backward.names.names(range(len(backward.names)))


@pytest.mark.parametrize("segment", [-2, 4])
def test_a_segment_out_of_range_is_refused_and_teaches_nothing(segment: int) -> None:
    habits = Habits(segments=4)
    with pytest.raises(ValueError, match="a segment is below 4, or -1"):
        habits.apply([0, segment], [1.0, 2.0], [0, 0], pack([b"view"]))
    assert not habits.hours.any()
    assert len(habits.names) == 0


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 segments, 1 times, 2 kinds"):
        Habits().apply([0, 0], [1.0], [0, 0], pack([b"view"]))


@pytest.mark.parametrize("parameters", [{"half_life": 0.0}, {"segments": 0}, {"types": 0}, {"types": UNNAMED}])
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Habits(**parameters)


def test_arrays_of_other_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="hours is"):
        Habits.from_arrays(Habits(segments=4).arrays(), segments=5)
