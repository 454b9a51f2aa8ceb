"""Recommend: from observed users to ranked lists, in compiled code that holds no GIL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from state.profiles import Profile
from streams.encode import items_json, neighbors_json
from streams.items import ItemNumbers
from streams.models.chance import seeds
from streams.models.ids import pack
from streams.models.models import Models
from streams.models.query import Query, Ranked
from streams.models.recommend import Recommender
from streams.observed import Observed
from streams.profiles import Profiles
from streams.reranking import Reranking
from streams.settings import Settings
from streams.written import history_json

__all__ = ["Judged", "Scored", "Scorer"]

# A hit is the next item among so many.
_FIRST = 10
# A batch's gradients are all taken at the weights before it: from more lists than so many they would carry them past the optimum.
_TAUGHT = 128


@dataclass(slots=True)
class Judged:
    """What users did next, held against the lists they had been given: ``counts`` int64[partitions] lists were judged.

    There is a row for each of those that held the next item: its partition, the user's segment, the gradient row of
    ``Blend.each``, and the hits of ``Blend.hits`` and last of the list as it was published.
    """

    counts: NDArray[np.int64]
    partitions: NDArray[np.int64]
    segments: NDArray[np.int16]
    gradients: NDArray[np.float64]
    hits: NDArray[np.int64]


@dataclass(slots=True)
class Scored:
    """The answer for the observed users, row by row in their order, and what their events said of the last answers.

    ``segments`` are -1 for none, ``events`` all that a user ever had.
    """

    version: int
    rows: dict[str, int]
    vectors: NDArray[np.float32]
    segments: list[int]
    events: list[int]
    judged: Judged
    models: Models
    items: list[bytes] = field(default_factory=list)
    neighbors: list[bytes] = field(default_factory=list)
    histories: list[bytes] = field(default_factory=list)


class Scorer:
    """Scores users against the models; keeps each list's candidates, from which the blend learns without a second scoring."""

    def __init__(self, settings: Settings, models: Models, profiles: Profiles, items: ItemNumbers) -> None:
        self.recommender = Recommender(**settings.models.recommender(), size=settings.publish.size)
        self._reranking = Reranking(settings.rerank)
        self._settings = settings
        self._models = models
        self._profiles = profiles
        self._histories, self._kept, self._types = profiles.histories, profiles.kept, profiles.types
        self._items = items

    def score(self, observed: Observed, *, answer: bool = True) -> Scored:
        """Judge the lists given before, push the new events, then rank anew for every observed user if an answer is wanted."""
        indexes = self._items.indexes(self._models.items)
        judged = self._judge(observed, indexes)
        self._profiles.push(observed.pushes)
        profiles = list(observed.profiles.values())
        now = np.array([observed.triggers[profile.user_id][1].event.time for profile in profiles], np.float64)
        query = self.ask(profiles, now)
        vectors = self._models.catalog.interest(query)
        segments = self._models.segment_of(vectors)
        scored = Scored(
            version=self._models.version,
            rows={profile.user_id: row for row, profile in enumerate(profiles)},
            vectors=vectors,
            segments=segments.tolist(),
            events=[profile.events for profile in profiles],
            judged=judged,
            models=self._models,
        )
        if answer:
            triggers = [(partition, placed.offset) for partition, placed in map(observed.triggers.__getitem__, scored.rows)]
            ranked = self.rank(profiles, query, vectors, segments, triggers)
            scored.items = items_json(ranked, self._models.items)
            scored.neighbors = neighbors_json(ranked, self._models.users)
            scored.histories = history_json(self._histories, _slots(profiles), self._items, self._types)
        return scored

    def ask(self, profiles: Sequence[Profile], now: NDArray[np.float64]) -> Query:
        """Put the histories of these users into a query, each with its reference time."""
        return self._histories.query(_slots(profiles), self._items.indexes(self._models.items), now, self._users(profiles))

    def rank(
        self,
        profiles: Sequence[Profile],
        query: Query,
        vectors: NDArray[np.float32],
        segments: NDArray[np.int16],
        triggers: Sequence[tuple[int, int]],
    ) -> Ranked:
        """Rank items for the users of a query, and keep the candidates for the blend to learn from.

        A trigger is the place of the event that is answered, (partition, offset): what is left to chance depends on it alone.
        """
        net, asked = self._models.blend.net(segments), self._reranking.asked(self._models)
        drawn = asked.explore > 0
        chance = seeds(self._settings.rerank.seed, *np.array(triggers, np.int64).reshape(-1, 2).T) if drawn else None
        ranked = self.recommender.recommend(self._models, query, vectors, segments, net, asked, chance)
        # By numbers that stay: until the user acts again, items may leave and others have their indexes.
        numbers = self._models.numbers(ranked.candidates)
        kept = ranked.starts, numbers, ranked.features, ranked.context, ranked.shown
        self._kept.keep(_slots(profiles), *kept)
        return ranked

    def _judge(self, observed: Observed, indexes: NDArray[np.int32]) -> Judged:
        rows = [
            (partition, profile.slot, number, -1 if profile.segment is None else profile.segment)
            for partition, teaching in observed.teachings.items()
            for profile, number in teaching.judged
        ]
        table = np.array(rows, np.int64).reshape(-1, 4)
        # Rows of newcomers are made ready first: until then they look as if they held a list.
        table = table[self._kept.items[self._kept.checked(table[:, 1]), 0] >= 0]
        judged = np.bincount(table[:, 0])
        # Only a list that held the item has anything to say; the others need not be copied.
        targets = self._models.numbers(indexes[table[:, 2]])
        held = self._kept.hold(table[:, 1], targets)
        table, targets = table[held], targets[held]
        slots, segments = table[:, 1], table[:, 3].astype(np.int16)
        if not len(table):
            return Judged(judged, table[:, 0], segments, np.zeros((0, 0)), np.zeros((0, 0), np.int64))
        kept, features = self._kept.items[slots], self._kept.read(slots)
        places, given = self._kept.place(slots, targets)
        published = (places > 0) & (places <= _FIRST)
        # What was put before the user by a pin or by chance says neither of a source nor of the blend who was right.
        targets = np.where(given, -1, targets)
        blend, some = self._models.blend, slice(None, None, -(-len(slots) // _TAUGHT))
        gradients = np.zeros((len(slots), blend.taught))
        gradients[some] = blend.each(kept[some], features[some], targets[some], segments[some], self._kept.contexts[slots[some]])
        hits = np.column_stack([blend.hits(kept, features, targets, _FIRST), published])
        return Judged(judged, table[:, 0], segments, gradients, hits)

    def _users(self, profiles: Sequence[Profile]) -> NDArray[np.int32]:
        """Give the users' indexes in the models, looking up those not known yet, or known by an index that is another's now."""
        users = self._models.users
        if unknown := [one for one in profiles if one.index < 0 or not users.has(one.index, one.user_id.encode())]:
            found = users.find(pack([profile.user_id.encode() for profile in unknown]))
            for profile, index in zip(unknown, found.tolist(), strict=True):
                profile.index = index
        return np.array([profile.index for profile in profiles], np.int32)

    def knows(self, user_id: str) -> bool:
        """Tell whether the models know a user."""
        return int(self._models.users.find(pack([user_id.encode()]))[0]) >= 0

    def labels(self, number: int) -> Sequence[str]:
        """Name what an item is (brand, category, tags), for a user's interests; empty without a catalogue entry."""
        index = int(self._items.indexes(self._models.items)[number])
        return self._models.catalog.labels(index) if index >= 0 else ()


def _slots(profiles: Sequence[Profile]) -> NDArray[np.int32]:
    return np.array([profile.slot for profile in profiles], np.int32)
