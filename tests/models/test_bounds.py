"""Where users and items are limited, the least recently active leave, and nothing refers to them any more."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.blend import Blend
from streams.models.catalog_change import CatalogChange
from streams.models.ids import Ids, pack
from streams.models.leaving import close_up, more, new_indexes, renumber
from streams.models.lesson import Lesson
from streams.models.models import Models
from streams.models.query import Query
from streams.models.recommend import Recommender
from streams.models.roster import Roster
from tests.models.worlds import ALL, HOUR

LIMITS = {"users": 12, "items": 15}
SEEDS = range(8)
CLOCK = 1.7e9


@dataclass
class Record:
    """One record of the log before it has ids: who visited what, or what the catalogue says of items."""

    users: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    entries: list[tuple[int, int, list[bytes], bool]] = field(default_factory=list)


def churn(seed: int, *, records: int = 60, users: int = 8, items: int = 10) -> list[Record]:
    """A world whose users and items drift away, of whom some come back, and whose catalogue changes all the while."""
    random = np.random.default_rng(seed)
    log, now = [], CLOCK
    for n in range(records):
        now += random.exponential(3 * HOUR)
        if n % 4 == 3:
            named = (n // 3 + items * random.random(random.integers(1, 5)) ** 2).astype(int)
            tokens = [[b"brand:%d" % (item % 5), b"tag:%d" % (n // 7)] for item in named]
            rows = zip(named.tolist(), tokens, (random.random(len(named)) < 0.8).tolist(), strict=True)
            log.append(Record(entries=[(item, 1000 * n + place, told, on) for place, (item, told, on) in enumerate(rows)]))
        else:
            events = int(random.integers(1, 8))
            back = np.where(random.random(events) < 0.2, random.integers(0, 10, events), 0)
            who = np.maximum(n // 2 + users * random.random(events) ** 2 - 3 * back, 0).astype(int)
            what = np.maximum(n // 3 + items * random.random(events) ** 2 - 2 * back, 0).astype(int)
            log.append(Record(who.tolist(), what.tolist(), (now + np.arange(events)).tolist()))
    return log


def distinct(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


def lesson(record: Record, user_names: dict[int, bytes], item_names: dict[int, bytes]) -> Lesson:
    users, items = distinct(record.users), distinct(record.items)
    return Lesson(
        events=len(record.users),
        user_ids=pack([user_names[user] for user in users]),
        user_segments=np.array([user % 5 - 1 for user in users], np.int16),
        item_ids=pack([item_names[item] for item in items]),
        users=np.array([users.index(user) for user in record.users], np.uint32),
        items=np.array([items.index(item) for item in record.items], np.uint32),
        weights=np.array([1 + user % 3 for user in record.users], np.float32),
        times=np.array(record.times),
        types=pack([b"view"]),
        kinds=np.zeros(len(record.users), np.uint8),
    )


def change(record: Record, item_names: dict[int, bytes]) -> CatalogChange:
    tokens = [told for _, _, told, on in record.entries if on]
    return CatalogChange(
        item_ids=pack([item_names[item] for item, *_ in record.entries]),
        offsets=np.array([offset for _, offset, *_ in record.entries], np.int64),
        gone=np.array([not on for *_, on in record.entries], np.uint8),
        available=np.ones(len(record.entries), np.uint8),
        token_starts=np.cumsum([0, *map(len, tokens)], dtype=np.int64),
        tokens=pack([token for row in tokens for token in row]),
    )


USER_NAMES = {number: b"user-%d" % number for number in range(5000)}
ITEM_NAMES = {number: b"item-%d" % number for number in range(5000)}


def fold(models: Models, record: Record) -> None:
    if record.entries:
        models.change_catalog(change(record, ITEM_NAMES))
    else:
        models.apply(lesson(record, USER_NAMES, ITEM_NAMES))


def folded(log: list[Record], limits: dict[str, int]) -> Models:
    models = Models(**ALL, limits=limits)
    for record in log:
        fold(models, record)
    return models


def bytes_of(arrays: dict[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_log_gives_the_same_arrays_also_from_a_snapshot_of_any_moment(seed: int) -> None:
    log = churn(seed)
    whole, restored = Models(**ALL, limits=LIMITS), Models(**ALL, limits=LIMITS)
    for n, record in enumerate(log):
        fold(whole, record)
        fold(restored, record)
        assert bytes_of(restored.arrays()) == bytes_of(whole.arrays())
        if n % 3 == 0:
            restored = Models.from_arrays(restored.arrays(), **ALL, limits=LIMITS)
            assert bytes_of(restored.arrays()) == bytes_of(whole.arrays())
    assert min(whole.left().values()) > 10


@pytest.mark.parametrize("limits", [{"users": 1000}, {"items": 1000}, {"users": 1000, "items": 1000}, {"users": 0, "items": 0}])
def test_limits_above_all_there_are_change_nothing(limits: dict[str, int]) -> None:
    limited, free = folded(churn(1), limits).arrays(), folded(churn(1), {}).arrays()
    assert bytes_of({name: limited[name] for name in free}) == bytes_of(free)
    assert all(name.startswith("active_") for name in limited.keys() - free.keys())


class Oracle:
    """Models without limits and a plain list of who was active when; who leaves is blanked, and comes back as somebody else."""

    def __init__(self) -> None:
        self.models = Models(**ALL)
        self.active: dict[str, dict[int, tuple[int, int]]] = {"users": {}, "items": {}}
        self.names: dict[str, dict[int, bytes]] = {"users": {}, "items": {}}
        self.clock = 0
        self.came = {"users": 0, "items": 0}

    def fold(self, record: Record) -> None:
        self.clock += 1
        if not record.entries:
            self._name("users", distinct(record.users))
        named = [entry[0] for entry in record.entries] if record.entries else distinct(record.items)
        self._name("items", named)
        if record.entries:
            self.models.change_catalog(change(record, self.names["items"]))
        else:
            self.models.apply(lesson(record, self.names["users"], self.names["items"]))

    def _name(self, kind: str, named: list[int]) -> None:
        active, limit = self.active[kind], LIMITS[kind]
        excess = len(active) + sum(one not in active for one in named) - limit
        if excess > 0:
            oldest = sorted((seen, came, one) for one, (seen, came) in active.items() if one not in named)
            for _, _, one in oldest[: max(excess, limit // 4)]:
                del active[one]
            self._blank(kind)
        for one in named:
            came = active[one][1] if one in active else self.came[kind]
            if one not in active:
                self.names[kind][one] = b"%d#%d" % (one, came)
                self.came[kind] += 1
            active[one] = (self.clock, came)

    def here(self, kind: str) -> np.ndarray:
        """Indexes in the models without limits of those who are here, in the order in which they came."""
        return np.array(sorted(came for _, came in self.active[kind].values()), np.int64)

    def gone(self, kind: str) -> np.ndarray:
        return np.setdiff1d(np.arange(len(getattr(self.models, kind))), self.here(kind))

    def _blank(self, kind: str) -> None:
        visits, catalog, gone = self.models.visits, self.models.catalog, self.gone(kind)
        if kind == "users":
            for user in gone:
                segment = self.models.members.of_user[user]
                self.models.members.sizes[segment] -= segment >= 0
                self.models.members.of_user[user] = -1
            left = np.isin(visits.item_users, gone)
            visits.item_users[left], visits.item_positions[left] = -1, 0
            return
        popularity = self.models.popularity
        for cells in (visits.user_items, catalog.recent, catalog.postings):
            cells[np.isin(cells, gone)] = -1
        catalog.item_tokens[gone] = -1
        unused = np.setdiff1d(np.arange(len(catalog.tokens)), catalog.item_tokens)
        catalog.postings[unused], catalog.posting_count[unused] = -1, 0
        popularity.short[gone] = popularity.long[gone] = popularity.by_segment[:, gone] = 0
        popularity.first_seen[gone] = np.inf
        tops = [(popularity.short, popularity.top_short), (popularity.long, popularity.top_long)]
        for counts, top in [*tops, *zip(popularity.by_segment, popularity.top_segment, strict=False)]:
            sort(counts, -counts, top)
        seen = popularity.first_seen[::-1]
        last = np.argsort(-np.where(np.isinf(seen), -np.inf, seen), kind="stable")
        best = len(seen) - 1 - last[: len(popularity.top_new)]
        popularity.top_new[:] = np.where(np.isinf(popularity.first_seen[best]), -1, best)


def sort(counts: np.ndarray, by: np.ndarray, top: np.ndarray) -> None:
    best = np.argsort(by, kind="stable")[: len(top)]
    top[:] = np.where(counts[best] > 0, best, -1)


def told(cells: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Say cells of the models without limits in the indexes of those that are here."""
    indexes = np.full(int(max(cells.max(initial=-1), here.max(initial=-1))) + 2, -1, np.int64)
    indexes[here] = np.arange(len(here))
    return indexes[cells]


