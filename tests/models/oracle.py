"""Every source by brute force, from the plain list of events: no rings, no pools, no heaps, no compiled code."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from streams.models.catalog import Catalog
from streams.models.ids import pack
from streams.models.popularity import Popularity
from streams.models.query import Query
from streams.models.visits import Visits

DAY = 86400.0
NOW = 1_700_000_000.0


@dataclass
class World:
    """A list of events (user, item, weight, time), what the models made of it, and the sizes of the rings."""

    events: list[tuple[int, int, float, float]]
    models: Any
    visitors: int
    length: int
    unavailable: set[int] = field(default_factory=set)

    def path(self, user: int) -> list[tuple[int, int, float, float]]:
        """Give (position, item, weight, time) of what the user's ring must hold."""
        own = [event for event in self.events if event[0] == user]
        return [(p, i, w, t) for p, (_, i, w, t) in enumerate(own)][-self.length :]

    def visits_to(self, item: int) -> list[tuple[int, int]]:
        """Give (user, position), newest first, of what the item's ring must hold that is still in its user's."""
        seen: dict[int, int] = defaultdict(int)
        found = []
        for user, visited, _, _ in self.events:
            if visited == item:
                found.append((user, seen[user]))
            seen[user] += 1
        last = found[-self.visitors :][::-1]
        return [(user, p) for user, p in last if p >= seen[user] - self.length]

    def count(self, item: int) -> int:
        """Count the item's visits."""
        return sum(event[1] == item for event in self.events)

    def users(self) -> int:
        """Count the users."""
        return len({event[0] for event in self.events})


def build(
    events: list[tuple[int, int, float, float]],
    *,
    visitors: int = 256,
    length: int = 64,
    tokens: dict[int, list[bytes]] | None = None,
    unavailable: set[int] = frozenset(),
) -> World:  # type: ignore[assignment]
    """Teach real models these events."""
    visits, popularity = Visits(visitors=visitors, length=length), Popularity(segments=3, top=64)
    catalog = Catalog(dimensions=16)
    if tokens or unavailable:
        tokens = tokens or {}
        items = sorted(set(tokens) | unavailable)
        lists = [tokens.get(item, []) for item in items]
        starts = np.cumsum([0, *map(len, lists)]).astype(np.int64)
        available = np.array([item not in unavailable for item in items], np.uint8)
        flat = pack([token for each in lists for token in each])
        catalog.apply(np.array(items, np.int32), flat, starts, available, np.zeros(len(items), np.int64))
    if events:
        users, items, weights, times = (np.array(column) for column in zip(*events, strict=True))
        users, items = users.astype(np.int32), items.astype(np.int32)
        visits.apply(users, items, weights.astype(np.float32), times)
        popularity.apply(items, weights.astype(np.float32), times, (users % 3).astype(np.int16))
        catalog.visit(visits, users, items)
    models = SimpleNamespace(visits=visits, popularity=popularity, catalog=catalog)
    return World(events, models, visitors, length, set(unavailable))


def ask(histories: list[list[tuple[int, float, float, int]]], *, users: list[int] | None = None, now: float = NOW) -> Query:
    """Make a query of histories of (item, weight, time, blocked), newest first."""
    flat = [entry for history in histories for entry in history]
    columns = list(zip(*flat, strict=True)) if flat else [[], [], [], []]
    return Query(
        users=np.array(users if users is not None else [-1] * len(histories), np.int32),
        now=np.full(len(histories), now),
        starts=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        items=np.array(columns[0], np.int32),
        times=np.array(columns[2], np.float64),
        weights=np.array(columns[1], np.float32),
        blocked=np.array(columns[3], np.uint8),
    )


def newest(history: list[tuple[int, float, float, int]]) -> dict[int, tuple[float, float]]:
    """Give (weight, time) of each known item's newest entry that says anything."""
    found: dict[int, tuple[float, float]] = {}
    for item, weight, time, _ in history:
        if item >= 0 and weight != 0:
            found.setdefault(item, (weight, min(time, NOW)))
    return found


