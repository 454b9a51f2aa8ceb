"""The recommender: from histories and models to ranked lists with reasons, a batch of users in one compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from streams.models.answer import Answer, Options, Question, Scratch, answer_all
from streams.models.candidates import new_candidates
from streams.models.compile import column
from streams.models.content import shelves
from streams.models.hidden import CONTEXT, HIDDEN, Net
from streams.models.lists import lists
from streams.models.neighbors import MEASURES, new_crowd
from streams.models.paths import Decays, halving
from streams.models.pool import new_pool
from streams.models.query import Query, Ranked
from streams.models.reasons import BECAUSE, REASONS, new_evidence
from streams.models.recent import new_recent
from streams.models.rerank import NEUTRAL, Rerank, new_room
from streams.models.rings import rings
from streams.models.sources import FEATURES, SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.models.catalog import Catalog
    from streams.models.popularity import Popularity
    from streams.models.visits import Visits

__all__ = ["Learned", "Recommender"]

DAY = 86400.0

# The items shared with a visitor are the bits of one int64.
MOST_QUERY_ITEMS = 62


class Learned(Protocol):
    """What the recommender reads of the models."""

    visits: Visits
    popularity: Popularity
    catalog: Catalog


class Recommender:
    """Ranks items for users by all sources at once, and says why.

    Scoring takes no lock of the interpreter and allocates nothing per user. The scratch is the object's own: one call at a
    time, so one object per thread. Same input, same bytes.

    Parameters
    ----------
    size : int
        Items recommended.
    per_source : int
        Candidates each source may name.
    keep, judged : int
        Candidates returned to learn from: those of rank ``judged`` or better in the blend, in its order, in the list, or in
        any source; then others.
    neighbors : int
        K, nearest users.
    query_items, covisit_items, content_items : int
        How many of the user's recent distinct items ask for neighbors, for co-visits and for content.
    window : int
        Visits looked at before and after a co-visit.
    measure : str
        One of ``cosine``, ``pearson``, ``euclidean``, ``jaccard``.
    query_half_life, repeat_half_life, path_half_life, new_half_life : float
        Seconds: of a recent item's age, of a repeated visit, of a neighbor's visit, of an item's novelty.
    recent_half, covisit_half, apart_half : float
        Places: among the recent items for `path` and for co-visits, and between visits in a neighbor's path.
    covisit_damping, next_damping : float
        Exponents of the item's visits by which co-visits are divided: 0 favours popular items, 0.5 is the cosine.
    content_budget : int
        Items compared for content.
    sources : sequence of str
        Those that bring candidates and are heard by the blend; the others are silent.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        *,
        size: int = 10,
        per_source: int = 50,
        keep: int = 128,
        judged: int = 10,
        neighbors: int = 50,
        query_items: int = 10,
        covisit_items: int = 5,
        content_items: int = 3,
        window: int = 5,
        measure: str = "cosine",
        query_half_life: float = 7 * DAY,
        repeat_half_life: float = 30 * DAY,
        path_half_life: float = 14 * DAY,
        new_half_life: float = 7 * DAY,
        recent_half: float = 1.0,
        covisit_half: float = 1.0,
        apart_half: float = 1.0,
        covisit_damping: float = 0.5,
        next_damping: float = 0.0,
        content_budget: int = 128,
        sources: Sequence[str] = SOURCES,
    ) -> None:
        if measure not in MEASURES:
            raise ValueError(f"measure {measure!r} is not one of {', '.join(MEASURES)}")
        counts = {"size": size, "per_source": per_source, "keep": keep, "judged": judged, "neighbors": neighbors}
        counts |= {"query_items": query_items, "covisit_items": covisit_items, "content_items": content_items, "window": window}
        halves = {"query_half_life": query_half_life, "repeat_half_life": repeat_half_life, "path_half_life": path_half_life}
        halves |= {
            "new_half_life": new_half_life,
            "recent_half": recent_half,
            "covisit_half": covisit_half,
            "apart_half": apart_half,
        }
        for name, value in (counts | halves).items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, not above 0")
        for damping in (covisit_damping, next_damping):
            if damping not in {0.0, 0.25, 0.5, 0.75, 1.0}:
                raise ValueError(f"a damping is {damping}, not a quarter from 0 to 1")
        if query_items > MOST_QUERY_ITEMS:
            raise ValueError(f"query_items is {query_items}, above {MOST_QUERY_ITEMS}")
        self._size, self._per_source, self._neighbors = size, per_source, neighbors
        self._query_items, self._content_items = query_items, content_items
        self._recent_half, self._apart_half, self._path_half_life = recent_half, apart_half, float(path_half_life)
        self._new_half_life = new_half_life
        self._measure, self._judged, self._keep, self._budget = MEASURES.index(measure), judged, keep, content_budget
        self._query_half_life, self._repeat_half_life = float(query_half_life), float(repeat_half_life)
        self._covisit = halving(min(covisit_items, query_items), covisit_half)
        self._near = 1.0 / np.maximum(np.arange(window + 1.0), 1.0)
        self._dampings = np.array([covisit_damping * 4, next_damping * 4], np.int64)
        unknown = [name for name in sources if name not in SOURCES]
        if unknown or not sources:
            raise ValueError(f"sources {', '.join(unknown) or 'that are none'}: name some of {', '.join(SOURCES)}")
        self._heard = np.array([name in sources for name in SOURCES], np.uint8)
        self._options = self._options_for(1)
        self._scratch: Scratch | None = None
        self._shape: tuple[int, ...] = ()
        self._whole = np.zeros((1, 0), np.int64)
        self._history = 256

    def recommend(
        self,
        models: Learned,
        query: Query,
        vectors: Any,
        segments: Any,
        net: Net,
        asked: Rerank = NEUTRAL,
        seeds: Any = None,
    ) -> Ranked:
        """Rank items for every user of the query.

        Parameters
        ----------
        models : Learned
            Read, never written.
        query : Query
            n users and their histories.
        vectors : float32[n, D]
            Interest vectors, of length 1 or 0.
        segments : int16[n]
            Segments, -1 for none.
        net : Net
            What the blend makes of the features, for these users.
        asked : Rerank
            What the shop asks of the lists; nothing by default.
        seeds : uint64[n], optional
            Of each user's chance, where places are drawn; 0 by default.

        Returns
        -------
        Ranked
            Arrays of its own.

        Raises
        ------
        ValueError
            If the shapes do not fit.
        """
        n, walked, stock = len(query), rings(models.visits), shelves(models.catalog)
        chance = column(np.zeros(n) if seeds is None else seeds, np.uint64)
        tastes = vectors, models.catalog.aversion(query)
        question = self._question(query, tastes, net, models.visits.population, chance)
        listed = lists(models.popularity, column(segments, np.int16), self._new_half_life)
        if not len(listed.segment) == len(question.vectors) == len(net.linear) == len(chance) == n:
            others = f"{len(question.vectors)} vectors, {len(net.linear)} weights, {len(chance)} seeds"
            raise ValueError(f"{n} users, {len(listed.segment)} segments, {others}")
        items = max(len(walked.item_count), len(stock.available), len(stock.content), len(models.popularity.long))
        # Rounded up, so that a longer history seldom makes new scratch.
        self._history = max(self._history, 1 << int((question.starts[1:] - question.starts[:-1]).max(initial=0)).bit_length())
        widths = stock.item_tokens.shape[1], listed.items.shape[1]
        scratch = self._grow((items, self._history, *walked.item_users.shape[1:], *walked.user_items.shape, *widths))
        if asked is not NEUTRAL:  # who is far down may yet be shown: all are put in order
            scratch = scratch._replace(candidates=scratch.candidates._replace(order=self._whole))
        answer = self._answer(n)
        answer_all(question, listed, walked, stock, self._options, asked, scratch, answer)
        kept = answer.starts[-1]
        return Ranked(*answer[:-3], answer.candidates[:kept], answer.features[:kept], answer.shown[:kept])

    @staticmethod
    def _question(query: Query, tastes: tuple[Any, Any], net: Net, population: int, seeds: Any) -> Question:
        users, now, starts = column(query.users, np.int32), column(query.now, np.float64), column(query.starts, np.int64)
        history = column(query.items, np.int32), column(query.times, np.float64), column(query.weights, np.float32)
        own = Net(*(column(part, np.float32) for part in net))
        vectors, aversions = (column(taste, np.float32) for taste in tastes)
        blocked = column(query.blocked, np.uint8)
        return Question(users, now, starts, *history, blocked, vectors, aversions, own, population, seeds)

    def _options_for(self, length: int) -> Options:
        path = Decays(halving(self._query_items, self._recent_half), halving(length, self._apart_half), self._path_half_life)
        counts = self._measure, self._judged, self._keep
        return Options(
            *counts, self._query_half_life, self._repeat_half_life, path, self._covisit, self._near, self._dampings, self._heard
        )

    def _grow(self, shape: tuple[int, ...]) -> Scratch:
        if self._scratch is None or shape != self._shape:
            items, history, visitors, users, length, tokens, top = shape
            asked, window = len(self._covisit), len(self._near) - 1
            touched = asked * visitors * 2 * window + self._neighbors * length + self._budget + 4 * top + history
            pool = new_pool(items, touched, 2 * asked)
            crowd = new_crowd(users, self._query_items * visitors, self._query_items, self._neighbors)
            evidence = new_evidence(items, self._size, self._query_items)
            candidates = new_candidates(len(pool.items), self._per_source, max(self._size, self._judged))
            room = new_room(len(candidates.rows), self._size, tokens)
            self._whole = np.zeros((1, len(candidates.rows)), np.int64)
            recent = new_recent(self._query_items)
            alike = np.zeros(self._content_items * tokens, np.int32), np.zeros(self._budget, np.int32)
            self._scratch = Scratch(pool, recent, crowd, candidates, room, evidence, np.zeros(HIDDEN, np.float32), *alike)
            self._options = self._options_for(length)
            self._shape = shape
        return self._scratch

    def _answer(self, n: int) -> Answer:
        ranked = np.zeros(n, np.int32), np.full((n, self._size), -1, np.int32), np.zeros((n, self._size), np.float32)
        shape = n, self._size, REASONS
        reasons = np.full(shape, -1, np.int8), np.zeros(shape, np.float32), np.full((*shape, BECAUSE), -1, np.int32)
        near = np.full((n, self._neighbors), -1, np.int32), np.zeros((n, self._neighbors), np.float32)
        told, room = (np.zeros((n, CONTEXT), np.float32), np.zeros((n, self._size), np.float32)), n * self._keep
        kept = np.empty(room, np.int32), np.empty((room, FEATURES), np.float32)
        return Answer(*ranked, *reasons, *near, *told, np.zeros(n + 1, np.int64), *kept, np.empty(room, np.uint8))
