"""Similarity: ratings a second that update the exact running sums of all pairs of users who share the item."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from streams.bench.figures import Figure
from streams.bench.known import RUNS
from streams.models.compile import Float64, Int64
from streams.models.similarity import Similarity

PROMISED = 30_000.0  # updates/s
USERS, ITEMS, RATINGS = 2_000, 5_000, 100_000  # 20 ratings an item, a few items with hundreds
EACH = 5  # ratings for each update of a smaller world than that: the sums in plain Python take their time
BATCH = 256  # a micro-batch
WITHDRAWN = 0.2  # share of the updates; a fifth of the others change a rating, and the rest are new
CHANGED = 0.2
PEER_SHARE = 0.1  # of the updates; plain Python would take minutes
SEED = 7

Columns = tuple[Int64, Int64, Float64]
Run = Callable[[Similarity, Columns], None]


def figures(count: int = 100_000, *, runs: int = RUNS, say: Callable[[str], object] = lambda _: None) -> list[Figure]:
    """Measure updates/s in a world that is full already: some times over, each from the same ratings."""
    ratings = min(RATINGS, EACH * count)
    say(f"similarity: {count:,} updates among {ratings:,} ratings, in batches, one by one and in plain Python")
    known, updates = world(count, ratings)
    arrays = Similarity().partial_fit(*known).arrays()
    rates: dict[Run, list[float]] = {_batches: [], _singly: []}
    plainly: list[float] = []
    plain = Plain()
    plain.learn(known)
    few = max(1, int(PEER_SHARE * count))
    for turn in range(runs):
        for run, found in rates.items():
            found.append(count / _seconds(run, Similarity.from_arrays(arrays), updates))
        first = turn * few % count
        plainly.append(_plain_rate(plain, updates, slice(first, first + few)))
    batches, singly = rates.values()
    peers = {"one by one": singly, "the same sums in plain Python": plainly}
    return [Figure("similarity of users, exact", batches, "updates/s", at_least=PROMISED, peers=peers)]


def _plain_rate(plain: Plain, updates: Columns, part: slice) -> float:
    begun = time.perf_counter()
    plain.learn((updates[0][part], updates[1][part], updates[2][part]))
    return len(updates[0][part]) / (time.perf_counter() - begun)


def world(count: int, ratings: int) -> tuple[Columns, Columns]:
    """Ratings that are known, and updates to come; nan withdraws."""
    random = np.random.default_rng(SEED)
    users, items = _visited(random, 2 * ratings)
    places = random.permutation(np.unique(users * ITEMS + items, return_index=True)[1])[:ratings]
    users, items = users[places], items[places]
    known = users, items, _stars(random, len(users))
    new_users, new_items = _visited(random, count)
    again, chance = random.integers(0, len(users), count), random.random(count)
    old = chance < WITHDRAWN + (1 - WITHDRAWN) * CHANGED
    values = np.where(chance < WITHDRAWN, np.nan, _stars(random, count))
    return known, (np.where(old, users[again], new_users), np.where(old, items[again], new_items), values)


def _visited(random: np.random.Generator, count: int) -> tuple[Int64, Int64]:
    """Users alike, and items of which a tenth get a third of the ratings."""
    return random.integers(0, USERS, count), (ITEMS * random.random(count) ** 2).astype(np.int64)


def _stars(random: np.random.Generator, count: int) -> Float64:
    stars: Float64 = random.integers(1, 11, count) / 2
    return stars


def _seconds(run: Run, model: Similarity, updates: Columns) -> float:
    begun = time.perf_counter()
    run(model, updates)
    return time.perf_counter() - begun


def _batches(model: Similarity, updates: Columns) -> None:
    """Learn each micro-batch by one call for its ratings and one for what it withdraws."""
    for start in range(0, len(updates[0]), BATCH):
        users, items, values = (column[start : start + BATCH] for column in updates)
        gone = np.isnan(values)
        model.partial_fit(users[~gone], items[~gone], values[~gone]).withdraw(users[gone], items[gone])


def _singly(model: Similarity, updates: Columns) -> None:
    for user, item, value in _rows(updates):
        if value is None:
            model.withdraw(user, item)
        else:
            model.update(user, item, value)


def _rows(updates: Columns) -> Iterator[tuple[int, int, float | None]]:
    users, items, values = (column.tolist() for column in updates)
    for user, item, value in zip(users, items, values, strict=True):
        yield user, item, None if value != value else value  # noqa: PLR0124 - nan alone differs from itself


class Plain:
    """The same sums in dictionaries."""

    def __init__(self) -> None:
        self.raters: dict[int, dict[int, float]] = defaultdict(dict)
        self.pairs: dict[tuple[int, int], list[float]] = {}

    def learn(self, updates: Columns) -> None:
        """Set or withdraw ratings, in order."""
        for user, item, value in _rows(updates):
            raters = self.raters[item]
            if user in raters:
                self._add(user, raters.pop(user), raters, -1)
            if value is not None:
                self._add(user, value, raters, 1)
                raters[user] = value

    def _add(self, user: int, x: float, raters: dict[int, float], sign: int) -> None:
        for other, y in raters.items():
            key, a, b = ((user, other), x, y) if user < other else ((other, user), y, x)
            sums = self.pairs.setdefault(key, [0.0] * 6)
            for at, term in enumerate((1.0, a, b, a * a, b * b, a * b)):
                sums[at] += sign * term
            if not sums[0]:
                del self.pairs[key]