def recent(history: list[tuple[int, float, float, int]], most: int) -> list[tuple[int, float, float]]:
    """Give (item, rating, age) of the recent items."""
    liked = [(item, weight, time) for item, (weight, time) in newest(history).items() if weight > 0][:most]
    return [(item, weight, max(liked[0][2] - time, 0.0)) for item, weight, time in liked]


def log2_in_bits(number: float) -> float:
    """Interpolate the logarithm between powers of two."""
    mantissa, exponent = math.frexp(number)
    return exponent - 1 + 2 * mantissa - 1


def rare(world: World, item: int) -> float:
    return max(1 + log2_in_bits(max(world.users(), 1)) - log2_in_bits(max(world.count(item), 1)), 0.1)


def similarities(
    world: World, user: int, history: Any, *, measure: str = "cosine", query_items: int = 10, half_life: float = 7 * DAY
) -> dict[int, float]:
    """Give the similarity of every user who shares a visit, in the order in which they are met."""
    asked = recent(history, query_items)
    weight = {i: r * (1 - q / len(asked)) * 2 ** (-age / half_life) * rare(world, i) for q, (i, r, age) in enumerate(asked)}
    rating = {i: r for i, r, _ in asked}
    shared: dict[int, dict[int, int]] = defaultdict(dict)
    for item, _, _ in asked:
        for other, position in world.visits_to(item):
            if other != user:
                shared[other].setdefault(item, position)
    found = {}
    for other, items in shared.items():
        path = world.path(other)
        theirs = {item: next(w for p, _, w, _ in path if p == position) for item, position in items.items()}
        x, y = np.array([rating[i] for i in items]), np.array([theirs[i] for i in items])
        if measure == "cosine":
            question = np.array(list(weight.values()))
            similarity = sum(weight[i] for i in items) / (np.linalg.norm(question) * math.sqrt(len(path)))
        elif measure == "jaccard":
            similarity = len(items) / (len(asked) + len(path) - len(items))
        elif measure == "euclidean":
            similarity = 1 / (1 + np.linalg.norm(x - y))
        else:
            similarity = np.corrcoef(x, y)[0, 1] if len(x) > 1 and x.std() > 1e-9 and y.std() > 1e-9 else 0.0
        found[other] = float(similarity)
    return found


def walked(
    world: World, user: int, history: Any, *, neighbors: int = 50, query_items: int = 10, measure: str = "cosine"
) -> dict[str, dict[int, dict[int, float]]]:
    """Give neighbors and path as {item: {recent item: part}}: a neighbor's part is divided as the weights of the shared items."""
    asked = recent(history, query_items)
    every = similarities(world, user, history, measure=measure, query_items=query_items)
    best = sorted((pair for pair in every.items() if pair[1] > 1e-12), key=lambda pair: -round(pair[1], 6))[:neighbors]
    weight = {i: r * (1 - q / len(asked)) * 2 ** (-age / (7 * DAY)) * rare(world, i) for q, (i, r, age) in enumerate(asked)}
    parts: dict[str, dict[int, dict[int, float]]] = {
        name: defaultdict(lambda: defaultdict(float)) for name in ("neighbors", "path")
    }
    for other, similarity in best:
        path = world.path(other)
        places = [q for q, (item, _, _) in enumerate(asked) if any(o == other for o, _ in world.visits_to(item))]
        newest_shared = next(p for o, p in world.visits_to(asked[places[0]][0]) if o == other)
        then = next(t for p, _, _, t in path if p == newest_shared)
        along = 2 ** (-max(NOW - then, 0) / (14 * DAY)) / math.sqrt(len(path))
        total = sum(weight[asked[q][0]] for q in places)
        for position, item, rating, _ in path:
            for q in places:
                shared = asked[q][0]
                parts["neighbors"][item][shared] += similarity * rating * rare(world, item) * weight[shared] / total
                parts["path"][item][shared] += along * 2.0 ** -abs(position - newest_shared) * 2.0**-q
    return parts


