from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.popularity import PRIOR, Popularity
from tests.models import worlds
from tests.models.worlds import HOUR, World

PARAMETERS = {"short": 6 * HOUR, "long": 48 * HOUR, "segments": 4, "top": 6}


def taught(world: World, **parameters: float) -> Popularity:
    popularity = Popularity(**{**PARAMETERS, **parameters})
    popularity.apply(world.items, world.weights, world.times, world.segments)
    return popularity


def decayed(world: World, now: float, half_life: float, segment: int | None = None) -> np.ndarray:
    counts = np.zeros(256)
    chosen = np.full(len(world), True) if segment is None else world.segments == segment
    np.add.at(counts, world.items[chosen], (world.weights * np.exp2((world.times - now) / half_life))[chosen])
    return counts


def best(counts: np.ndarray, top: int) -> list[int]:
    order = np.lexsort((np.arange(len(counts)), -counts))[:top]
    found = [int(item) for item in order if counts[item] > 0]
    return found + [-1] * (top - len(found))


@given(worlds.worlds())
def test_counts_are_sums_of_decayed_weights(world: World) -> None:
    popularity = taught(world)
    now = 1.7e9 + 100 * HOUR
    for which, half_life in (("short", 6 * HOUR), ("long", 48 * HOUR)):
        expected = decayed(world, now, half_life)
        found = [popularity.count(item, now, which) for item in range(256)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-25)


@given(worlds.worlds(segments=4))
def test_counts_by_segment_and_totals_are_sums_of_decayed_weights(world: World) -> None:
    popularity = taught(world)
    if len(world):
        for segment, counts in enumerate(popularity.counts(range(4), 256)):
            expected = decayed(world, popularity.landmark_long, 48 * HOUR, segment)
            np.testing.assert_allclose(counts, expected, rtol=1e-5)
            np.testing.assert_allclose(popularity.totals[segment], expected.sum(), rtol=1e-9)
        np.testing.assert_allclose(popularity.totals[-1], popularity.long.sum(), rtol=1e-9)


@settings(max_examples=300)
@given(worlds.worlds(), st.sampled_from([1.0, HOUR / 10, HOUR, 6 * HOUR, 1e9]), st.integers(1, 8))
def test_best_lists_are_what_a_full_sort_gives(world: World, half_life: float, top: int) -> None:
    popularity = taught(world, short=half_life, long=3 * half_life, top=top)
    assert popularity.top_short.tolist() == best(popularity.short, top)
    assert popularity.top_long.tolist() == best(popularity.long, top)
    for counts, listed in zip(popularity.counts(range(4), 256), popularity.top_segment.tolist(), strict=True):
        assert listed == best(counts, top)


def test_ties_go_to_the_lower_index_whatever_came_first() -> None:
    popularity = Popularity(top=3)
    popularity.apply([4, 2, 3, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0])
    assert popularity.top_short.tolist() == popularity.top_segment[0].tolist() == [1, 2, 3]


@given(worlds.worlds(), st.randoms(use_true_random=False))
def test_the_order_of_visits_matters_only_to_the_last_bits(world: World, random: object) -> None:
    order = np.arange(len(world))
    random.shuffle(order)
    one, other = taught(world), taught(World(**{name: column[order] for name, column in world.columns().items()}))
    assert (one.landmark_short, one.landmark_long) == (other.landmark_short, other.landmark_long)
    np.testing.assert_allclose(one.short, other.short, rtol=1e-9, atol=1e-25)
    np.testing.assert_allclose(one.long, other.long, rtol=1e-9, atol=1e-25)
    np.testing.assert_array_equal(one.first_seen, other.first_seen)


def test_landmarks_are_whole_half_lives_up_to_the_latest_visit() -> None:
    popularity = Popularity(short=10.0, long=100.0)
    assert popularity.landmark_short == -np.inf
    popularity.apply([0, 0, 0], [1, 1, 1], [95.0, 128.0, 91.0], [-1, -1, -1])
    assert (popularity.landmark_short, popularity.landmark_long) == (120.0, 100.0)


def test_a_gap_of_many_half_lives_forgets_and_leaves_no_trace() -> None:
    popularity = Popularity(short=1.0, long=2.0, top=3)
    popularity.apply([5, 6, 7], [1, 1, 1], [0.0, 0.0, 5000.0], [1, 1, 1])
    assert popularity.top_short.tolist() == popularity.top_long.tolist() == popularity.top_segment[1].tolist() == [7, -1, -1]
    assert popularity.short[:8].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


def test_a_visit_much_too_late_to_count_enters_no_list() -> None:
    popularity = Popularity(short=1.0, long=1.0, top=2)
    popularity.apply([0, 1], [1, 1], [5000.0, 0.0], [-1, -1])
    assert popularity.top_short.tolist() == [0, -1]
    assert popularity.first_seen[:2].tolist() == [5000.0, 0.0]


