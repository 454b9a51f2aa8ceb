"""The one synthetic world, and the registry of the models that the laws run over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from streams.models.blend import Blend
from streams.models.catalog import Catalog
from streams.models.dbstream import DBStream
from streams.models.habits import Habits
from streams.models.hidden import CONTEXT
from streams.models.ids import Ids, pack
from streams.models.kmeans import KMeans
from streams.models.lesson import Lesson
from streams.models.members import Members
from streams.models.models import Models
from streams.models.popularity import Popularity
from streams.models.similarity import Similarity
from streams.models.som import SOM
from streams.models.sources import FEATURES, SOURCES
from streams.models.visits import Visits

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class World:
    """Events in order: who visited what, how much that says, when, and the segment of who did."""

    users: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    times: np.ndarray
    segments: np.ndarray

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, part: slice) -> World:
        return World(self.users[part], self.items[part], self.weights[part], self.times[part], self.segments[part])

    def columns(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__slots__}

    def copy(self) -> World:
        return World(**{name: column.copy() for name, column in self.columns().items()})


def world(seed: int, *, users: int = 20, items: int = 30, events: int = 300, segments: int = 4) -> World:
    """Some users and items are much more frequent than others; times rise, but a tenth of the events arrive late."""
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.cumsum(random.exponential(2 * HOUR, events))
    times -= np.where(random.random(events) < 0.1, random.exponential(12 * HOUR, events), 0.0)
    who = (users * random.random(events) ** 2).astype(np.int32)
    return World(
        users=who,
        items=(items * random.random(events) ** 3).astype(np.int32),
        weights=random.choice(np.array([0.5, 1, 2, 3], np.float32), events),
        times=times,
        segments=(who % (segments + 1) - 1).astype(np.int16),
    )


def checkerboard(groups: int = 8, *, size: int = 6, rounds: int = 3) -> tuple[World, np.ndarray]:
    """Every group has its own items and walks them in one order; returns the world and each user's right next item.

    Member m of a group walks all the group's items, round after round, and stops in the last round after ``m + 1`` of
    them. So the next item is the one the others of the group visited after the same item, and nobody else visits it.
    """
    steps = [
        (rank * groups * size + group * size + member, group * size + member, group * size + rank % size, group)
        for group in range(groups)
        for member in range(size)
        for rank in range((rounds - 1) * size + member + 1)
    ]
    order, users, items, segments = (np.array(values) for values in zip(*sorted(steps), strict=True))
    world = World(
        users=users.astype(np.int32),
        items=items.astype(np.int32),
        weights=np.ones(len(users), np.float32),
        times=1.7e9 + 60.0 * order,
        segments=segments.astype(np.int16),
    )
    everyone = np.arange(groups * size)
    return world, (everyone // size * size + (everyone + 1) % size).astype(np.int32)


def worlds(**sizes: int) -> st.SearchStrategy[World]:
    """Random worlds for hypothesis; any of the sizes of :func:`world` can be fixed."""
    bounds = {"users": (1, 12), "items": (1, 15), "events": (0, 80), "segments": (1, 4)}
    drawn = {name: st.integers(*bound) for name, bound in bounds.items() if name not in sizes}
    return st.builds(world, st.integers(0, 2**32 - 1), **drawn, **{name: st.just(size) for name, size in sizes.items()})


ids = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b"\0", b"\0\0", b"a", b"a\0", "\N{PILE OF POO}".encode(), b'"\\', b"x" * 512]),
)


class Stateful(NamedTuple):
    """How the laws drive one stateful model.

    ``name``: of its class; ``make()``: a new one; ``apply(model, world)``: learn the world's events in place;
    ``restore(arrays)``: ``from_arrays`` with the parameters of ``make``; ``splits``: whether one event at a time must
    give the same bytes as one batch (a model that learns from sums over a batch says False, and tests by itself
    that its deltas add).
    """

    name: str
    make: Callable[[], Any]
    apply: Callable[[Any, World], None]
    restore: Callable[[dict[str, np.ndarray]], Any]
    splits: bool = True


def names(world: World) -> list[bytes]:
    return [f"item-{item}".encode() for item in world.items]


RINGS: Any = {"visitors": 5, "length": 4}
MEMBERS: Any = {"segments": 4}
HABITS: Any = {"half_life": 48 * HOUR, "segments": 4, "types": 2}
COUNTS: Any = {"short": 6 * HOUR, "long": 48 * HOUR, "segments": 4, "top": 6}

SHELVES: Any = {"dimensions": 8, "tokens_per_item": 3, "posting": 4}
SEGMENTS: Any = {"k": 3, "half_life": 500.0, "buffer": 64, "reservoir": 128, "window": 32}
# Too few micro-clusters, and a radius to be found: what is lightest is replaced all the time.
DENSE: Any = {"half_life": 48 * HOUR, "min_weight": 1.5, "micro": 12, "gap": 16, "buffer": 24, "k": 5}
MAP: Any = {"shape": (2, 3), "half_life": 50.0, "buffer": 24}
WEIGHTS: Any = {"segments": 4}
ALL: Any = {
    "visits": RINGS,
    "popularity": COUNTS,
    "catalog": SHELVES,
    "segments": SEGMENTS | {"k": 4},
    "members": MEMBERS,
    "habits": HABITS,
}


def stocked() -> Catalog:
    """Half of the items have an entry."""
    catalog, items = Catalog(**SHELVES), np.arange(0, 30, 2, dtype=np.int32)
    tokens = [token for item in items for token in (b"brand:%d" % (item % 5), b"tag:x")]
    catalog.apply(items, pack(tokens), np.arange(0, 31, 2), np.ones(15, np.uint8), np.arange(15))
    return catalog


def rows(world: World) -> tuple[np.ndarray, np.ndarray]:
    """What a clusterer learns of the events: vectors, and their weights."""
    return np.column_stack([world.users, world.items, world.weights]), world.weights


def rank(blend: Blend, world: World) -> None:
    kept = (world.items[:, None] // 3 * 3 + np.arange(3)).astype(np.int32)
    features = (kept[:, :, None] * np.arange(1, FEATURES + 1) % 7).astype(np.float32) / 7
    contexts = (world.users[:, None] * np.arange(1, CONTEXT + 1) % 5).astype(np.float32) / 5
    blend.apply(blend.gradients(kept, features, world.items, world.segments, contexts))
    hits = (features[:, 1, :1] > np.arange(len(SOURCES) + 1) / 12).sum(axis=0)
    blend.watch(hits, len(world))


TYPES = [b"rating", b"view", b"cart", b"purchase"]


def kinds(world: World) -> np.ndarray:
    """A type for every weight."""
    return (np.ceil(world.weights)).astype(np.uint8)


def join(members: Members, world: World) -> None:
    told = lesson(world)
    members.apply(list(dict.fromkeys(world.users.tolist())), told.user_segments, told.users, world.times)


def lesson(world: World) -> Lesson:
    """What the world's events teach all models at once, without what is learned from recommendations."""
    users, items = list(dict.fromkeys(world.users.tolist())), list(dict.fromkeys(world.items.tolist()))
    segment_of = dict(zip(world.users.tolist(), world.segments.tolist(), strict=True))
    return Lesson(
        events=len(world),
        user_ids=pack([f"user-{user}".encode() for user in users]),
        user_segments=np.array([segment_of[user] for user in users], np.int16),
        item_ids=pack([f"item-{item}".encode() for item in items]),
        users=np.array([users.index(user) for user in world.users], np.uint32),
        items=np.array([items.index(item) for item in world.items], np.uint32),
        weights=world.weights,
        times=world.times,
        types=pack(TYPES),
        kinds=kinds(world),
    )


