"""The planner: its arithmetic against examples worked by hand, and that more never needs less."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.planning.amounts import WrongAmount, amount, shown
from streams.planning.constants import BY_NAME
from streams.planning.loads import Load, Tuning, event_cost, rhythm, rows, spent
from streams.planning.plan import TooMuch, plan

SMALL = Load(users=1_000, items=300, rate=5_000, peak=2)
LARGE = Load(users=10e6, items=1e6, rate=50e3)


def needs(load: Load, tuning: Tuning | None = None) -> dict[str, float]:
    return {one.name: one.value for one in plan(load, tuning).needs}


@pytest.mark.parametrize(
    ("text", "number"),
    [("10M", 10e6), ("50k", 50e3), ("1.5M", 1.5e6), ("200", 200), ("1,000", 1000), (" 2 G ", 2e9), ("3b", 3e9), (".5k", 500)],
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "10x", "k", "1e6", "1.2.3", "nan", "ten"])
def test_a_wrong_number_is_told_with_what_to_write(text):
    with pytest.raises(WrongAmount, match=r"write it as 50000, 50k, 1\.5M"):
        amount(text)


def test_figures_are_shown_with_three_digits_and_their_unit():
    assert shown(2.5e9, "B a day") == "2.5 GB a day"
    assert shown(11_169_638_146, "bit/s") == "11.2 Gbit/s"
    assert shown(0.07, "s") == "0.07 s"
    assert shown(54, "workers") == "54 workers"
    assert shown(12.3456, "%") == "12.3 %"


@pytest.mark.usefixtures("round_numbers")
def test_the_busy_share_of_a_worker_is_as_worked_by_hand():
    # 10,000 events/s for 2 workers, 100 µs each: .5 of a core. Five batches a second of 1,000 µs and 4 records of 100 µs: .007.
    # The fold: 10,000 visits of 1 µs, and 8 partitions five times a second, 100 µs each: .01 + .004.
    shard = spent(SMALL, 1, 2, Tuning())
    assert (shard.partitions, shard.records, shard.peak) == (8, 40, 10_000)
    assert shard.own == pytest.approx(0.507)
    assert shard.fold == pytest.approx(0.014)
    assert needs(SMALL)["workers"] == 2, "one alone would be busier than .7"


@pytest.mark.usefixtures("round_numbers")
def test_an_event_costs_more_among_users_quadrupled_and_where_its_profile_is_not_cached():
    assert event_cost(1e6, 1) == pytest.approx(100e-6)
    assert event_cost(16e6, 1) == pytest.approx((80 * 2 + 20) * 1e-6)
    half = spent(replace(SMALL, users=400_000), 1, 2, Tuning())
    assert half.own == pytest.approx(0.507 + 5_000 * 100e-6 / 2), "half of the events read a profile, 100 µs each"


@pytest.mark.usefixtures("round_numbers")
def test_memory_is_as_worked_by_hand():
    # 1,000 users in 1,024 rows of 1,000 B, 300 items in 512 rows of 2,000 B, 17,000 profiles of 100 B, and the program.
    found = needs(SMALL)
    assert found["memory"] == pytest.approx(1e6 + 1_024_000 + 1_024_000 + 1_700_000)
    models = 1_000 * 1_000 + 300 * 2_000
    assert found["memory_saving"] == pytest.approx(found["memory"] + 1.5 * models)
    assert found["snapshot"] == pytest.approx(1.6)
    shorter = needs(SMALL, Tuning(visitors=128, length=32))
    assert found["memory"] - shorter["memory"] == pytest.approx(1_024 * 32 * 17.5 + 512 * 128 * 6)


@pytest.mark.usefixtures("round_numbers")
def test_redis_and_kafka_are_as_worked_by_hand():
    found = needs(SMALL)
    models = 1_000 * 1_000 + 300 * 2_000
    assert found["redis_memory"] == pytest.approx(1_000 * (1_000 + 100 * 10) + 300 * 500 + 3 * models * 0.5)
    assert found["redis_nodes"] == 1, "10,000 writes of 20 µs are .2 of a core"
    assert found["events_day"] == pytest.approx(5_000 * 86_400 * 100)
    assert found["recommendations_kept"] == pytest.approx(5_000 * 86_400 * 1_000 * 7 * 3)
    # At 5,000/s a batch takes T = .0022 + .255 T s; but never less than .01: 8 partitions a hundred times a second.
    assert rhythm(plan(SMALL).shard, 5_000, Tuning()) == pytest.approx(0.01)
    assert found["learned_day"] == pytest.approx(86_400 * (5_000 * 50 + 800 * 1_000))
    assert found["http_readers"] == 15, "10,000 reads a second, 700 each"


@pytest.mark.usefixtures("round_numbers")
def test_redis_becomes_a_cluster_when_one_node_has_no_time_or_no_room_left():
    busy = replace(SMALL, rate=15_000)
    assert needs(busy)["redis_nodes"] == 3, "30,000 writes of 20 µs are .6 of a core; of 40 µs, 2.4 nodes"
    assert needs(replace(SMALL, users=2e6, rate=1_000))["redis_nodes"] >= 8, "4 GB in nodes of half a gigabyte"


def test_arrays_have_the_rows_that_doubling_gives():
    assert [rows(count) for count in (1, 256, 257, 1_000, 10e6)] == [256, 256, 512, 1_024, 256 * 2**16]


loads = st.builds(
    Load,
    users=st.floats(1e3, 1e8),
    items=st.floats(1e2, 1e7),
    rate=st.floats(1, 3e4),
    peak=st.floats(1, 5),
    shards=st.just(64),
)


@given(loads, st.sampled_from(["users", "items", "rate", "peak", "days", "replicas"]), st.floats(1, 20))
def test_more_never_needs_less(load, name, times):
    if name == "peak":
        times = min(times, 2.0)
    wanted = getattr(load, name) * times
    more = replace(load, **{name: int(wanted) if name == "replicas" else wanted})
    try:
        grown = needs(more)
    except TooMuch:
        return
    for need, value in needs(load).items():
        # With more to do batches are longer, and make fewer records.
        if not need.startswith(("learned", "network", "busy", "fold")):
            assert grown[need] >= value * (1 - 1e-9), need


@given(loads, st.sampled_from(["users", "items", "rate"]), st.floats(1, 20))
def test_more_never_needs_fewer_shards(load, name, times):
    load = replace(load, shards=None)
    more = replace(load, **{name: getattr(load, name) * times})
    if name == "users":
        assert plan(more).shards >= plan(load).shards
    else:
        assert plan(replace(more, users=load.users)).shards >= plan(load).shards


def test_what_is_full_first_comes_first_and_says_what_helps():
    found = plan(LARGE).bottlenecks
    assert [one.share for one in found] == sorted((one.share for one in found), reverse=True)
    assert all(one.why and one.set for one in found)
    memory = next(one for one in found if one.name == "memory of a worker")
    assert {"models.max_users", "models.max_items", "intake.cached_users"} <= set(memory.set.replace(",", "").split())
    twice = next(one for one in plan(replace(LARGE, memory=2 * LARGE.memory)).bottlenecks if one.name == memory.name)
    assert twice.share == pytest.approx(memory.share / 2)


def test_limits_of_the_models_bound_memory_and_snapshots_but_not_redis_users():
    load = Load(users=10e6, items=1e6, rate=1e3)
    free, limited = needs(load), needs(load, Tuning(max_users=1_000_000, max_items=100_000))
    assert limited["memory"] < free["memory"] / 4
    assert limited["snapshot"] == pytest.approx(free["snapshot"] / 10)
    assert free["redis_memory"] > limited["redis_memory"] > free["redis_memory"] / 2
    assert needs(load, Tuning(max_users=1 << 30, max_items=1 << 30)) == free
    assert rows(700, 600) == 600 < rows(700) == 1024


def test_the_fold_and_the_brokers_bytes_bound_a_shard():
    found = plan(LARGE)
    assert found.shards > 1
    assert all(one.share <= 1.0 for one in found.bottlenecks if "learned log" in one.name)
    with pytest.raises(TooMuch, match="leave --shards out"):
        plan(replace(LARGE, shards=1))


def test_no_number_of_shards_holds_more_users_events_than_a_worker_can_answer_at_all():
    with pytest.raises(TooMuch, match=r"intake\.batch_ms"):
        plan(Load(users=1e6, items=1e5, rate=1e9))


def test_longer_batches_make_less_to_fold():
    short, long = (spent(LARGE, 4, 30, Tuning(batch_s=seconds)) for seconds in (0.05, 0.5))
    assert long.fold < short.fold
    full = spent(LARGE, 4, 30, Tuning(batch_s=10, batch_events=1_250))
    assert full.records == pytest.approx(60), "1,250 events a second of each worker: a batch is full after one"


def test_every_figure_says_from_which_constants_it_comes():
    found = plan(LARGE)
    for one in (*found.needs, *found.bottlenecks):
        assert set(one.constants) <= set(BY_NAME), one.name
        assert one.constants or one.name == "partitions", one.name
    used = {name for one in (*found.needs, *found.bottlenecks) for name in one.constants}
    assert set(BY_NAME) - used == {"measured_users", "measured_items"}, "what nothing is made of has no place in the table"