def test_trending_gives_the_best_with_their_counts_at_that_time() -> None:
    popularity = Popularity(short=60.0, top=3)
    popularity.apply([7, 8, 7, 9], [1, 1, 1, 0.5], [0, 60, 60, 60], [-1, -1, -1, -1])
    items, counts = popularity.trending(120.0, 2)
    assert items.tolist() == [7, 8]
    assert counts.tolist() == [0.75, 0.5]
    assert popularity.trending(120.0, 99)[0].tolist() == [7, 8, 9]


@given(worlds.worlds(), st.integers(1, 20))
def test_newest_are_those_first_seen_last(world: World, n: int) -> None:
    popularity = taught(world)
    first = {item: world.times[world.items == item].min() for item in {*world.items.tolist()}}
    last = sorted(first, key=lambda item: (first[item], item), reverse=True)
    assert popularity.newest(n).tolist() == last[:n]
    short = Popularity(top=n)
    for visit in range(len(world.times)):
        short.apply(*(column[visit : visit + 1] for column in (world.items, world.weights, world.times, world.segments)))
    assert short.newest(n).tolist() == last[:n]
    assert short.newest(n + 1).tolist() == last[: n + 1]
    assert Popularity.from_arrays(short.arrays(), top=n).newest(n).tolist() == last[:n]


def test_newest_is_up_to_date_after_every_batch() -> None:
    popularity = Popularity()
    popularity.apply([0, 1], [1, 1], [10, 20], [-1, -1])
    assert popularity.newest(2).tolist() == [1, 0]
    popularity.apply([2, 1], [1, 1], [30, 5], [-1, -1])
    assert popularity.newest(1).tolist() == [2]
    assert popularity.newest(5).tolist() == [2, 0, 1]


def test_lift_puts_first_what_a_segment_visits_more_than_others_do() -> None:
    popularity = Popularity(segments=2)
    items = [0] * 100 + [1] * 50 + [0] * 100 + [2] * 20 + [3] * 2
    segments = [0] * 150 + [1] * 122
    popularity.apply(items, np.ones(272), np.zeros(272), segments)
    assert popularity.lift(0, 5).tolist() == [1, 0]
    assert popularity.lift(1, 1).tolist() == [2]
    assert popularity.lift(1, 5).tolist() == [2, 0, 3], "two visits of two are no evidence yet"
    found, lifts = popularity.lifts(0)
    expected = [(100 + PRIOR) / (200 * 150 / 272 + PRIOR), (50 + PRIOR) / (50 * 150 / 272 + PRIOR)]
    assert found.tolist() == [0, 1]
    np.testing.assert_allclose(lifts, expected)


def test_without_visits_there_is_nothing_to_tell() -> None:
    popularity = Popularity()
    assert popularity.count(0, 0.0) == popularity.count(99_999, 0.0) == popularity.count(-1, 0.0) == 0.0
    assert len(popularity.trending(0.0, 5)[0]) == len(popularity.newest(5)) == len(popularity.lift(3, 5)) == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1], [1], [1, 1], [0, 0]), "columns of 2 items, 1 weights"),
        (([-1], [1], [1], [0]), "known item"),
        (([0], [1], [1], [4]), "segment below 4"),
        (([0], [1], [1], [-2]), "segment below 4"),
    ],
)
def test_visits_that_make_no_sense_are_refused_whole(columns: tuple[list[float], ...], message: str) -> None:
    popularity = Popularity(**PARAMETERS)
    with pytest.raises(ValueError, match=message):
        popularity.apply(*columns)
    assert popularity.totals.sum() == 0


def test_arrays_of_other_parameters_are_refused() -> None:
    arrays = taught(worlds.world(1)).arrays()
    with pytest.raises(ValueError, match="top_short is"):
        Popularity.from_arrays(arrays, **{**PARAMETERS, "top": 7})


def test_room_is_made_for_the_segments_that_visit_and_the_others_count_nothing() -> None:
    popularity = Popularity(segments=20, top=3)
    popularity.apply([4], [1], [0], [-1])
    assert popularity.by_segment.shape[0] == 0
    popularity.apply([4, 5], [1, 1], [0, 0], [1, 9])
    assert popularity.by_segment.shape[0] == 16
    popularity.apply([5], [1], [0], [19])
    assert popularity.by_segment.shape[0] == 20
    assert popularity.counts([0, 1, 9, 19], 6)[:, 4:].tolist() == [[0, 0], [1, 0], [0, 1], [0, 1]]
    assert popularity.arrays()["by_segment"].shape == (20, 6), "as versions before read it"
    few = Popularity(segments=20, top=3)
    few.apply([4], [1], [0], [3])
    for empty in (few.lift(15, 3), few.lifts(15)[1]):
        assert len(empty) == 0
    few.forget(np.array([3, 15]))
    restored = Popularity.from_arrays(few.arrays(), segments=20, top=3)
    assert (restored.by_segment.shape[0], len(restored.counts([3], 5))) == (0, 1)
    restored.take_back(np.array([4]), np.array([1.0], np.float32), np.array([0.0]), np.array([3], np.int16))
    assert not restored.counts([3], 5).any()
