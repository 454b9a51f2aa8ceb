"""The pass: for each event in time order, rank all items for its user, see where its item stands, then learn it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from state.profiles import Profile
from streams.catalogue import change_of
from streams.decode import Batch, Decoded, Placed
from streams.evaluation.diversity import diversity
from streams.evaluation.outcome import DEPTH, LISTED, Outcome
from streams.evaluation.protocol import protocol
from streams.evaluation.recorded import Recorded
from streams.memory import Loop
from streams.models.ids import Ids, pack
from streams.models.models import Models
from streams.models.query import Ranked
from streams.models.ranks import ranks
from streams.models.sources import SOURCES
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import Event, Item
from streams.settings import Settings

__all__ = ["Evaluation", "Witness"]

# All candidates that any source has among its first DEPTH must be at hand when ranks are counted.
KEEP = DEPTH * (len(SOURCES) + 1)
# Catalogue entries in one record, as many as the catalog agent takes.
_AT_ONCE = 500
# How often the blend's weights are noted, and from how many lists diversity is told.
_NOTES, _LISTS = 100, 1000

Witness = Callable[[int, Event, Ranked, "Evaluation"], None]
"""Told of each counted event before it is learned: its row among the counted, itself, and what was ranked."""


@dataclass(slots=True)
class _Message:
    """A message of which only the place matters."""

    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


class Evaluation:
    """One pass over recorded events; the first ``warmup`` are learned and not counted.

    What is counted says :func:`streams.evaluation.protocol.protocol`; by what, the settings' ``exclude``.
    """

    def __init__(self, settings: Settings, events: Recorded, warmup: int = 0, witness: Witness | None = None) -> None:
        publish = settings.publish.model_copy(update={"size": DEPTH})
        models = settings.models.model_copy(update={"judged": DEPTH, "keep": KEEP})
        intake = settings.intake.model_copy(update={"cached_users": 1 << 22})
        self.settings = settings
        self.events, self.warmup = events, warmup
        self.protocol = protocol(events, warmup, settings.excludes)
        self.outcome = Outcome.of(len(events), len(self.protocol.places))
        self.done = 0
        self._witness = witness
        self._loop = Loop(settings.model_copy(update={"publish": publish, "models": models, "intake": intake}))
        self._items = Ids() if settings.models.max_items else None
        self._meet(events.item_ids)

    @property
    def models(self) -> Models:
        """All that was learned so far."""
        return self._loop.fold.models

    @property
    def items(self) -> Ids:
        """The items as the lists number them: as the models do, but where some leave these."""
        return self.models.items if self._items is None else self._items

    def _meet(self, item_ids: Iterable[str]) -> None:
        if self._items is not None:
            self._items.add(pack([item_id.encode() for item_id in item_ids]))

    def counted_users(self) -> NDArray[np.int32]:
        """Give the user of each counted event, as the events number them."""
        return self.events.users[self.protocol.places]

    def identity(self) -> dict[str, object]:
        """Tell what is counted: two passes with the same may be compared."""
        return {"warmup": self.warmup, "exclude": self.settings.exclude, "fingerprint": self.events.fingerprint()}

    def stock(self, items: Iterable[Item]) -> None:
        """Learn the catalogue before the events, as if it had been sent long ago."""
        entries = [(0, offset, item) for offset, item in enumerate(items)]
        self._meet(item.item_id for _, _, item in entries)
        for first in range(0, len(entries), _AT_ONCE):
            change = change_of(entries[first : first + _AT_ONCE])
            self._loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change)))])

    async def run(self, tick: Callable[[Evaluation], None] = lambda _: None) -> None:
        """Test and learn every event; ``tick`` is called after each."""
        history, outcome = self.protocol.history, self.outcome
        notes = max(1, len(self.events) // _NOTES)
        get, let_go = self._loop.pipeline.profiles.get, self._loop.pipeline.profiles.let_go_all
        for event in self.events:
            profiles = await get({event.user_id: 0})
            if history[self.done]:
                self._test(profiles[event.user_id], event)
            begun = time.perf_counter()
            self._learn(profiles, event)
            outcome.learn_us[self.done] = (time.perf_counter() - begun) * 1e6
            let_go()
            self.done += 1
            if self.done % notes == 0:
                outcome.weights.append((self.done, self.models.blend.named_weights()))
            tick(self)

    def _test(self, profile: Profile, event: Event) -> None:
        scorer, models = self._loop.pipeline.scorer, self.models
        begun = time.perf_counter()
        query = scorer.ask([profile], np.array([event.time]))
        vectors = models.catalog.interest(query)
        ranked = scorer.rank([profile], query, vectors, models.segment_of(vectors), [(0, self.done)])
        spent = time.perf_counter() - begun
        if self.protocol.counted[self.done]:
            self._count(event, ranked, spent)

    def _count(self, event: Event, ranked: Ranked, spent: float) -> None:
        outcome, row, listed = self.outcome, self.outcome.scored, ranked.items[0]
        ranks(listed, ranked.candidates, ranked.features, self.index(event.item_id), outcome.ranks[row])
        outcome.lists[row] = self._numbered(listed[:LISTED])
        outcome.recommend_us[row] = spent * 1e6
        if row % max(1, len(outcome.ranks) // _LISTS) == 0:
            outcome.diversity.append(diversity(self.models.catalog, listed[:LISTED]))
        if self._witness:
            self._witness(row, event, ranked, self)
        outcome.scored += 1

    def _numbered(self, listed: NDArray[np.int32]) -> NDArray[np.int32]:
        if self._items is None:
            return listed
        numbers = np.full(len(listed), -1, np.int32)
        numbers[listed >= 0] = self._items.find(pack(self.models.items.names(listed[listed >= 0])))
        return numbers

    def index(self, item_id: str) -> int:
        """Give an item's index in the models, -1 for one they do not know yet."""
        items = self._loop.pipeline.items
        number = items.number(item_id)  # before the indexes: an item seen for the first time makes them longer
        return int(items.indexes(self.models.items)[number])

    def _learn(self, profiles: dict[str, Profile], event: Event) -> None:
        pipeline, offset = self._loop.pipeline, self.done
        placed = Placed(event, offset, event.time, None)
        batch = Batch({0: [_Message(offset)]}, {0: offset})
        observed = pipeline.observer.observe(batch, Decoded(events={0: [placed]}), profiles)
        scored = pipeline.scorer.score(observed, answer=False)
        self._loop.learn(observed, scored)
        for profile, segment in zip(profiles.values(), scored.segments, strict=True):
            profile.segment = None if segment < 0 else segment
