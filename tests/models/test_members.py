"""Sizes and growth agree with moving one user after the other and writing sizes down when a day begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.members import GROWTH_DAYS, Members

DAY = 86400.0
SEGMENTS = 4
PROPERTY = settings(max_examples=80, deadline=None)

# Batches of (user, segment, seconds since the visit before); a user has one segment in a batch, that of its end.
visits = st.tuples(st.integers(0, 9), st.integers(-1, SEGMENTS - 1), st.floats(-0.5 * DAY, 3 * DAY))
batches = st.lists(st.lists(visits, max_size=8), max_size=12)


class Diary:
    """The same, slowly: every size as of every day."""

    def __init__(self) -> None:
        self.segment_of: dict[int, int] = {}
        self.days: dict[int, list[int]] = {}

    def sizes(self) -> list[int]:
        return [list(self.segment_of.values()).count(segment) for segment in range(SEGMENTS)]

    def visit(self, user: int, segment: int, time: float) -> None:
        for day in range(max(self.days, default=int(time // DAY) - 1) + 1, int(time // DAY) + 1):
            self.days[day] = self.sizes()
        self.segment_of[user] = segment

    def growth(self) -> list[float | None]:
        before = self.days.get(max(self.days, default=0) - GROWTH_DAYS, [0] * SEGMENTS)
        return [now / then - 1 if then else None for now, then in zip(self.sizes(), before, strict=True)]


def told(drawn: list[list[tuple[int, int, float]]]) -> tuple[Members, Diary]:
    members, diary, time = Members(segments=SEGMENTS), Diary(), 1.7e9
    for batch in drawn:
        segment_of = {user: segment for user, segment, _ in batch}
        users = list(segment_of)
        times = []
        for user, _, passed in batch:
            time += passed
            times.append(time)
            diary.visit(user, segment_of[user], time)
        members.apply(users, list(segment_of.values()), [users.index(user) for user, _, _ in batch], times)
    return members, diary


@PROPERTY
@given(batches)
def test_sizes_are_the_counts_of_users_by_their_segment(drawn) -> None:
    members, diary = told(drawn)
    assert members.sizes.tolist() == diary.sizes()
    assert {user: int(members.of_user[user]) for user in diary.segment_of} == diary.segment_of


@PROPERTY
@given(batches)
def test_growth_is_over_the_size_when_the_day_a_week_ago_began(drawn) -> None:
    members, diary = told(drawn)
    grown = [None if np.isnan(one) else one for one in members.growth().tolist()]
    assert grown == pytest.approx(diary.growth())


def test_who_visited_nothing_moves_too() -> None:
    members = Members(segments=2)
    members.apply([0, 1], [0, 0], [0, 1], [DAY, DAY])
    members.apply([0, 1], [-1, 1], [], [])
    assert members.sizes.tolist() == [0, 1]
    assert members.of_user[:2].tolist() == [-1, 1]


def test_a_visit_that_comes_late_counts_for_the_day_at_hand() -> None:
    members = Members(segments=1)
    for user, day in enumerate((0, 7, 3)):
        members.apply([user], [0], [0], [day * DAY])
    # A week ago there was nobody; the late one did not turn the calendar back.
    assert members.today[0] == 7
    assert members.days[:, 0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    members.apply([3], [0], [0], [8 * DAY])
    assert members.growth().tolist() == [3.0]


@pytest.mark.parametrize("segment", [-2, 2])
def test_a_segment_out_of_range_is_refused_and_moves_nobody(segment: int) -> None:
    members = Members(segments=2)
    with pytest.raises(ValueError, match="a segment is below 2, or -1"):
        members.apply([0, 1], [0, segment], [0, 1], [1.0, 1.0])
    assert not members.sizes.any()


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 users, 1 segments, 0 places, 0 times"):
        Members().apply([0, 1], [0], [], [])


def test_there_must_be_room_for_a_segment() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Members(segments=0)


def test_arrays_of_other_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="sizes is"):
        Members.from_arrays(Members(segments=2).arrays(), segments=3)