def same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_array_equal(one, other, strict=one.dtype == other.dtype)


def compare(models: Models, oracle: Oracle) -> None:
    free, users, items = oracle.models, oracle.here("users"), oracle.here("items")
    assert (len(models.users), len(models.items)) == (len(users), len(items))
    assert models.items.names(range(len(items))) == [b"item-" + name.split(b"#")[0] for name in free.items.names(items)]
    rings, all_rings = models.visits, free.visits
    for name in ("item_count", "item_positions"):
        same(getattr(rings, name)[: len(items)], getattr(all_rings, name)[items])
    same(rings.item_users[: len(items)], told(all_rings.item_users[items], users))
    same(rings.user_items[: len(users)], told(all_rings.user_items[users], items))
    for name in ("user_weights", "user_times", "user_count"):
        same(getattr(rings, name)[: len(users)], getattr(all_rings, name)[users])
    counts, all_counts = models.popularity, free.popularity
    for name in ("short", "long", "first_seen", "by_segment"):
        same(getattr(counts, name)[..., : len(items)], getattr(all_counts, name)[..., items])
    for name in ("top_short", "top_long", "top_segment", "top_new"):
        same(getattr(counts, name), told(getattr(all_counts, name), items))
    same(models.members.of_user[: len(users)], free.members.of_user[users])
    same(models.members.sizes, free.members.sizes)
    shelves, all_shelves = models.catalog, free.catalog
    for name in ("available", "known", "offset", "content", "context", "visited"):
        same(getattr(shelves, name)[: len(items)], getattr(all_shelves, name)[items])
    same(shelves.recent[: len(users)], told(all_shelves.recent[users], items))
    assert names(shelves, range(len(items))) == names(all_shelves, items)
    for token in {token for row in shelves.item_tokens[: len(items)] for token in row if token >= 0}:
        found = all_shelves.tokens.find(pack([shelves.tokens.name(token)]))[0]
        same(shelves.postings[token], told(all_shelves.postings[found], items))
        assert shelves.posting_count[token] == all_shelves.posting_count[found]