def covisits(world: World, user: int, history: Any, *, items: int = 5, window: int = 5) -> dict[str, dict[int, dict[int, float]]]:
    """Give covisit and next as {item: {recent item: part}}, before the division by popularity."""
    found: dict[str, dict[int, dict[int, float]]] = {
        "covisit": defaultdict(lambda: defaultdict(float)),
        "next": defaultdict(lambda: defaultdict(float)),
    }
    for q, (item, _, age) in enumerate(recent(history, items)):
        cells = min(world.count(item), world.visitors)
        looked = ring(world, item)[: math.ceil(cells * 2.0**-q)]
        for other, position in looked:
            path = {p: i for p, i, _, _ in world.path(other)}
            if other == user or position not in path:
                continue
            share = 2.0**-q * 2 ** (-age / (7 * DAY)) / math.sqrt(len(looked))
            for p, near in path.items():
                if near != item and 0 < abs(p - position) <= window:
                    found["covisit"][near][item] += share / abs(p - position)
                    if p > position:
                        found["next"][near][item] += share / (p - position)
    return found


def ring(world: World, item: int) -> list[tuple[int, int]]:
    """Give (user, position), newest first, of the item's last visits, held by their users or not."""
    seen: dict[int, int] = defaultdict(int)
    found = []
    for user, visited, _, _ in world.events:
        if visited == item:
            found.append((user, seen[user]))
        seen[user] += 1
    return found[-world.visitors :][::-1]


def content(world: World, history: Any, vector: Any, *, items: int = 3) -> dict[int, float]:
    """Score the posted items under the tokens of the last items, by cosine."""
    catalog = world.models.catalog
    tokens = {
        int(t)
        for item, _, _ in recent(history, items)
        for t in catalog.item_tokens[item]
        if t >= 0 and catalog.posting_count[t] > 0
    }
    listed = {int(item) for t in tokens for item in catalog.postings[t] if item >= 0} - set(newest(history))
    scores = {}
    for item in listed:
        parts = [part[item].astype(float) for part in (catalog.content, catalog.context)]
        total = sum((part / np.linalg.norm(part) for part in parts if part.any()), np.zeros(len(vector)))
        norm = float(np.linalg.norm(total))
        scores[item] = float(total @ vector) / norm if norm > 1e-3 else 0.0
    return {item: score for item, score in scores.items() if score > 0}


def sources(world: World, user: int, history: Any, vector: Any, segment: int, **options: Any) -> dict[str, dict[int, float]]:
    """Score every source; barred and unavailable items are left out."""
    popularity = world.models.popularity
    pairs = covisits(world, user, history)
    scores = {
        name: {i: sum(each.values()) for i, each in parts.items()}
        for name, parts in walked(world, user, history, **options).items()
    }
    scores["covisit"] = {i: sum(parts.values()) / math.sqrt(world.count(i)) for i, parts in pairs["covisit"].items()}
    scores["next"] = {i: sum(parts.values()) for i, parts in pairs["next"].items()}
    visited = {event[1] for event in world.events}
    scores["popular"] = {i: popularity.count(i, NOW, "long") for i in visited}
    scores["trending"] = {i: popularity.count(i, NOW, "short") for i in visited}
    scores["segment"] = {}
    if segment >= 0:
        listed, lifts = popularity.lifts(segment)
        scores["segment"] = dict(zip(listed.tolist(), lifts.tolist(), strict=True))
    scores["content"] = content(world, history, vector)
    liked = {i: t for i, (w, t) in newest(history).items() if w > 0}
    first = max(liked.values(), default=0.0) if not liked else next(iter(liked.values()))
    scores["repeat"] = {
        i: sum(w * 2 ** (-max(first - min(t, NOW), 0) / (30 * DAY)) for j, w, t, _ in history if j == i and w > 0) for i in liked
    }
    seen = {i: min(t for _, j, _, t in world.events if j == i) for i in visited}
    latest = max(seen.values(), default=0.0)
    scores["new"] = {i: 1 / (1 + (latest - t) / (7 * DAY)) for i, t in seen.items()}
    barred = world.unavailable | {i for i, _, _, blocked in history if blocked}
    return {name: {i: s for i, s in found.items() if i not in barred and s > 0} for name, found in scores.items()}
