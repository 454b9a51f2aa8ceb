"""The item side of Redis: how popular an item is, and which items are visited beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.hidden import Net
from streams.models.models import Models
from streams.models.query import Query
from streams.models.recommend import Recommender
from streams.models.sources import COVISIT, FEATURES
from streams.settings import Settings

__all__ = ["Row", "Similar"]

Row = tuple[str, float, list[tuple[str, float]]]


class Similar:
    """Asks the recommender what it would say to somebody who visited one item only."""

    def __init__(self, settings: Settings) -> None:
        self._recommender = Recommender(**settings.models.recommender(), size=settings.publish.size)
        self._weights = np.zeros((1, FEATURES), np.float32)
        self._weights[0, COVISIT] = 1.0

    def rows(self, models: Models, items: NDArray[np.int32]) -> list[Row]:
        """Give (item id, decayed count, similar items with scores) for each item index; none for one past the last."""
        items = items[items < len(models.items)]  # some may have left since these were noted
        if not len(items):
            return []
        n = len(items)
        now = np.full(n, models.time)
        query = Query(
            users=np.full(n, -1, np.int32),
            now=now,
            starts=np.arange(n + 1, dtype=np.int64),
            items=items,
            times=now,
            weights=np.ones(n, np.float32),
            blocked=np.ones(n, np.uint8),
        )
        nobody = np.full(n, -1, np.int16)
        vectors = models.catalog.interest(query)
        ranked = self._recommender.recommend(models, query, vectors, nobody, Net.plain(np.repeat(self._weights, n, axis=0)))
        names = [name.decode() for name in models.items.names(items)]
        return [
            (
                name,
                models.popularity.count(int(item), models.time, "long"),
                self._similar(models, ranked.items[row], ranked.scores[row]),
            )
            for row, (name, item) in enumerate(zip(names, items, strict=True))
        ]

    def _similar(self, models: Models, items: NDArray[np.int32], scores: NDArray[np.float32]) -> list[tuple[str, float]]:
        found = (items >= 0) & (scores > 0)
        names = models.items.names(items[found])
        return [(name.decode(), round(float(score), 4)) for name, score in zip(names, scores[found], strict=True)]