def names(shelves, items) -> list[list[bytes]]:
    return [shelves.tokens.names(row[row >= 0].tolist()) for row in shelves.item_tokens[list(items)]]


def ask(users: np.ndarray, histories: list[np.ndarray], now: float) -> Query:
    entries = np.concatenate(histories)
    return Query(
        users=users.astype(np.int32),
        now=np.full(len(users), now),
        starts=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        items=entries.astype(np.int32),
        times=np.full(len(entries), now),
        weights=np.ones(len(entries), np.float32),
        blocked=np.zeros(len(entries), np.uint8),
    )


def recommended(models: Models, recommender: Recommender, users: np.ndarray, histories: list[np.ndarray]):
    query = ask(users, histories, models.time)
    vectors, segments = models.catalog.interest(query), (np.arange(len(users)) % 5 - 1).astype(np.int16)
    return recommender.recommend(models, query, vectors, segments, Blend(segments=4).net(segments))


@pytest.mark.parametrize("seed", SEEDS)
def test_those_who_stay_are_as_if_those_who_left_had_never_been(seed: int) -> None:
    models, oracle = Models(**ALL, limits=LIMITS), Oracle()
    mine, theirs = Recommender(size=8, keep=20), Recommender(size=8, keep=20)
    for record in churn(seed):
        fold(models, record)
        oracle.fold(record)
        compare(models, oracle)
        users, items = oracle.here("users"), oracle.here("items")
        if not len(users) or models.time == 0:
            continue
        histories = [np.arange(len(items))[n % 3 :: 3][:4] for n in range(len(users))]
        found = recommended(models, mine, np.arange(len(users)), histories)
        expected = recommended(oracle.models, theirs, users, [items[history] for history in histories])
        same(found.items, told(expected.items, items))
        same(found.neighbors, told(expected.neighbors, users))
        same(found.because, told(expected.because, items))
        for name in ("count", "scores", "source", "share", "similarity", "features", "context"):
            same(getattr(found, name), getattr(expected, name))
        same(found.candidates, told(expected.candidates, items))
    assert min(models.left().values()) > 10


