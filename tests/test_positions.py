"""Where a worker goes on, and how it notices that Redis lost what it had acknowledged."""

import logging

import pytest

from state.store import Applied
from streams.failures import Refusal, is_transient
from streams.learned import Taught, Teacher
from streams.positions import Positions, RedisLost


def positions(taught=None):
    return Positions("events", Teacher(1, Taught({} if taught is None else {0: taught})))


@pytest.mark.parametrize(
    ("applied", "taught", "begin", "at"),
    [(3, 5, 0, 3), (5, 3, 0, 3), (None, 5, 0, 0), (5, None, 0, 0), (None, None, 4, 4), (None, 5, 4, 4)],
)
def test_rule_2_reading_goes_on_where_both_redis_and_the_log_are(applied, taught, begin, at):
    mine = positions(taught)
    assert mine.resume(0, applied, begin, 9) == at
    assert mine.begins({0: at}) == {0: at}


def test_events_deleted_before_they_were_applied_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        mine = positions(3)
        assert mine.resume(0, 5, 7, 9) == 7
    assert "events[0]: events 3 to 7 were deleted before they were applied" in caplog.text
    assert mine.deleted == 4


@pytest.mark.parametrize(("applied", "taught"), [(10, 3), (3, 10), (10, None), (None, 10)])
def test_rule_8_a_topic_that_ends_below_what_was_applied_was_recreated(applied, taught):
    with pytest.raises(Refusal, match=r"events\[0\] ends at 9, but events up to 10 were applied") as refusal:
        positions(taught).resume(0, applied, 0, 9)
    assert refusal.value.fix == "upwell reset"


def test_a_topic_that_ends_just_where_it_was_applied_is_served():
    assert positions(9).resume(0, 9, 9, 9) == 9


def test_reading_moves_the_position_and_a_commit_what_is_applied():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    mine.read({0: 6})
    assert mine.begins({0: 6}) == {0: 6}
    goals = mine.goals({0: 6})
    assert goals == {0: Applied(3, 6)}
    mine.committed(goals, {0: 3})
    assert mine.goals({0: 8}) == {0: Applied(6, 8)}


def test_rule_8_an_offset_below_what_was_read_is_of_another_topic():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    mine.read({0: 6})
    assert mine.begins({0: 7}) == {0: 6}  # Kafka may have deleted what lies between
    with pytest.raises(Refusal, match=r"events\[0\] gave offset 0 where events up to 6 were read") as refusal:
        mine.begins({0: 0})
    assert refusal.value.fix == "upwell reset"


def test_rule_6_less_than_redis_had_acknowledged_is_a_loss_that_passes():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    for before in (2, None):
        with pytest.raises(RedisLost, match=r"of partition 0, it had acknowledged 3") as lost:
            mine.committed({0: Applied(3, 6)}, {0: before})
        assert is_transient(lost.value)


def test_rule_6_profiles_that_were_read_from_less_than_was_acknowledged_are_not_used():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    known = dict(mine.applied)
    mine.committed(mine.goals({0: 5}), {0: 3})
    mine.loaded(known, {0: 3})  # the batch before was written while these were read
    mine.loaded(known, None)  # all were cached
    mine.loaded({1: 9}, {})  # a partition that went to another worker meanwhile
    for seen in ({0: 2}, {}):
        with pytest.raises(RedisLost):
            mine.loaded(known, seen)


def test_rule_6_a_redis_that_was_empty_at_first_lost_nothing():
    mine = positions()
    mine.resume(0, None, 0, 9)
    mine.committed(mine.goals({0: 4}), {0: None})
    with pytest.raises(RedisLost):
        mine.committed(mine.goals({0: 5}), {0: None})


def test_rule_6_what_another_worker_brought_further_is_expected_from_then_on():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    mine.committed(mine.goals({0: 5}), {0: 8})
    assert mine.goals({0: 6}) == {0: Applied(8, 6)}


def marked(rewind=3.0):
    """A partition of which a hundred more are applied every second."""
    mine = positions(0)
    mine.resume(0, 0, 0, 9_999)
    for second in range(8):
        mine.applied[0] = 100 * second
        mine.mark(float(second), rewind)
    return mine


def test_rule_6_safe_is_what_was_applied_so_many_seconds_before_all_shards_were_last_seen_whole():
    assert marked().safe() == {0: 400}
    assert marked(rewind=0.0).safe() == {0: 700}


def test_rule_6_nothing_is_known_to_be_safe_before_so_many_seconds():
    assert positions().safe() == {}
    assert marked(rewind=8.0).safe() == {}


def test_rule_6_what_is_applied_again_is_not_taken_for_safe_meanwhile():
    mine = marked()
    mine.set_back(0, 150)
    mine.applied[0] = 150
    assert mine.safe() == {0: 150}
    for second in range(8, 12):
        mine.mark(float(second), 3.0)
        assert mine.safe() == {0: 150}


def test_rule_6_a_partition_that_comes_back_has_no_marks_of_before():
    mine = marked()
    mine.release(0)
    mine.resume(0, 0, 0, 9_999)
    assert mine.safe() == {}


def test_a_partition_that_went_away_is_forgotten():
    mine = positions(3)
    mine.resume(0, 3, 0, 9)
    mine.release(0)
    mine.release(0)
    assert (mine.next, mine.applied) == ({}, {})
