"""Prequential evaluation (test, then learn) of a file of events, with the code that serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from state.profiles import Profile
from streams.catalogue import change_of
from streams.decode import Batch, Decoded, Placed
from streams.memory import Loop
from streams.models.query import Ranked
from streams.models.sources import SOURCES
from streams.records import Kind, Record, encode, encode_catalog
from streams.schemas import Event, Item
from streams.settings import Settings

__all__ = ["Evaluation", "Figures", "Tally"]

# Ranks that are counted; a target below is a miss by every measure.
DEPTH = 20
# All candidates that any source has among its first DEPTH must be at hand when ranks are counted.
KEEP = DEPTH * (len(SOURCES) + 1)
# Catalogue entries in one record, as many as the catalog agent takes.
_AT_ONCE = 500

Figures = dict[str, float]


@dataclass(slots=True)
class Tally:
    """Sums over the events scored, of one list of ranks."""

    scored: int = 0
    hits10: int = 0
    hits20: int = 0
    reciprocal: float = 0.0
    gain: float = 0.0

    def add(self, rank: int) -> None:
        """Count an event whose item stood at this rank, from 1; 0: not among the first DEPTH."""
        self.scored += 1
        if rank:
            self.hits20 += 1
            self.reciprocal += 1.0 / rank
            if rank <= 10:
                self.hits10 += 1
                self.gain += 1.0 / float(np.log2(rank + 1))

    def figures(self) -> Figures:
        """Give the means, rounded as they are printed; NDCG has one relevant item, so its ideal is 1."""
        n = max(1, self.scored)
        return {
            "hr@10": round(self.hits10 / n, 6),
            "hr@20": round(self.hits20 / n, 6),
            "mrr@20": round(self.reciprocal / n, 6),
            "ndcg@10": round(self.gain / n, 6),
        }


@dataclass(slots=True)
class Evaluation:
    """One pass over events in time order: rank all items for the user before the event, count, then learn the event.

    ``warmup`` is how many events are learned before counting begins; with ``unseen`` only events on an item that is new to the
    user count.
    """

    settings: Settings
    warmup: int = 0
    unseen: bool = False
    events: int = 0
    blend: Tally = field(default_factory=Tally)
    sources: list[Tally] = field(default_factory=lambda: [Tally() for _ in SOURCES])
    recommend_us: list[float] = field(default_factory=list)
    _loop: Loop = field(init=False)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Start with nothing learned; every list is kept long enough to count ranks to DEPTH."""
        publish = self.settings.publish.model_copy(update={"size": DEPTH})
        models = self.settings.models.model_copy(update={"judged": DEPTH, "keep": KEEP})
        intake = self.settings.intake.model_copy(update={"cached_users": 1 << 22})
        self._loop = Loop(self.settings.model_copy(update={"publish": publish, "models": models, "intake": intake}))

    def stock(self, items: Iterable[Item]) -> None:
        """Learn the catalogue before the events, as if it had been sent long ago."""
        entries = [(0, offset, item) for offset, item in enumerate(items)]
        for first in range(0, len(entries), _AT_ONCE):
            change = change_of(entries[first : first + _AT_ONCE])
            self._loop.append([encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change)))])

    async def run(self, events: Iterable[Event], tick: Callable[[Evaluation], None] = lambda _: None) -> None:
        """Test and learn every event; ``tick`` is called after each."""
        for event in events:
            profiles = await self._loop.pipeline.profiles.get({event.user_id: 0})
            profile = profiles[event.user_id]
            if profile.events:
                self._test(profile, event)
            self._learn(profiles, event)
            self._loop.pipeline.profiles.let_go_all()
            self.events += 1
            tick(self)

    def _test(self, profile: Profile, event: Event) -> None:
        scorer, models = self._loop.pipeline.scorer, self._loop.fold.models
        began = time.perf_counter()
        query = scorer.ask([profile], np.array([event.time]))
        vectors = models.catalog.interest(query)
        ranked = scorer.rank([profile], query, vectors, models.segment_of(vectors), [(0, self.events)])
        spent = time.perf_counter() - began
        if self.events >= self.warmup and self._counts(event):
            self.recommend_us.append(spent * 1e6)
            self._count(ranked, self._index(event))

    def _counts(self, event: Event) -> bool:
        return not self.unseen or (event.user_id, event.item_id) not in self._seen

    def _index(self, event: Event) -> int:
        items = self._loop.pipeline.items
        number = items.number(event.item_id)  # before the indexes: an item seen for the first time makes them longer
        return int(items.indexes(self._loop.fold.models.items)[number])

    def _count(self, ranked: Ranked, target: int) -> None:
        self.blend.add(_rank(ranked.items[0, :], target))
        row = np.flatnonzero(ranked.candidates == target) if target >= 0 else np.zeros(0, np.int64)
        shares = ranked.features[row[0], len(SOURCES) : 2 * len(SOURCES)] if len(row) else np.zeros(len(SOURCES), np.float32)
        for tally, share in zip(self.sources, shares, strict=True):
            rank = round(1.0 / float(share)) if share > 0 else 0
            tally.add(rank if rank <= DEPTH else 0)

    def _learn(self, profiles: dict[str, Profile], event: Event) -> None:
        pipeline, offset = self._loop.pipeline, self.events
        placed = Placed(event, offset, event.time, None)
        batch = Batch({0: [_Message(offset)]}, {0: offset})
        observed = pipeline.observer.observe(batch, Decoded(events={0: [placed]}), profiles)
        self._loop.append(pipeline.teach(observed, pipeline.scorer.score(observed, answer=False)))
        if self.unseen:
            self._seen.add((event.user_id, event.item_id))

    def result(self, seconds: float) -> dict[str, object]:
        """Give the figures in the shape of ``upwell evaluate --json``."""
        spent = np.array(self.recommend_us or [0.0])
        return {
            "events": self.events,
            "scored": self.blend.scored,
            "seconds": round(seconds, 3),
            "recommend_us": {
                "p50": round(float(np.percentile(spent, 50)), 1),
                "p99": round(float(np.percentile(spent, 99)), 1),
            },
            "blend": self.blend.figures(),
            "sources": {name: tally.figures() for name, tally in zip(SOURCES, self.sources, strict=True)},
        }


@dataclass(slots=True)
class _Message:
    """A message of which only the place matters."""

    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def _rank(items: NDArray[np.int32], target: int) -> int:
    """Give a target's rank in a list from 1, or 0."""
    places = np.flatnonzero(items == target)
    return int(places[0]) + 1 if target >= 0 and places.size else 0