def test_who_comes_back_begins_anew() -> None:
    models = Models(**ALL, limits={"users": 4, "items": 1000})
    times = iter(np.arange(1e3) + CLOCK)
    for user in (1, 2, 3, 4, 5, 1):
        fold(models, Record([user], [user], [next(times)]))
        fold(models, Record([user], [7], [next(times)]))
    user = int(models.users.find(pack([b"user-1"]))[0])
    assert models.visits.user_count[user] == 2
    assert models.users.names(range(4)) == [b"user-3", b"user-4", b"user-5", b"user-1"]
    assert models.left() == {"users": 2, "items": 0}


def test_the_least_recently_active_leave_a_quarter_at_once_but_nobody_named_now() -> None:
    models = Models(**ALL, limits={"users": 8})
    for user in range(8):
        fold(models, Record([user], [1], [CLOCK]))
    fold(models, Record([0, 9], [1, 1], [CLOCK, CLOCK]))
    assert models.users.names(range(len(models.users))) == [b"user-%d" % user for user in (0, 3, 4, 5, 6, 7, 9)]


def test_a_record_that_names_more_than_the_limit_is_folded_whole() -> None:
    models = Models(**ALL, limits={"users": 4, "items": 5})
    many = list(range(20))
    for first in (0, 100, 110):
        fold(models, Record([first + one for one in many], [first + one for one in many], [CLOCK] * 20))
        assert (len(models.users), len(models.items)) == (20, 20)
    fold(models, Record([500], [500], [CLOCK]))
    assert (len(models.users), len(models.items)) == (4, 5)


def rows(models: Models) -> dict[str, int]:
    users = {f"visits.user_{name}" for name in ("items", "weights", "times", "segments", "kinds", "count")}
    users |= {"catalog.recent", "members.of_user", "members.of_days", "active_users._seen", "active_users._numbers"}
    arrays = {
        f"{part}.{name}": array
        for part in ("visits", "popularity", "catalog", "members", "active_users", "active_items")
        for name, array in vars(getattr(models, part)).items()
        if isinstance(array, np.ndarray)
    }
    fixed = {"top", "postings", "posting_count", "totals", "sizes", "days", "today", "_half_lives", "_landmarks"}
    per = {name: array.shape[-1 if name.endswith("by_segment") else 0] for name, array in arrays.items()}
    return {
        f"{'user' if name in users else 'item'} {name}": size
        for name, size in per.items()
        if not any(name.split(".")[1].startswith(one) for one in fixed)
    }


