"""A profile is what its events made of it, and the hash in Redis says the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.profiles import FIELDS, INTEREST_HALF_LIFE, INTERESTS, DamagedProfile, Entry, Profile, Stored
from tests.state.strategies import ids

DAY = 86_400.0


def test_seen_means_that_the_offset_is_not_above_the_last_one_folded_in() -> None:
    profile = Profile("u", 3, {3: 17})
    assert profile.seen(3, 16)
    assert profile.seen(3, 17)
    assert not profile.seen(3, 18)
    assert not profile.seen(2, 0)


@given(st.lists(st.tuples(st.lists(ids, max_size=5), st.floats(0.5, 5), st.floats(0, 200 * DAY)), max_size=40))
def test_interests_stay_positive_and_at_most_twenty(additions: list[tuple[list[str], float, float]]) -> None:
    profile = Profile("u")
    for names, weight, at in additions:
        profile.interest(names, weight, at)
        assert len(profile.interests) <= INTERESTS
        assert all(weight > 0 for weight in profile.interests.values())


def test_interests_decay_by_half_in_a_month() -> None:
    profile = Profile("u")
    profile.interest(["brand:acme"], 8.0, 0.0)
    profile.interest(["brand:other"], 1.0, INTEREST_HALF_LIFE)
    assert profile.interests == {"brand:acme": 4.0, "brand:other": 1.0}


def test_interests_decay_too_when_events_come_every_second() -> None:
    profile, step = Profile("u"), 3600.0
    profile.interest(["old"], 8.0, 0.0)
    for n in range(1, int(INTEREST_HALF_LIFE / step) + 1):
        profile.interest(["new"], 0.001, n * step)
    age = 2.0 ** ((INTEREST_HALF_LIFE - profile.interests_at) / INTEREST_HALF_LIFE)
    assert profile.interests["old"] / age == pytest.approx(4.0, rel=1e-3)


def test_a_late_event_counts_as_much_as_if_it_had_come_in_time() -> None:
    in_time, late = Profile("u"), Profile("u")
    in_time.interest(["a"], 1.0, 0.0)
    in_time.interest(["b"], 1.0, 10 * DAY)
    late.interest(["b"], 1.0, 10 * DAY)
    late.interest(["a"], 1.0, 0.0)
    assert in_time.interests == pytest.approx(late.interests)


def test_the_weakest_interest_makes_room() -> None:
    profile = Profile("u")
    for n in range(INTERESTS):
        profile.interest([f"n{n}"], 1.0 + n, 0.0)
    profile.interest(["new"], 1.5, 1.0)
    assert "n0" not in profile.interests
    assert profile.interests["new"] == 1.5


def test_a_write_keeps_what_was_taken_when_the_profile_goes_on() -> None:
    profile = Profile("u", 1, {1: 5, 4: 9}, events=1)
    taken = profile.write(1, b"[1]", b"[2]", b"{}")
    profile.events, profile.at[1] = 2, 6
    assert (taken.user_id, taken.at, taken.values[1]) == ("u", 5, 1)
    assert b"4=9" in taken.values
    assert dict(zip(FIELDS, taken.values, strict=True))["history"] == b"[1]"


def test_a_history_written_by_hand_is_read_all_the_same() -> None:
    stored = {
        b"at:0": b"1",
        b"history": b'[ {"type": "view", "at": 2, "item_id": "b"}, {"item_id": "a", "type": "x", "at": 1} ]',
    }
    assert Stored.from_hash("u", stored).history == [Entry("b", "view", 2.0), Entry("a", "x", 1.0)]


@pytest.mark.parametrize(
    "damage", [{b"history": b"[{"}, {b"interests": b"[]"}, {b"events": b"many"}, {b"at:x": b"1"}, {b"segment": b"vip"}]
)
def test_a_hash_that_upwell_did_not_write_is_named_with_the_fix(damage: dict[bytes, bytes]) -> None:
    with pytest.raises(DamagedProfile, match=r"user 'alice'.*delete the key"):
        Stored.from_hash("alice", damage)
