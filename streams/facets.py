"""What segments are told apart by: labels of the catalogue, prices, part of the day and of the week, types of events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.models.habits import HOURS
from streams.models.ids import Ids
from streams.models.models import Models
from streams.models.traits import NO_BAND, price_mass, token_mass
from streams.naming import Facet, Trait

__all__ = ["Facets"]

# Hour 0 of the counts is Thursday's first, for so began 1970.
_HOUR_OF_DAY = np.arange(HOURS) % 24
_WEEKEND = np.isin(np.arange(HOURS) // 24, [2, 3])
_PARTS_OF_WEEK = {"weekdays": ~_WEEKEND, "weekend": _WEEKEND}
_PARTS_OF_DAY = {
    "night": (_HOUR_OF_DAY < 6) | (_HOUR_OF_DAY >= 22),
    "morning": (_HOUR_OF_DAY >= 6) & (_HOUR_OF_DAY < 11),
    "midday": (_HOUR_OF_DAY >= 11) & (_HOUR_OF_DAY < 14),
    "afternoon": (_HOUR_OF_DAY >= 14) & (_HOUR_OF_DAY < 18),
    "evening": (_HOUR_OF_DAY >= 18) & (_HOUR_OF_DAY < 22),
}
_PRICES = ("low price", "", "high price")
_TYPES = {
    "view": "browsers",
    "click": "browsers",
    "cart": "cart fillers",
    "purchase": "buyers",
    "favorite": "collectors",
    "rating": "raters",
}


class Facets:
    """Counts the traits of segments; it remembers what the tokens mean, for there are many and they seldom change."""

    def __init__(self, utc_offset_hours: float) -> None:
        self._offset = utc_offset_hours
        self._read: Ids | None = None
        self._traits: list[Trait | None] = []
        self._bands = np.zeros(0, np.int64)
        self._categories = np.zeros(0, np.bool_)

    def of(self, models: Models, segments: Sequence[int]) -> list[Facet]:
        """Count for these segments, one row each; in the order in which a name says it."""
        labels, prices = self._catalogue(models, segments)
        return [labels, *self._hours(models, segments), prices, self._types(models, segments)]

    def _catalogue(self, models: Models, segments: Sequence[int]) -> tuple[Facet, Facet]:
        self._learn(models)
        items = len(models.items)
        tokens = models.catalog.item_tokens[:items]
        counts = models.popularity.counts(segments, items)
        mass = np.zeros((len(segments), len(self._traits)))
        token_mass(counts, tokens, mass)
        named = np.array([trait is not None for trait in self._traits], np.bool_)
        known = counts @ (tokens >= 0).any(axis=1).astype(np.float64)
        labels = [trait for trait in self._traits if trait]
        return Facet(labels, 2, mass[:, named], known), self._prices(counts, tokens)

    def _prices(self, counts: NDArray[np.float32], tokens: NDArray[np.int32]) -> Facet:
        """Whether a visit's item costs more than is usual in its category, or less."""
        bands = np.append(self._bands, NO_BAND)[tokens].max(axis=1, initial=NO_BAND)
        # A category's number is above those of the categories that it is in: they came with it, or before.
        categories = np.where(np.append(self._categories, False)[tokens], tokens, -1).max(axis=1, initial=-1)
        mass = price_mass(counts, bands, categories)
        sides = [Trait(word) for word in _PRICES if word]
        return Facet(sides, 1, mass[:, [0, 2]], mass.sum(axis=1))

    def _learn(self, models: Models) -> None:
        """Read the tokens that are new; all of them where some are gone, for the others are numbered anew."""
        tokens = models.catalog.tokens
        if tokens is not self._read:
            self._read, self._traits = tokens, []
            self._bands, self._categories = self._bands[:0], self._categories[:0]
        fresh = tokens.names(range(len(self._traits), len(tokens)))
        self._traits += [_trait(token) for token in fresh]
        self._bands = np.concatenate([self._bands, [_band(token) for token in fresh]]).astype(np.int64)
        self._categories = np.concatenate([self._categories, [token.startswith(b"category:") for token in fresh]]).astype(
            np.bool_
        )

    def _hours(self, models: Models, segments: Sequence[int]) -> list[Facet]:
        local = _local(models.habits.hours[segments], self._offset)
        return [_parts(local, _PARTS_OF_DAY), _parts(local, _PARTS_OF_WEEK)]

    def _types(self, models: Models, segments: Sequence[int]) -> Facet:
        habits = models.habits
        counts = habits.kinds[segments]
        words = [_type_word(name) for name in habits.names.names(range(len(habits.names)))]
        traits = list(dict.fromkeys(words))
        mass = np.zeros((len(segments), len(traits)))
        for column, word in enumerate(words):
            mass[:, traits.index(word)] += counts[:, column]
        return Facet([Trait(word) for word in traits], 1, mass, counts.sum(axis=1))


def _local(hours: NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    """Turn counts by hour of UTC into counts by local hour; an hour that is cut counts in both by its parts."""
    whole = math.floor(offset)
    part = offset - whole
    return (1 - part) * np.roll(hours, whole, axis=1) + part * np.roll(hours, whole + 1, axis=1)


def _parts(hours: NDArray[np.float64], parts: dict[str, NDArray[np.bool_]]) -> Facet:
    mass = np.stack([hours[:, part].sum(axis=1) for part in parts.values()], axis=1)
    return Facet([Trait(word) for word in parts], 1, mass, hours.sum(axis=1))


def _type_word(name: bytes) -> str:
    text = name.decode()
    return _TYPES.get(text, f"{text} events")


def _trait(token: bytes) -> Trait | None:
    """What a token says, for people: the last step of a category, a brand, a tag that is no measure; else None."""
    sort, _, text = token.decode(errors="replace").replace("_", " ").partition(":")
    if sort == "category":
        path = tuple(text.split("/"))
        return Trait(path[-1], path)
    if sort == "brand":
        return Trait(f"{text} brand")
    return Trait(text) if sort == "tag" and not any(letter.isdigit() for letter in text) else None


def _band(token: bytes) -> int:
    return int(token.removeprefix(b"price:")) if token.startswith(b"price:") else NO_BAND
