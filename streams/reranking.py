"""What the settings ask of lists, in the numbers by which the models know tokens and items at the moment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.knobs.models import Rerank as Knobs
from streams.models.ids import Ids, Packed, pack
from streams.models.models import Models
from streams.models.rerank import NEUTRAL, Rerank
from streams.models.tokens import tokenize

__all__ = ["Reranking"]

Amounts = tuple[NDArray[np.int32], NDArray[np.float32]]


class Reranking:
    """Looks up what is boosted and pinned; names that nobody has shown yet ask for nothing."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        tokens: dict[bytes, float] = {}
        items: dict[bytes, float] = {}
        for name, boost in knobs.boosts.items():
            kind, _, rest = name.partition(":")
            if kind == "item":
                items[rest.encode()] = boost
            else:
                tokens[_token(kind, rest)] = boost
        self._tokens, self._items = _packed(tokens), _packed(items)
        self._pinned = pack([item.encode() for item in knobs.pins.values()])
        self._places = np.array(list(knobs.pins), np.int64) - 1
        self._neutral = not (knobs.boosts or knobs.pins or knobs.diversity or knobs.explore)
        self._known: tuple[Ids, int, Ids, int] | None = None
        self._asked = NEUTRAL

    def asked(self, models: Models) -> Rerank:
        """Say it in numbers, looked up anew only where the models have met another token or item."""
        tokens, items = models.catalog.tokens, models.items
        known = tokens, len(tokens), items, len(items)
        if not self._neutral and known != self._known:
            self._known, self._asked = known, self._looked_up(tokens, items)
        return self._asked

    def _looked_up(self, tokens: Ids, items: Ids) -> Rerank:
        pins = np.full(int(self._places.max(initial=-1)) + 1, -1, np.int32)
        pins[self._places] = items.find(self._pinned)
        boosts = *_known(tokens, *self._tokens), *_known(items, *self._items)
        initials = tokens.blob[np.append(0, tokens.ends)[: len(tokens)]]
        return Rerank(*boosts, pins, self._knobs.diversity, self._knobs.explore, initials)


def _token(kind: str, name: str) -> bytes:
    """Write a name as the catalogue does, whatever its case and spaces; of a category the whole path."""
    if kind == "tag":
        return tokenize(tags=[name])[-1]
    return tokenize(brand=name)[-1] if kind == "brand" else tokenize(category=name)[-1]


def _packed(boosts: Mapping[bytes, float]) -> tuple[Packed, NDArray[np.float32]]:
    return pack(list(boosts)), np.array(list(boosts.values()), np.float32)


def _known(ids: Ids, names: Packed, boosts: NDArray[np.float32]) -> Amounts:
    """Give the numbers of the known names, ascending, with their boosts."""
    numbers = ids.find(names)
    order = np.argsort(numbers)
    order = order[numbers[order] >= 0]
    return numbers[order], boosts[order]
