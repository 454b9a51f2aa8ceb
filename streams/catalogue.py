"""From entries of the items topic to what the learned log says of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.models.catalog_change import CatalogChange
from streams.models.ids import pack
from streams.models.tokens import tokenize
from streams.schemas import Deleted, Item

__all__ = ["Entry", "change_of"]

Entry = tuple[int, int, Item | Deleted]
"""Partition and offset in the items topic, and what was there."""


def change_of(entries: Sequence[Entry]) -> CatalogChange:
    """Say in the learned log's terms what entries change."""
    tokens = [_tokens(entry) for _, _, entry in entries if isinstance(entry, Item)]
    return CatalogChange(
        item_ids=pack([entry.item_id.encode() for _, _, entry in entries]),
        offsets=np.array([offset for _, offset, _ in entries], np.int64),
        gone=np.array([isinstance(entry, Deleted) for _, _, entry in entries], np.uint8),
        available=np.array([isinstance(entry, Deleted) or entry.available for _, _, entry in entries], np.uint8),
        token_starts=np.cumsum([0, *map(len, tokens)], dtype=np.int64),
        tokens=pack([token for row in tokens for token in row]),
    )


def _tokens(entry: Item) -> list[bytes]:
    return tokenize(entry.name, entry.brand, entry.category, entry.price, entry.tags)
