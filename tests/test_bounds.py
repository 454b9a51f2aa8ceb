"""The service where users and items leave its models: nobody is shown, judged or told of by a place that is another's now."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from state.entries import read
from state.items import CatalogueEntry, write_catalogue, write_statistics
from streams.decode import Batch
from streams.facets import Facets
from streams.failures import Refusal
from streams.follower import Fold
from streams.items import ItemNumbers
from streams.knobs.models import Rerank
from streams.learned import Taught
from streams.memory import Loop
from streams.models.admitting import bare
from streams.models.catalog_change import CatalogChange
from streams.models.ids import Ids, pack
from streams.models.models import Models
from streams.records import Kind, Record, encode_catalog
from streams.reranking import Reranking
from streams.settings import Settings, SettingsError, load
from streams.similar import Similar
from tests.models.test_bounds import LIMITS, churn, fold
from tests.models.worlds import ALL

NOW = 1_700_000_000
USERS, ITEMS = 30, 25


@dataclass
class Message:
    offset: int
    value: bytes
    timestamp: int = NOW * 1000
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def limited(users: int, items: int) -> Settings:
    settings = Settings()
    return settings.model_copy(
        update={"models": settings.models.model_copy(update={"max_users": users, "max_items": items, "keep": 10})}
    )


def batches(seed: int, count: int) -> list[list[tuple[str, str]]]:
    """Users and items that drift; who was away for long comes back now and then."""
    random = np.random.default_rng(seed)
    found = []
    for n in range(count):
        away = np.where(random.random(8) < 0.1, 40, 0)
        users = np.maximum(n + random.integers(0, 12, 8) - away, 0)
        items = np.maximum(n // 2 + random.integers(0, 12, 8) - away // 4, 0)
        found.append([(f"u{user}", f"i{item}") for user, item in zip(users, items, strict=True)])
    return found


def prepare(loop: Loop, batch: list[tuple[str, str]], first: int):
    events = [{"user_id": user, "item_id": item, "type": "view", "timestamp": NOW + first} for user, item in batch]
    rows = [Message(first + n, json.dumps(event).encode()) for n, event in enumerate(events)]
    return asyncio.run(loop.pipeline.prepare(Batch({0: rows}, {0: first}), 1))


@pytest.mark.parametrize("seed", range(3))
def test_lists_name_items_of_the_models_and_are_judged_by_what_they_named(seed: int) -> None:
    loop, lists, judged, hits = Loop(limited(USERS, ITEMS)), {}, 0, 0
    models, left = loop.fold.models, Counter()
    for n, batch in enumerate(batches(seed, 120)):
        items, users = set(models.items.names(range(len(models.items)))), set(models.users.names(range(len(models.users))))
        answer = prepare(loop, batch, 8 * n)
        for user, item in batch:
            if user in lists:
                judged += 1
                # Of an item that left meanwhile nobody knows any more that it was shown, also when it is back.
                hits += item.encode() in items and (item, left[item]) in lists[user]
        for key, value in answer.recommendations:
            user, told = key.decode(), json.loads(value)
            shown = [one["item_id"] for one in told["items"]]
            assert {name.encode() for name in shown} <= items
            own = {item for before in batches(seed, n + 1) for who, item in before if who == user}
            because = {name for one in told["items"] for reason in one["reasons"] for name in reason["because"]}
            assert because <= own & {name.decode() for name in items}
            lists[user] = {(name, left[name]) for name in shown}
            if not shown:
                del lists[user]
        for write in (write for writes in answer.writes.values() for write in writes):
            near = {one["user_id"] for one in json.loads(write.values[7] or b"[]")}
            assert {name.encode() for name in near} <= users - {write.user_id.encode()}
        loop.finish(answer)
        left.update(name.decode() for name in items - set(models.items.names(range(len(models.items)))))
        assert len(models.users) <= USERS
        assert len(models.items) <= ITEMS
    assert min(models.left().values()) > 50
    assert (models.judged, int(models.hits[-1])) == (judged, hits)


@pytest.mark.parametrize("settings", [limited(0, 0), limited(1_000, 1_000)], ids=["unlimited", "limited"])
def test_no_list_is_judged_before_there_is_one_however_many_come_at_once(settings: Settings) -> None:
    loop, crowd = Loop(settings), [(f"u{n}", f"i{n}") for n in range(600)]
    answers = [prepare(loop, crowd, 600 * turn) for turn in range(2)]  # the models know nobody yet
    for answer in answers:
        loop.finish(answer)
    assert (loop.fold.models.events, loop.fold.models.judged) == (1_200, 0)


def test_a_user_who_left_and_comes_back_is_served_from_the_profile() -> None:
    loop = Loop(limited(USERS, ITEMS))
    loop.finish(prepare(loop, [("back", "i0"), ("other", "i0"), ("other", "i1")], 0))
    for n in range(1, 30):
        loop.finish(prepare(loop, [(f"u{8 * n + one}", f"i{one}") for one in range(8)], 8 * n))
    assert loop.fold.models.users.find(pack([b"back"]))[0] == -1
    answer = prepare(loop, [("back", "i1")], 300)
    told = json.loads(answer.recommendations[0][1])
    assert told["items"]
    assert "i0" in {name for one in told["items"] for reason in one["reasons"] for name in reason["because"]}


@pytest.mark.parametrize("seed", range(5))
def test_a_workers_numbers_follow_the_models_whatever_leaves_and_comes_back(seed: int) -> None:
    random, numbers, items = np.random.default_rng(seed), ItemNumbers(), Ids()
    for _ in range(300):
        name = f"i{random.integers(0, 40)}"
        match random.integers(0, 5):
            case 0:
                numbers.number(name)
            case 3:
                before, kept = list(numbers.ids), np.flatnonzero(random.random(len(numbers)) < 0.7)
                renumbered = numbers.keep(kept)
                assert numbers.ids == [before[old] for old in kept]
                assert renumbered[kept].tolist() == list(range(len(kept)))
                assert all(numbers.number(one.decode()) == new for new, one in enumerate(numbers.ids))
                assert [json.loads(one) for one in written(numbers)] == [one.decode() for one in numbers.ids]
            case 1 | 2:
                items.add(pack([name.encode()]))
            case _ if len(items) > 8:
                items = items.only(np.flatnonzero(random.random(len(items)) < 0.6))
        found = numbers.indexes(items)[: len(numbers)]
        assert found.tolist() == items.find(pack(numbers.ids)).tolist()


def written(numbers: ItemNumbers) -> list[bytes]:
    ends = [0, *numbers.ends[: len(numbers)].tolist()]
    return [numbers.json[begin:end].tobytes() for begin, end in itertools.pairwise(ends)]


def told(answer) -> tuple[object, ...]:
    lists = [json.loads(message)["items"] for _, message in answer.recommendations]
    return answer.records, lists, [write.values[4] for write in answer.writes[0]]


def test_a_worker_forgets_the_numbers_that_no_history_has_and_answers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.profiles._FEWEST", 300)
    settings = limited(USERS, ITEMS)
    loop, other = (
        Loop(settings.model_copy(update={"intake": settings.intake.model_copy(update={"cached_users": 10})})) for _ in "ab"
    )
    other.pipeline.profiles._tidy_at = 1 << 30
    most = 0
    for n in range(150):
        # Nobody meets again what no cached history has: a lesson names items in the order in which the worker met them.
        events = [(f"u{(n + one) % 40}", f"i{n}-{one}") for one in range(9)] + [("steady", f"s{n // 7}")]
        answer, wanted = (prepare(one, events, n * len(events)) for one in (loop, other))
        assert told(answer) == told(wanted)
        loop.finish(answer)
        other.finish(wanted)
        most = max(most, len(loop.pipeline.items))
    assert len(other.pipeline.items) > 1_300
    assert most < 1_000


def entries(first: int, count: int) -> CatalogChange:
    return CatalogChange(
        item_ids=pack([b"i%d" % item for item in range(first, first + count)]),
        offsets=np.arange(first, first + count),
        gone=np.zeros(count, np.uint8),
        available=np.ones(count, np.uint8),
        token_starts=np.zeros(count + 1, np.int64),
        tokens=pack([]),
    )


def test_items_to_be_told_of_keep_their_names_and_those_that_left_are_not_told_of() -> None:
    parameters = limited(USERS, ITEMS).parameters()
    fold = Fold(Models(**parameters), Taught())
    for offset, first in enumerate((0, 10, 20)):
        body = encode_catalog(entries(first, 10))
        fold.fold(Record(Kind.CATALOG, 1, 0, 0, 0, body), offset)
        if first == 10:
            fold.touched = {3, 15}
    assert sorted(fold.models.items.names(fold.touched)) == sorted(b"i%d" % item for item in (15, *range(20, 30)))
    past = np.array([0, 1000], np.int32)
    assert [row[0] for row in Similar(limited(USERS, ITEMS)).rows(fold.models, past)] == ["i6"]


def test_items_that_came_without_an_entry_are_listed_once() -> None:
    models = Models(**limited(USERS, ITEMS).parameters())
    models.change_catalog(entries(0, 20))
    assert bare(models, 0, 100) == ([], 20)
    loop = Loop(limited(USERS, ITEMS))
    for n in range(6):
        loop.finish(prepare(loop, [("u", f"i{8 * n + one}") for one in range(8)], 8 * n))
    names = loop.fold.models.items.names(range(len(loop.fold.models.items)))
    first, asked = bare(loop.fold.models, 0, 5)
    rest, end = bare(loop.fold.models, asked, 100)
    assert first + rest == names
    assert bare(loop.fold.models, end, 100) == ([], end)


async def test_entries_are_read_back_but_not_what_is_none(redis, keys) -> None:
    told = {"name": "Ski", "category": ["sport", "winter"], "price": 9.5, "tags": ["new"], "available": False}
    await write_catalogue(redis, keys, 3, [CatalogueEntry("here", 17, told), CatalogueEntry("deleted", 18, {})])
    await write_statistics(redis, keys, [("visited", 1.0, []), ("deleted", 1.0, [])])
    here, deleted = await read(redis, keys, ["here", "nobody", "visited", "deleted"])
    assert (here.partition, here.offset, here.item_id, here.item.name, here.item.available) == (3, 17, "here", "Ski", False)
    assert (deleted.offset, deleted.item) == (18, None)


def test_limits_are_told_to_the_models_only_where_there_are_any() -> None:
    assert "limits" not in Settings().parameters()
    assert limited(0, 20_000).parameters()["limits"] == {"users": 0, "items": 20_000}


def test_a_limit_below_what_a_few_records_name_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"models\.max_users .* is 50, but must be `0`, or a whole number from 10,000"):
        load(overrides={"models.max_users": 50})


def test_a_log_written_with_other_limits_is_refused() -> None:
    written, other = (Fold(Models(**limited(1, items).parameters()), Taught()) for items in (2, 3))
    layout = Record(Kind.LAYOUT, 1, 1, 0, 0, written.knobs)
    assert written.fold(layout, 0)
    with pytest.raises(Refusal, match="other settings of models"):
        other.fold(layout, 0)


def test_what_is_remembered_of_tokens_is_read_anew_where_some_are_gone() -> None:
    models, names = Models(**ALL, limits=LIMITS), Settings(rerank=Rerank(boosts={"brand:3": 1.0, "item:item-9": 1.0}))
    facets, reranking = Facets(0.0), Reranking(names.rerank)
    for record in churn(4):
        fold(models, record)
        fresh = Facets(0.0).of(models, [0, 1]), Reranking(names.rerank).asked(models)
        told, asked = facets.of(models, [0, 1]), reranking.asked(models)
        assert [facet.traits for facet in told] == [facet.traits for facet in fresh[0]]
        for one, other in zip(told, fresh[0], strict=True):
            np.testing.assert_array_equal(one.mass, other.mass)
        for one, other in zip(asked, fresh[1], strict=True):
            np.testing.assert_array_equal(one, other)
    assert models.left()["items"] > 10


def test_the_kernels_that_let_users_and_items_leave_are_compiled_before_the_first_event() -> None:
    code = (
        "import asyncio; from streams.knobs.models import ModelKnobs; from streams.settings import Settings;"
        "from streams.warm import warm; from streams.models import ids, leaving, popularity, visits;"
        "asyncio.run(warm(Settings(models=ModelKnobs(max_users=10_000, max_items=10_000))));"
        "kernels = ids._copy, leaving._move, leaving._renumber, popularity._best, visits._forget;"
        "print(*[len(one.signatures) for one in kernels])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1 4 1 2 1", "")
