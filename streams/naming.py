"""Names of segments for people: what sets each apart, in words that stay while little changes and that no two share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.traits import evidence

__all__ = ["BETWEEN", "Facet", "Trait", "name_all"]

BETWEEN = " · "

# What a trait must show before it is a word: a difference that people would notice, that chance makes once in ten
# thousand times (the G-test), and that tells something. A word in the name stays at half of that.
_LEAST_LIFT = 0.1
_LEAST_G = 15.0
_LEAST_BITS = 0.002
_STAYS = 0.5
# Nothing sets the mainstream far apart: where no word holds, a fourth of the difference and the telling will do.
_PLAIN = 0.25
# A category says more than the one above it when the segment likes it so much more.
_SHARPER = 0.2
# A word in the name gives way only to one that tells half as much again.
_LOYALTY = 1.5
# A word that another segment has by then.
_USED = 0.5
_MOST_WORDS = 3


class Trait(NamedTuple):
    """A kind of visits: the word for it, and for a category its steps from the root."""

    word: str
    path: tuple[str, ...] = ()


class Facet(NamedTuple):
    """Traits of one sort, of which a name takes at most ``most``.

    ``mass`` float64[segments, traits]: visits that have the trait; ``total`` float64[segments]: visits that may have it.
    """

    traits: Sequence[Trait]
    most: int
    mass: NDArray[np.float64]
    total: NDArray[np.float64]


class _Word(NamedTuple):
    """A word that a segment may be named by; names go by facets in their order."""

    facet: int
    trait: Trait
    told: float
    lift: float
    ease: float


def name_all(segments: Sequence[int], facets: Sequence[Facet], before: Mapping[int, str]) -> dict[int, str]:
    """Name every segment; row i of the facets is of ``segments[i]``, ``before`` are the names they had.

    A word that a lower id has taken counts half, so that names differ in what they can; where two would still be alike,
    the higher id adds one more word, or itself.
    """
    measures = [evidence(facet.mass, facet.total) for facet in facets]
    names: dict[int, str] = {}
    used: set[str] = set()
    taken = {frozenset[str]()}
    for row, segment in enumerate(segments):
        old = before.get(segment, "").split(BETWEEN)
        rows = [[one[row] for one in of_facet] for of_facet in measures]
        told = _words(facets, rows, old, 1.0) or _words(facets, rows, old, _PLAIN)
        words = sorted(told, key=lambda word: (-word.told * (_USED if word.trait.word in used else 1.0), word))
        few, more = (_chosen(facets, words, most, old) for most in (_MOST_WORDS, _MOST_WORDS + 1))
        name = next((name for name in (few, more) if frozenset(name) not in taken), [*few, f"segment {segment}"])
        taken.add(frozenset(name))
        used |= {*name}
        names[segment] = BETWEEN.join(name)
    return names


def _words(
    facets: Sequence[Facet], rows: Sequence[Sequence[NDArray[np.float64]]], old: Sequence[str], ease: float
) -> list[_Word]:
    return [word for place, row in enumerate(rows) for word in _telling(place, facets[place], row, old, ease)]


def _telling(place: int, facet: Facet, row: Sequence[NDArray[np.float64]], old: Sequence[str], plain: float) -> Iterator[_Word]:
    """Yield what sets a segment apart."""
    bits, lift, g = row
    for one in np.flatnonzero(bits >= plain * _STAYS * _LEAST_BITS).tolist():
        stays = facet.traits[one].word in old
        ease = plain * _STAYS if stays else plain
        sure = g[one] >= (_STAYS if stays else 1.0) * _LEAST_G
        if sure and bits[one] >= ease * _LEAST_BITS and lift[one] >= 1 + ease * _LEAST_LIFT:
            told = float(bits[one]) * float(np.log2(lift[one])) * (_LOYALTY if stays else 1.0)
            yield _Word(place, facet.traits[one], told, float(lift[one]), ease)


def _chosen(facets: Sequence[Facet], words: Iterable[_Word], most: int, old: Sequence[str]) -> list[str]:
    """Take the first words, of each facet no more than it allows, and none that repeats another; old ones in their order."""
    chosen: list[_Word] = []
    for word in words:
        taken = sum(one.facet == word.facet for one in chosen)
        if len(chosen) < most and taken < facets[word.facet].most and not any(_repeats(word, one) for one in chosen):
            chosen.append(word)
    places = {text: place for place, text in enumerate(old)}
    chosen.sort(key=lambda word: (word.facet, places.get(word.trait.word, len(old))))
    return [word.trait.word for word in chosen]


def _repeats(word: _Word, chosen: _Word) -> bool:
    """Tell whether a word only repeats a more telling one: they share a part, or one is of a category above the other."""
    if not _parts(word).isdisjoint(_parts(chosen)):
        return True
    path, above = word.trait.path, chosen.trait.path
    if not path or not above:
        return False
    if path[: len(above)] == above:
        return word.lift < chosen.lift * (1 + word.ease * _SHARPER)
    return above[: len(path)] == path


def _parts(word: _Word) -> set[str]:
    return {part for part in word.trait.word.split() if any(map(str.isalnum, part))}
