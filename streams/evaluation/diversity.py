"""Diversity: how unlike each other the items of a list are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.catalog import Catalog
from streams.models.query import Query

__all__ = ["diversity"]


def diversity(catalog: Catalog, listed: NDArray[np.int32]) -> float:
    """Give 1 - the mean cosine of any two items of a list (-1 pads) by their vectors; an item without one resembles none.

    NaN for a list of less than two.
    """
    items = listed[listed >= 0]
    n = len(items)
    if n < 2:
        return float("nan")
    # The interest of one who met a single item is that item's unit vector.
    once, never, alike = np.zeros(n), np.zeros(n, np.uint8), np.ones(n, np.float32)
    vectors = catalog.interest(Query(np.full(n, -1, np.int32), once, np.arange(n + 1), items, once, alike, never)).astype(
        np.float64
    )
    total = vectors.sum(axis=0)
    return 1.0 - float((total * total).sum() - (vectors * vectors).sum()) / (n * (n - 1))
