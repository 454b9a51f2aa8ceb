"""Rules 1 to 4 and the teaching side of rule 8, each alone."""

import pytest

from streams.learned import Taught, Teacher
from streams.records import Kind, Record

ME, OTHER = 1, 2


def record(start, end, *, partition=0, writer=ME, kind=Kind.LESSON):
    return Record(kind, writer, partition, start, end, b"")


def teacher(**ends):
    taught = Taught({int(partition[1:]): end for partition, end in ends.items()})
    return Teacher(ME, taught)


def follow(mine, seen):
    """Fold a record as the follower does, and tell whether the worker goes back."""
    return mine.refused(seen, accepted=mine.taught.accept(seen))


def test_rule_1_a_record_is_accepted_where_the_last_one_ended():
    taught = Taught({0: 5})
    assert taught.accept(record(5, 8))
    assert taught.ends == {0: 8}


def test_rule_1_a_partition_begins_with_its_first_record():
    taught = Taught()
    assert taught.accept(record(7, 9))
    assert taught.ends == {0: 9}


@pytest.mark.parametrize(("start", "end"), [(4, 8), (6, 8), (5, 5), (5, 4), (0, 5)])
def test_rule_1_any_other_record_is_refused_and_changes_nothing(start, end):
    taught = Taught({0: 5})
    assert not taught.accept(record(start, end))
    assert taught.ends == {0: 5}


def test_rule_1_an_empty_record_does_not_begin_a_partition():
    taught = Taught()
    assert not taught.accept(record(5, 5))
    assert taught.ends == {}


def test_rule_1_partitions_know_nothing_of_each_other():
    taught = Taught({0: 5})
    assert taught.accept(record(2, 3, partition=1))
    assert taught.ends == {0: 5, 1: 3}


@pytest.mark.parametrize(
    ("applied", "taught", "at"), [(3, 5, 3), (5, 3, 3), (None, 5, None), (5, None, None), (None, None, None)]
)
def test_rule_2_reading_resumes_at_the_lesser_of_applied_and_taught(applied, taught, at):
    mine = teacher() if taught is None else teacher(p0=taught)
    assert mine.resume(0, applied) == at


def test_rule_2_what_was_under_way_is_not_waited_for():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    mine.resume(0, 5)
    assert mine.start(0, 5) == 5
    assert not mine.refused(record(5, 9), accepted=False)


def test_rule_3_a_batch_that_begins_below_what_is_taught_is_split_there():
    mine = teacher(p0=7)
    mine.resume(0, 5)
    assert mine.start(0, 5) == 7


def test_rule_3_a_batch_teaches_from_the_end_of_the_records_under_way():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    mine.send(0, 9, 12)
    assert mine.start(0, 12) == 12


def test_rule_3_what_others_taught_beyond_the_records_under_way_is_not_taught_again():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 6)
    mine.taught.accept(record(5, 9, writer=OTHER))
    assert mine.start(0, 6) == 9


def test_rule_3_a_partition_nobody_taught_begins_where_it_is_read():
    mine = teacher()
    mine.resume(0, None)
    assert mine.start(0, 40) == 40


def test_rule_3_a_record_covers_events_that_kafka_deleted_before_they_were_taught():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    assert mine.start(0, 30) == 5


def test_rule_4_an_own_record_that_was_refused_sends_the_worker_back():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    assert not follow(mine, record(5, 7, writer=OTHER))
    assert follow(mine, record(5, 9))


def test_rule_4_a_refused_record_keeps_its_place_until_the_worker_has_gone_back():
    """A batch made meanwhile must not begin at what is taught: it does not hold the events in between."""
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    follow(mine, record(5, 7, writer=OTHER))
    follow(mine, record(5, 9))
    assert mine.start(0, 9) == 9
    assert not mine.taught.accept(record(9, 12))


@pytest.mark.parametrize(
    "seen", [record(5, 9, writer=OTHER), record(5, 8), record(5, 9, partition=3), record(5, 9, kind=Kind.CENTERS)]
)
def test_rule_4_nothing_else_does(seen):
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    assert not mine.refused(seen, accepted=False)


def test_rule_4_a_second_copy_of_an_accepted_record_does_not():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    assert not follow(mine, record(5, 9))
    assert not follow(mine, record(5, 9))
    assert mine.start(0, 9) == 9


def test_rule_4_a_partition_that_went_away_does_not():
    mine = teacher(p0=5)
    mine.resume(0, 5)
    mine.send(0, 5, 9)
    mine.release(0)
    assert not mine.refused(record(5, 9), accepted=False)


def test_rule_8_a_re_keyed_event_is_taught_once():
    mine = teacher()
    mine.resume(0, None)
    assert [mine.fresh(0, 1, offset) for offset in (4, 4, 6, 5)] == [True, False, True, False]
    assert mine.fresh(0, 2, 4)


def test_rule_8_a_re_keyed_event_of_an_accepted_record_is_not_taught_again():
    mine = teacher()
    mine.taught.remember(0, [(1, 4), (1, 3)])
    mine.resume(0, None)
    assert not mine.fresh(0, 1, 4)
    assert mine.fresh(0, 1, 5)


def test_rule_8_a_re_keyed_event_that_another_worker_taught_since_is_not_taught_again():
    mine = teacher()
    mine.resume(0, None)
    mine.taught.accept(record(0, 3, writer=OTHER))
    mine.taught.remember(0, [(1, 4)])
    assert not mine.fresh(0, 1, 4)


def test_rule_8_a_re_keyed_event_of_a_refused_record_is_taught_again():
    mine = teacher()
    mine.resume(0, None)
    assert mine.fresh(0, 1, 4)
    mine.resume(0, None)
    assert mine.fresh(0, 1, 4)


def test_a_reset_forgets_every_position():
    taught = Taught({0: 5}, {0: {1: 4}})
    taught.clear()
    assert (taught.ends, taught.origins) == ({}, {})