def test_no_array_grows_past_the_limit_while_users_and_items_come_and_go() -> None:
    limits = {"users": 700, "items": 600}
    models, held = Models(**ALL, limits=limits), []
    for n in range(60):
        many = np.arange(100)
        fold(models, Record((50 * n + many).tolist(), ((40 * n + many) % 900).tolist(), [CLOCK + n] * 100))
        held.append(rows(models) | {"tokens": len(models.catalog.postings), "ids": len(models.users.ends)})
    assert len(held[-1]) > 20
    assert {size for name, size in held[-1].items() if name.startswith("user")} == {700}
    assert {size for name, size in held[-1].items() if name.startswith("item")} == {600}
    assert held[-1]["ids"] <= 1024
    assert held[30] == held[-1]


def test_those_who_are_known_by_name_alone_leave_too_also_after_a_restart() -> None:
    limits = {"users": 700, "items": 600}
    models = Models(**ALL, limits=limits)
    fold(models, Record([0], [0], [CLOCK]))
    only_named = lesson(Record(list(range(1, 690)), [0], [CLOCK]), USER_NAMES, ITEM_NAMES)
    nobody = np.zeros(0, np.uint32)
    only_named.users = only_named.items = nobody
    only_named.weights, only_named.times, only_named.kinds = np.zeros(0, np.float32), np.zeros(0), np.zeros(0, np.uint8)
    models.apply(only_named)
    restored = Models.from_arrays(models.arrays(), **ALL, limits=limits)
    for either in (models, restored):
        fold(either, Record(list(range(800, 860)), [1] * 60, [CLOCK] * 60))
        assert len(either.users) == 690 - 175 + 60
    assert bytes_of(restored.arrays()) == bytes_of(models.arrays())


def test_a_snapshot_has_rows_for_those_who_are_here_only() -> None:
    models = folded(churn(2), LIMITS)
    arrays = models.arrays()
    assert len(arrays["visits.user_count"]) <= len(models.users) >= len(arrays["members.of_user"])
    assert len(models.users) >= len(arrays["catalog.recent"])
    for name in ("visits.item_count", "popularity.short", "catalog.known", "active_items.seen"):
        assert len(arrays[name]) <= len(models.items)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=60, unique=True), st.data())
@settings(max_examples=50)
def test_ids_that_stay_keep_their_order_and_their_names(given_ids: list[bytes], data: st.DataObject) -> None:
    ids = Ids()
    ids.add(pack(given_ids))
    staying = np.array(sorted(data.draw(st.sets(st.integers(0, len(given_ids) - 1)))), np.int64)
    kept = ids.only(staying)
    names = [given_ids[index] for index in staying]
    assert kept.names(range(len(kept))) == names
    assert kept.find(pack(given_ids)).tolist() == [names.index(one) if one in names else -1 for one in given_ids]
    assert kept.add(pack([b"x" * 21])).tolist() == [len(names)]


def test_rows_close_up_whatever_their_shape_and_type() -> None:
    for array in (np.arange(6.0), np.arange(12, dtype=np.int16).reshape(6, 2), np.arange(6) % 2 == 0):
        closed, staying = array.copy(), np.array([0, 2, 5])
        close_up(closed, staying, 1)
        same(closed[:3], array[staying])
        assert (closed[3:] == 1).all()


def test_references_get_new_indexes_and_those_that_are_gone_are_counted() -> None:
    cells = np.array([[0, 1], [-1, 2]], np.int32)
    assert renumber(cells, new_indexes(np.array([1, 2]), 3)) == 1
    assert cells.tolist() == [[-1, 0], [-1, 1]]


def test_room_doubles_up_to_the_most() -> None:
    assert [more(5, 4, 0), more(5, 4, 6), more(9, 4, 6), more(20, 4, 0)] == [8, 6, 9, 20]


def test_without_a_limit_nothing_is_noted() -> None:
    roster = Roster(0)
    roster.enter(np.array([0, 1], np.int32))
    assert roster.staying(np.array([-1] * 10, np.int32)) is None
    assert (roster.arrays(), roster.left) == ({}, 0)
