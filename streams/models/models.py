"""All that was learned, in one object: the fold of the learned log. Equal logs give equal models, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streams.models.admitting import admit_items, admit_users
from streams.models.blend import Blend, BlendDelta
from streams.models.catalog import Catalog
from streams.models.catalog_change import CatalogChange
from streams.models.clusterers import clusterer, learn, restored
from streams.models.compile import column, kernel
from streams.models.erasing import erase
from streams.models.extent import extent
from streams.models.habits import Habits
from streams.models.ids import Ids, Packed, pack, unpack
from streams.models.kmeans import KMeans
from streams.models.lesson import MERGED_AWAY, Lesson
from streams.models.members import Members
from streams.models.popularity import Popularity
from streams.models.roster import Roster
from streams.models.sources import SOURCES
from streams.models.visits import Visits

__all__ = ["Models"]

_PARTS = ("users", "items", "visits", "popularity", "catalog", "segments", "members", "habits", "blend")
_ROSTERS = ("active_users", "active_items")
# What an int32 holds of a number; two items share it after two thousand million others.
_NUMBERS = (1 << 31) - 1


class Models:
    """The learned models and their counters.

    Parameters
    ----------
    visits, popularity, catalog, segments, members, habits, blend
        Keyword parameters of the models of these names.
    limits
        ``users`` and ``items``, the most that are held at a time: where newcomers find no room, those least recently active
        leave. 0, or none: no limit.

    Attributes
    ----------
    active_users, active_items : Roster
        Who was active how lately; empty without a limit.
    version : int
        Log offset up to which the log is folded.
    events : int
        Events taught.
    time : float
        The latest event time seen, in seconds; decay is read against it.
    hits, judged
        int64[sources + 1] lists that held the user's next item among their first ten, last the list that was published; out of
        how many.
    solved_at, solved_centers
        When the centers were last solved, or came into use (event time in seconds), and what they were then:
        float64[segments], -inf while not in use, and float64[segments, d].
    """

    def __init__(self, **parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.clear()

    def clear(self) -> None:
        """Begin as if nothing had been learned."""
        parameters = self.parameters
        self.users, self.items = Ids(), Ids()
        limits = parameters.get("limits", {})
        self.active_users, self.active_items = Roster(limits.get("users", 0)), Roster(limits.get("items", 0))
        self.visits = Visits(**parameters.get("visits", {}))
        self.popularity = Popularity(**parameters.get("popularity", {}))
        self.catalog = Catalog(**parameters.get("catalog", {}))
        self.segments = clusterer(**parameters.get("segments", {}))
        self.members = Members(**parameters.get("members", {}))
        self.habits = Habits(**parameters.get("habits", {}))
        self.blend = Blend(**parameters.get("blend", {}))
        self._reserved = (0, 0)
        self.version = 0
        self.events = 0
        self.judged = 0
        self.time = 0.0
        self.hits = np.zeros(len(SOURCES) + 1, np.int64)
        self.solved_at = np.full(self.segments.capacity, -np.inf)
        self.solved_centers = np.zeros((self.segments.capacity, 0))

    def apply(self, lesson: Lesson) -> NDArray[np.int32]:
        """Fold a lesson; return the indexes of the items it visited, each once, and of those whose visitors it made forget."""
        changed = self._forget(lesson)
        users, items = admit_users(self, lesson.user_ids), admit_items(self, lesson.item_ids)
        self.reserve()
        of_users = self._standing(lesson.user_segments)
        self.members.apply(users, of_users, lesson.users, lesson.times)
        visitors, visited = users[lesson.users], items[lesson.items]
        if len(visited):
            segments = of_users[lesson.users]
            self.popularity.apply(visited, lesson.weights, lesson.times, segments)
            kinds = self.habits.apply(segments, lesson.times, lesson.kinds, lesson.types)
            self.visits.apply(visitors, visited, lesson.weights, lesson.times, segments, kinds)
            self.catalog.visit(self.visits, visitors, visited, self.active_items.numbers if self.active_items.limit else None)
            self.time = max(self.time, extent(column(lesson.times, np.float64))[1])
        self._statistics(lesson)
        self.events += lesson.events
        self.judged += lesson.judged
        self.hits[:-1] += lesson.hits[:-2]
        self.hits[-1] += lesson.hits[-1]
        # The guard compares what was found, before pins and the like, or it would answer for what the shop asked for.
        self.blend.watch(lesson.hits[:-1], lesson.judged)
        if changed is None:
            return items
        still = self.items.find(changed)
        return np.unique(np.concatenate([still[still >= 0], items]))

    def _forget(self, lesson: Lesson) -> Packed | None:
        """Erase whom a lesson makes forget; give the ids of the items that changed, for others may leave before its end."""
        if not len(lesson.forgotten.ends):
            return None
        names, merged = unpack(lesson.forgotten), (lesson.forgotten_at == MERGED_AWAY).tolist()
        aliases = pack([name for name, alias in zip(names, merged, strict=True) if alias])
        others = pack([name for name, alias in zip(names, merged, strict=True) if not alias])
        changed = np.concatenate([erase(self, aliases, close_up=False), erase(self, others)])
        return pack(self.items.names(np.unique(changed).tolist()))

    def reserve(self) -> None:
        """Give every model room for all items and users, so that kernels may index any model by any of them."""
        users, items = len(self.users), len(self.items)
        if (users, items) == self._reserved:
            return
        self._reserved = users, items
        most = self.active_users.limit, self.active_items.limit
        self.popularity.reserve(items, most[1])
        self.catalog.reserve(users, items, *most)
        self.visits.reserve(users, items, *most)
        self.members.reserve(users, most[0])

    def left(self) -> dict[str, int]:
        """Count the users and the items that ever left, those twice who came back and left again."""
        return {"users": self.active_users.left, "items": self.active_items.left}

    def numbers(self, items: NDArray[np.int32]) -> NDArray[np.int32]:
        """Give what the items of these indexes are known by for good, while they are here; -1 for -1.

        Of use to who keeps items longer than until the next fold: indexes change when some leave.
        """
        if not self.active_items.limit:
            return items
        numbers, known = np.full(items.shape, -1, np.int32), items >= 0  # before the first fold nothing is, not even a last one
        numbers[known] = self.active_items.numbers[items[known]] & _NUMBERS
        return numbers

    def _standing(self, segments: NDArray[np.int16]) -> NDArray[np.int16]:
        """Give -1 for a segment that is gone: what names it is older than the centers at hand."""
        if not self.segments.initialised or not len(segments):
            return segments
        standing = np.array(segments, np.int16)
        _leave(standing, self.solved_at)
        return standing

    def _statistics(self, lesson: Lesson) -> None:
        learn(self.segments, lesson)
        if not self.solver:
            self._begin_and_end()
        if len(lesson.blend_segments):
            self.blend.apply(
                BlendDelta(
                    self._standing(lesson.blend_segments),
                    lesson.blend_events,
                    lesson.gradient,
                    lesson.hidden.astype(np.float64),
                )
            )

    def _begin_and_end(self) -> None:
        """Note which segments came into use, and forget all of those that went: their ids will stand for others."""
        used = np.zeros(self.segments.capacity, np.bool_)
        used[self.segments.ids] = True
        known = self.solved_at > -np.inf
        if (used == known).all():
            return
        centers = self.segments.cluster_centers_
        if self.solved_centers.shape != centers.shape:
            self.solved_centers = np.zeros(centers.shape)
        new, gone = used & ~known, known & ~used
        self.solved_at[new], self.solved_centers[new] = self.time, centers[new]
        self.solved_at[gone] = -np.inf
        for model in (self.visits, self.members, self.popularity, self.habits, self.blend):
            model.forget(np.flatnonzero(gone))

    @property
    def solver(self) -> KMeans | None:
        """The clusterer, if it is one that must be solved now and then."""
        return self.segments if isinstance(self.segments, KMeans) else None

    def change_catalog(self, change: CatalogChange) -> NDArray[np.int32]:
        """Fold catalogue entries and deletions; return the indexes of their items."""
        items = admit_items(self, change.item_ids)
        self.reserve()
        gone = change.gone.astype(np.bool_)
        self.catalog.forget(items[gone], change.offsets[gone])
        starts = change.token_starts
        self.catalog.apply(items[~gone], change.tokens, starts, change.available[~gone], change.offsets[~gone])
        return items

    def adopt(self, centers: NDArray[np.float64], generation: int, at: float) -> bool:
        """Fold re-solved centers; False where they do not follow the generation at hand.

        Users of a segment that goes have none until their next event, and what was learned of it is forgotten with it.
        """
        if not self.solver or not self.solver.adopt(centers, generation):
            return False
        if len(centers):  # else those at hand stay
            self._begin_and_end()
            self.solved_at[self.segments.ids], self.solved_centers = at, self.segments.cluster_centers_.copy()
        return True

    def drift(self) -> NDArray[np.float64]:
        """Give how far each center has moved since it was last solved: float64[segments], 0 where an id is free."""
        ids, moved = self.segments.ids, np.zeros(self.segments.capacity)
        moved[ids] = np.sqrt(((self.segments.cluster_centers_[ids] - self.solved_centers[ids]) ** 2).sum(axis=1))
        return moved

    def segment_of(self, vectors: NDArray[np.float32]) -> NDArray[np.int16]:
        """Give each user vector its segment: -1 while there are none, for noise, and for a user of whom nothing is known."""
        found = self.segments.predict(vectors)
        known = np.einsum("nd,nd->n", vectors, vectors) > 0
        return np.where(known, found, -1).astype(np.int16)

    def hit_rate(self) -> dict[str, float]:
        """Give the share of judged events whose item was among the first ten, for each source and the blend."""
        return {name: float(hits) / max(1, self.judged) for name, hits in zip((*SOURCES, "blend"), self.hits, strict=True)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give all arrays by name, for a snapshot; they are views: copy before the next fold."""
        own = {
            "counters": np.array([self.version, self.events, self.judged], np.int64),
            "time": np.array([self.time]),
            "solved_at": self.solved_at.copy(),
            "solved_centers": self.solved_centers,
            "hits": self.hits.copy(),
        }
        parts = (*_PARTS, *_ROSTERS)
        return own | {f"{part}.{name}": array for part in parts for name, array in getattr(self, part).arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], **parameters: Mapping[str, Any]) -> Self:
        """Build models from a snapshot's arrays and the same parameters."""
        models = cls(**parameters)
        models.version, models.events, models.judged = (int(number) for number in arrays["counters"])
        models.time = float(arrays["time"][0])
        for name in ("hits", "solved_at", "solved_centers"):
            setattr(models, name, arrays[name].copy())
        for part in _PARTS:
            restore = restored if part == "segments" else type(getattr(models, part)).from_arrays
            setattr(models, part, restore(_of(part, arrays), **parameters.get(part, {})))
        for part in _ROSTERS:
            getattr(models, part).restore(_of(part, arrays))
        return models


@kernel
def _leave(segments: NDArray[np.int16], solved_at: NDArray[np.float64]) -> None:
    """Write -1 over those that are gone, or beyond all that there are."""
    for n in range(segments.size):
        if segments[n] >= solved_at.size or (segments[n] >= 0 and solved_at[segments[n]] == -np.inf):
            segments[n] = -1


def _of(part: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