REGISTRY: list[Stateful] = [
    Stateful("Ids", Ids, lambda model, world: model.add(pack(names(world))), Ids.from_arrays),
    Stateful(
        "Visits",
        lambda: Visits(**RINGS),
        lambda model, world: model.apply(world.users, world.items, world.weights, world.times),
        lambda arrays: Visits.from_arrays(arrays, **RINGS),
    ),
    Stateful(
        "Popularity",
        lambda: Popularity(**COUNTS),
        lambda model, world: model.apply(world.items, world.weights, world.times, world.segments),
        lambda arrays: Popularity.from_arrays(arrays, **COUNTS),
    ),
    Stateful(
        "Catalog",
        stocked,
        lambda model, world: model.visit(None, world.users, world.items),
        lambda arrays: Catalog.from_arrays(arrays, **SHELVES),
    ),
    Stateful(
        "KMeans",
        lambda: KMeans(**SEGMENTS),
        lambda model, world: model.partial_fit(*rows(world)),
        lambda arrays: KMeans.from_arrays(arrays, **SEGMENTS),
        splits=False,
    ),
    Stateful("Members", lambda: Members(**MEMBERS), join, lambda arrays: Members.from_arrays(arrays, **MEMBERS)),
    Stateful(
        "Habits",
        lambda: Habits(**HABITS),
        lambda model, world: model.apply(world.segments, world.times, kinds(world), pack(TYPES)),
        lambda arrays: Habits.from_arrays(arrays, **HABITS),
    ),
    Stateful(
        "DBStream",
        lambda: DBStream(**DENSE),
        lambda model, world: model.partial_fit(*rows(world), times=world.times),
        lambda arrays: DBStream.from_arrays(arrays, **DENSE),
    ),
    Stateful(
        "SOM",
        lambda: SOM(**MAP),
        lambda model, world: model.partial_fit(*rows(world)),
        lambda arrays: SOM.from_arrays(arrays, **MAP),
    ),
    Stateful("Blend", lambda: Blend(**WEIGHTS), rank, lambda arrays: Blend.from_arrays(arrays, **WEIGHTS), splits=False),
    Stateful(
        "Similarity",
        Similarity,
        lambda model, world: model.partial_fit(world.users, world.items, world.weights),
        Similarity.from_arrays,
    ),
    Stateful(
        "Models",
        lambda: Models(**ALL),
        lambda model, world: model.apply(lesson(world)),
        lambda arrays: Models.from_arrays(arrays, **ALL),
    ),
]
