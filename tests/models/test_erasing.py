"""After an erasure the models equal those of a run in which the user never acted, as far as rings remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.models.blend import Blend
from streams.models.catalog_change import CatalogChange
from streams.models.decay import less
from streams.models.erasing import erase
from streams.models.ids import pack
from streams.models.models import Models
from streams.models.popularity import Popularity
from streams.models.query import Query
from streams.models.recommend import Recommender
from tests.models import worlds
from tests.models.worlds import ALL, HOUR, World

DAY = 24 * HOUR
USERS, ITEMS = 6, 9
# What one user does fits into the rings, and what all do to one item.
WIDE: Any = ALL | {"visits": {"visitors": 64, "length": 64}, "catalog": worlds.SHELVES | {"posting": 16}}
# A little of it does.
NARROW: Any = ALL | {"visits": {"visitors": 7, "length": 5}}
PROPERTY = settings(max_examples=30, deadline=None)
# What additions in another order may differ by, of float64 and of float32.
SUMS, SINGLE_SUMS = 1e-9, 1e-4


@dataclass(frozen=True)
class Log:
    """Batches of events; in all runs two others begin, with each type of event, and end."""

    batches: tuple[World, ...]

    def without(self, *users: int) -> Log:
        return Log(tuple(part(batch, ~np.isin(batch.users, users)) for batch in self.batches))

    def of(self, *users: int) -> Log:
        return Log(tuple(part(batch, np.isin(batch.users, users)) for batch in self.batches))

    def visits(self, user: int) -> int:
        return sum(int((batch.users == user).sum()) for batch in self.batches)


def part(events: World, chosen: np.ndarray) -> World:
    return World(**{name: column[chosen] for name, column in events.columns().items()})


def made(seed: int, *, events: int = 60, late: bool = False, last: int | None = None) -> Log:
    """Few users of many segments, who come back to few items; with ``last``, one who acts when all others are done."""
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.cumsum(random.exponential(4 * HOUR, events))
    users = random.integers(0, USERS, events).astype(np.int32)
    if last is not None:
        users = np.sort(np.where(users == last, USERS, users))  # sorted: only who is last matters
        users[users < USERS] = random.permutation(users[users < USERS])
        users[users == USERS] = last
    if late:
        times -= np.where(random.random(events) < 0.2, random.exponential(12 * HOUR, events), 0.0)
    batch = np.cumsum(random.random(events) < 0.3)
    whole = World(
        users=users,
        items=(ITEMS * random.random(events) ** 2).astype(np.int32),
        weights=random.choice(np.array([0.5, 1, 2, 3], np.float32), events),
        times=times,
        # A user has one segment in a batch, and others in others.
        segments=((users + batch) % 5 - 1).astype(np.int16),
    )
    first, end = alone(USERS, ITEMS - 1, [1, 2, 3], 1.7e9), alone(USERS + 1, 0, [1], 1.7e9 + events * DAY / 3)
    return Log((first, *(part(whole, batch == number) for number in np.unique(batch)), end))


def alone(user: int, item: int, weights: list[float], time: float) -> World:
    """Visits of one who does nothing else, one for each weight."""
    n = len(weights)
    rows = np.full(n, user, np.int32), np.full(n, item, np.int32), np.array(weights, np.float32), np.full(n, time)
    return World(*rows, np.zeros(n, np.int16))


def stock(models: Models) -> Models:
    """Enter all items, so that they have the same indexes in every run."""
    names = [f"item-{item}".encode() for item in range(ITEMS)]
    tokens = [token for item in range(ITEMS) for token in (b"brand:%d" % (item % 2), b"tag:x")]
    on, offsets = np.ones(ITEMS, np.uint8), np.arange(ITEMS, dtype=np.int64)
    models.change_catalog(
        CatalogChange(pack(names), offsets, np.zeros(ITEMS, np.uint8), on, 2 * np.arange(ITEMS + 1), pack(tokens))
    )
    return models


def follow(models: Models, log: Log) -> Models:
    for batch in log.batches:
        if len(batch):
            models.apply(worlds.lesson(batch))
    return models


def folded(log: Log, parameters: Any = WIDE, **limits: int) -> Models:
    return follow(stock(Models(**parameters, **({"limits": limits} if limits else {}))), log)


def name(user: int) -> bytes:
    return f"user-{user}".encode()


def erased(models: Models, *users: int) -> Models:
    erase(models, pack([name(user) for user in users]))
    return models


def bytes_of(models: Models) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in models.arrays().items()}


def counted(popularity: Popularity, key: str) -> np.ndarray:
    """Counts, also of segments that room was never made for."""
    return popularity.counts(range(len(popularity.top_segment)), ITEMS) if key == "by_segment" else getattr(popularity, key)


def near(one: np.ndarray, other: np.ndarray, rounding: float) -> None:
    np.testing.assert_allclose(one, other, rtol=rounding, atol=rounding)


def same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_array_equal(one, other)


def compare(found: Models, expected: Models, *, days: bool = True) -> None:
    """All that can be subtracted; the vectors apart, as they are another matter."""
    assert found.users.names(range(len(found.users))) == expected.users.names(range(len(expected.users)))
    assert found.items.names(range(len(found.items))) == expected.items.names(range(len(expected.items)))
    assert found.left() == expected.left()
    rings = found.visits.arrays()
    for key, array in expected.visits.arrays().items():
        same(rings[key], array)
    one, other = found.popularity, expected.popularity
    same(one.first_seen[:ITEMS], other.first_seen[:ITEMS])
    same(one.top_new, other.top_new)
    for key, rounding in (("short", SUMS), ("long", SUMS), ("totals", SUMS), ("by_segment", SINGLE_SUMS)):
        near(counted(one, key), counted(other, key), rounding)
        assert not counted(one, key)[counted(other, key) == 0].any(), f"{key} is 0 without the user"
    for key, of in (("top_short", "short"), ("top_long", "long"), ("top_segment", "by_segment")):
        for row, counts in zip(np.atleast_2d(getattr(one, key)), np.atleast_2d(counted(one, of)), strict=True):
            best = np.argsort(-counts, kind="stable")[: len(row)]
            same(row, np.where(counts[best] > 0, best, -1))
    same(found.members.of_user[: len(found.users)], expected.members.of_user[: len(expected.users)])
    same(found.members.sizes, expected.members.sizes)
    if days:
        same(np.maximum(found.members.days, 0), np.maximum(expected.members.days, 0))
        same(found.members.of_days[: len(found.users)], expected.members.of_days[: len(expected.users)])
    for key in ("hours", "kinds"):
        near(getattr(found.habits, key), getattr(expected.habits, key), SUMS)
        assert not getattr(found.habits, key)[getattr(expected.habits, key) == 0].any()
    shelves, others = found.catalog, expected.catalog
    same(shelves.visited[:ITEMS], others.visited[:ITEMS])
    same(shelves.recent[: len(found.users)], others.recent[: len(expected.users)])
    for key in ("item_tokens", "available", "known", "offset", "content"):
        same(getattr(shelves, key), getattr(others, key))


seeds, persons = st.integers(0, 2**32 - 1), st.integers(0, USERS - 1)


@PROPERTY
@given(seeds, persons)
def test_the_models_are_as_if_the_user_had_never_acted(seed: int, user: int) -> None:
    log = made(seed)
    compare(erased(folded(log), user), folded(log.without(user)))


@PROPERTY
@given(seeds, persons)
def test_that_holds_where_events_come_late_but_for_the_hour_when_days_begin(seed: int, user: int) -> None:
    log = made(seed, late=True)
    compare(erased(folded(log), user), folded(log.without(user)), days=False)


@PROPERTY
@example(230871, [0, 1, 2])  # who counted much, then who counted little: the rounding of the first outlived the second
@given(seeds, st.lists(persons, min_size=2, max_size=USERS, unique=True))
def test_several_users_are_erased_at_once_as_one_after_the_other(seed: int, users: list[int]) -> None:
    log = made(seed)
    at_once, one_by_one = erased(folded(log), *users), folded(log)
    for user in users:
        erased(one_by_one, user)
    assert bytes_of(at_once) == bytes_of(one_by_one)
    compare(at_once, folded(log.without(*users)))


@PROPERTY
@given(seeds, persons)
def test_limits_that_are_wide_enough_change_nothing(seed: int, user: int) -> None:
    log, limits = made(seed), {"users": 300, "items": 300}
    found, expected = erased(folded(log, **limits), user), folded(log.without(user), **limits)
    compare(found, expected)
    same(found.active_users.numbers, expected.active_users.numbers)


@PROPERTY
@given(seeds, persons)
def test_who_comes_back_begins_anew(seed: int, user: int) -> None:
    log, again = made(seed), made(seed + 1).of(user)
    found, expected = erased(folded(log), user), folded(log.without(user))
    compare(follow(found, again), follow(expected, again), days=False)


@PROPERTY
@given(seeds, persons)
def test_rings_that_have_gone_on_keep_what_they_remember_of_others(seed: int, user: int) -> None:
    log = made(seed)
    before = folded(log, NARROW)
    found, expected = erased(before, user), folded(log.without(user), NARROW)
    remembers, visitors = log.visits(user) <= 5, 7
    for item in range(ITEMS):
        count, least = int(found.visits.item_count[item]), int(expected.visits.item_count[item])
        assert count == least if remembers else count >= least
        mine = [cells(found.visits, item, number) for number in range(max(count - visitors, 0), count)]
        theirs = [cells(expected.visits, item, number) for number in range(max(least - visitors, 0), least)]
        held = [cell for cell in mine if cell != (-1, -1)]
        assert held == theirs[len(theirs) - len(held) :]
        assert mine[: len(mine) - len(held)] == [(-1, -1)] * (len(mine) - len(held)), "holes are the oldest"
    for key in ("user_items", "user_weights", "user_times", "user_segments", "user_kinds", "user_count"):
        same(getattr(found.visits, key), getattr(expected.visits, key))
    for key in ("short", "long", "by_segment", "totals"):
        # What is left of a sum by rounding is small beside the sum, not beside what is left.
        assert (counted(found.popularity, key) >= counted(expected.popularity, key) * (1 - 1e-4) - 1e-9).all()
        if remembers:
            near(counted(found.popularity, key), counted(expected.popularity, key), 1e-4)
    assert np.isfinite(found.catalog.context).all()
    assert (found.catalog.visited[:ITEMS] <= found.visits.item_count[:ITEMS]).all()
    assert ((found.catalog.visited[:ITEMS] > 0) == (found.visits.item_count[:ITEMS] > 0)).all()


def cells(visits: Any, item: int, number: int) -> tuple[int, int]:
    cell = number % visits.visitors
    user = int(visits.item_users[item, cell])
    return user, int(visits.item_positions[item, cell]) if user >= 0 else -1


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    return np.where(lengths > 1e-4, vectors / np.maximum(lengths, 1e-4), 0)


@PROPERTY
@given(seeds, persons)
def test_vectors_point_where_they_pointed_before_the_user_came(seed: int, user: int) -> None:
    log = made(seed, last=user)
    found, expected = erased(folded(log), user), folded(log.without(user))
    near(unit(found.catalog.context), unit(expected.catalog.context), SINGLE_SUMS / 10)


def test_vectors_point_nearly_where_they_would_had_the_user_never_been_among_others() -> None:
    before, after = [], []
    for seed in range(40):
        log = made(seed)
        models, expected = folded(log), unit(folded(log.without(2)).catalog.context)
        chosen = (expected != 0).any(axis=1)
        before.append((unit(models.catalog.context) * expected).sum(axis=1)[chosen])
        after.append((unit(erased(models, 2).catalog.context) * expected).sum(axis=1)[chosen])
    found, was = np.concatenate(after), np.concatenate(before)
    assert (1 - found).mean() < 0.003
    assert (1 - was).mean() > 0.02
    assert np.quantile(found, 0.05) > 0.99


def test_a_vector_that_nobody_else_made_is_empty_and_so_are_the_counts() -> None:
    models = stock(Models(**WIDE))
    mine = World(*(np.array(column) for column in ([0, 0, 1, 0], [1, 2, 2, 3], [1.0] * 4, 1.7e9 + np.arange(4.0), [1, 1, 0, 1])))
    models.apply(worlds.lesson(mine))
    changed = erase(models, pack([name(0)]))
    assert models.items.names(changed.tolist()) == [b"item-1", b"item-2", b"item-3"]
    assert not models.catalog.context.any()
    assert models.visits.item_count[:5].tolist() == [0, 0, 1, 0, 0]
    assert np.isinf(models.popularity.first_seen[[1, 3]]).all()
    assert models.popularity.top_long[:2].tolist() == models.popularity.top_new[:2].tolist() == [2, -1]


def recommended(models: Models, expected: Models) -> Any:
    """Recommend to all, as of one time and for the same histories and segments."""
    users = np.arange(len(models.users), dtype=np.int32)
    histories = [(one + np.arange(3)) % ITEMS for one in users.tolist()]
    now = np.full(len(users), max(models.time, expected.time))
    query = Query(
        users=users,
        now=now,
        starts=np.arange(0, 3 * len(users) + 1, 3),
        items=np.concatenate(histories).astype(np.int32),
        times=np.repeat(now, 3),
        weights=np.ones(3 * len(users), np.float32),
        blocked=np.zeros(3 * len(users), np.uint8),
    )
    segments = (users % 5 - 1).astype(np.int16)
    return Recommender(size=ITEMS, keep=20).recommend(
        models, query, models.catalog.interest(query), segments, Blend(segments=4).net(segments)
    )


@PROPERTY
@given(seeds, persons)
def test_the_others_are_recommended_what_they_would_have_been(seed: int, user: int) -> None:
    log = made(seed, last=user)
    found, expected = erased(folded(log), user), folded(log.without(user))
    mine, theirs = (recommended(models, expected) for models in (found, expected))
    near(mine.scores, theirs.scores, 1e-3)
    same(mine.count, theirs.count)
    for row in range(len(mine.items)):
        # Items that score alike may change places by rounding.
        assert all(
            np.isclose(mine.scores[row][mine.items[row] == item], theirs.scores[row][theirs.items[row] == item], atol=1e-3)
            for item in mine.items[row][mine.items[row] >= 0]
        )
    same(np.sort(mine.neighbors, axis=1), np.sort(theirs.neighbors, axis=1))
    near(mine.similarity, theirs.similarity, 1e-5)


@PROPERTY
@given(seeds, persons)
def test_erasing_twice_is_erasing_once(seed: int, user: int) -> None:
    models = erased(folded(made(seed)), user)
    before, users = bytes_of(models), models.users
    assert erase(models, pack([name(user), name(user)])).tolist() == []
    assert bytes_of(models) == before
    assert models.users is users


@pytest.mark.parametrize("ids", [[], [b"nobody"], [b"nobody", b"user-999"]])
def test_erasing_whom_nobody_knows_changes_nothing(ids: list[bytes]) -> None:
    models = folded(made(1))
    before = bytes_of(models)
    assert erase(models, pack(ids)).tolist() == []
    assert bytes_of(models) == before


def test_who_is_named_twice_is_erased_once_and_an_unknown_one_beside_is_passed_over() -> None:
    log = made(5)
    once, twice = erased(folded(log), 3), folded(log)
    erase(twice, pack([b"nobody", name(3), name(3)]))
    assert bytes_of(twice) == bytes_of(once)


def test_who_is_known_by_name_alone_goes_too() -> None:
    models = folded(made(3))
    before = bytes_of(models)
    only_named = worlds.lesson(made(3).batches[0][:1])
    for key in ("users", "items", "weights", "times", "kinds"):
        setattr(only_named, key, getattr(only_named, key)[:0])
    only_named.user_ids, only_named.events = pack([b"silent"]), 0
    models.apply(only_named)
    assert erase(models, pack([b"silent"])).tolist() == []
    assert models.users.find(pack([b"silent"])).tolist() == [-1]
    assert {key: bytes_of(models)[key] for key in before if not key.startswith("counters")} == {
        key: value for key, value in before.items() if not key.startswith("counters")
    }


@PROPERTY
@given(seeds, persons, st.sampled_from([WIDE, NARROW]), st.sampled_from([{}, {"users": 4, "items": 5}]))
def test_all_workers_agree_also_one_that_starts_from_a_snapshot(seed: int, user: int, parameters: Any, limits: Any) -> None:
    log, more = made(seed, late=True), made(seed + 1)
    one, other = folded(log, parameters, **limits), folded(log, parameters, **limits)
    known = parameters | ({"limits": limits} if limits else {})
    restored = Models.from_arrays(one.arrays(), **known)
    for models in (one, other, restored):
        erased(models, user)
    assert bytes_of(one) == bytes_of(other) == bytes_of(restored)
    again = Models.from_arrays(one.arrays(), **known)
    assert bytes_of(again) == bytes_of(one)
    assert bytes_of(follow(again, more)) == bytes_of(follow(one, more))


@PROPERTY
@given(seeds, persons)
def test_nothing_refers_to_who_is_gone_where_users_and_items_leave_too(seed: int, user: int) -> None:
    models = erased(folded(made(seed, late=True), NARROW, users=4, items=5), user)
    users, items = len(models.users), len(models.items)
    visits = models.visits
    for key, limit in (("item_users", users), ("user_items", items)):
        assert getattr(visits, key).max(initial=-1) < limit
    assert not visits.item_positions[visits.item_users < 0].any()
    assert models.catalog.recent.max(initial=-1) < items
    assert (visits.item_count >= 0).all()
    assert (models.members.sizes >= 0).all()
    same(models.members.sizes, np.bincount(models.members.of_user[models.members.of_user >= 0], minlength=4))
    assert np.isfinite(models.catalog.context).all()
    for key in ("short", "long", "by_segment", "totals"):
        assert (getattr(models.popularity, key) >= 0).all()


def held_by(owner: object, seen: set[int]) -> Iterator[bytes]:
    """Yield the bytes of all that an object of the models holds, spare room included."""
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, np.ndarray):
        yield (
            owner.tobytes()
            if owner.base is None
            else owner.base.tobytes()
            if isinstance(owner.base, np.ndarray)
            else owner.tobytes()
        )
    elif isinstance(owner, bytes | str):
        yield owner if isinstance(owner, bytes) else owner.encode()
    elif isinstance(owner, dict):
        for one in (*owner, *owner.values()):
            yield from held_by(one, seen)
    elif isinstance(owner, list | tuple | set):
        for one in owner:
            yield from held_by(one, seen)
    elif type(owner).__module__.startswith("streams.models") and hasattr(owner, "__dict__"):
        for one in vars(owner).values():
            yield from held_by(one, seen)


@pytest.mark.parametrize("limits", [{}, {"users": 400, "items": 400}])
def test_no_array_holds_the_id_any_more_not_even_in_its_spare_room(limits: dict[str, int]) -> None:
    secret, models = b"somebody-who-wants-to-be-forgotten", folded(made(1), **limits)
    told = worlds.lesson(made(2).batches[0][:1])
    told.user_ids = pack([secret])
    models.apply(told)
    assert any(secret in held for held in held_by(models, set()))
    erase(models, pack([secret]))
    assert not any(secret in held for held in held_by(models, set()))
    assert models.users.find(pack([secret])).tolist() == [-1]


def test_snapshots_of_before_are_read_and_erased_from() -> None:
    log = made(4)
    arrays = folded(log).arrays()
    for key in ("visits.user_segments", "visits.user_kinds", "members.of_days"):
        del arrays[key]
    found, expected = erased(Models.from_arrays(arrays, **WIDE), 1), folded(log.without(1))
    for key in ("item_users", "item_positions", "item_count", "user_items", "user_count"):
        same(getattr(found.visits, key), getattr(expected.visits, key))
    near(found.popularity.long, expected.popularity.long, 1e-8)
    near(found.popularity.totals[-1:], expected.popularity.totals[-1:], 1e-8)
    same(found.members.sizes, expected.members.sizes)
    # What was not noted cannot be taken back.
    assert (counted(found.popularity, "by_segment") >= counted(expected.popularity, "by_segment")).all()


def test_visits_of_a_segment_that_is_gone_are_not_taken_from_the_next_of_its_id() -> None:
    models, before = (stock(Models(**WIDE)) for _ in range(2))
    models.apply(worlds.lesson(row(0, [1, 2, 3], segment=2)))
    for model in (models.visits, models.members, models.popularity, models.habits):
        model.forget(np.array([2]))
    for one in (models, before):
        one.apply(worlds.lesson(row(1, [1, 2, 3], segment=2)))
    erased(models, 0)
    same(models.popularity.by_segment, before.popularity.by_segment)
    same(models.popularity.totals, before.popularity.totals)
    same(models.habits.hours, before.habits.hours)


def row(user: int, items: list[int], segment: int) -> World:
    """Visits of one user, a second apart."""
    n = len(items)
    column = np.full(n, user, np.int32), np.array(items, np.int32), np.ones(n, np.float32), 1.7e9 + np.arange(n)
    return World(*column, np.full(n, segment, np.int16))


def test_of_an_item_that_nobody_else_visited_nothing_is_counted_however_often_it_was() -> None:
    models = stock(Models(**ALL | {"visits": {"visitors": 64, "length": 4}}))
    models.apply(worlds.lesson(row(0, [1, 2] * 6, segment=1)))
    erased(models, 0)
    counts = models.popularity
    for each in (counts.short, counts.long, counts.by_segment):
        assert not each.any()
    for listed in (counts.top_short, counts.top_long, counts.top_segment, counts.top_new):
        assert (listed == -1).all()
    for each in (models.visits.item_count, models.catalog.visited, models.catalog.context):
        assert not each.any()


def test_types_beyond_fifteen_are_not_told_apart_and_stay() -> None:
    models = Models(**ALL | {"habits": {"half_life": 48 * HOUR, "segments": 4, "types": 31}})
    told = worlds.lesson(World(*(np.array(column) for column in ([0] * 17, range(17), [1.0] * 17, [1.7e9] * 17, [1] * 17))))
    told.types, told.kinds = pack([b"type-%d" % number for number in range(17)]), np.arange(17, dtype=np.uint8)
    models.apply(told)
    erased(models, 0)
    # The ring of this user holds the last four visits: types 13 to 16, of which the last two have no name of their own.
    assert (models.habits.kinds[1] > 0).tolist() == [True] * 13 + [False] * 2 + [True] * 2 + [False] * 15


def test_what_is_left_of_a_sum_by_rounding_is_nothing() -> None:
    sums = np.array([0.1 + 0.7, 1.0], np.float32)
    less(sums, np.array([0, 0]), np.array([0.7, 0.1]))
    assert sums.tolist() == [0.0, 1.0]
