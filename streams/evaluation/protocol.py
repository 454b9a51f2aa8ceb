"""The protocol: which events are counted, settled from the file before anything is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.evaluation.recorded import Recorded

__all__ = ["Protocol", "barred", "earlier", "protocol"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is counted of n events.

    ``history`` int32[n]: how many events the user had before; ``counted`` bool[n]; ``places`` int64[c]: the counted events;
    ``first`` bool[c]: the user's first counted one; ``unknown`` bool[c]: nobody visited the item before; ``age`` float64[c]:
    seconds since the item's first event.
    """

    history: NDArray[np.int32]
    counted: NDArray[np.bool_]
    places: NDArray[np.int64]
    first: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    age: NDArray[np.float64]


def protocol(events: Recorded, warmup: int, excludes: Callable[[str], bool]) -> Protocol:
    """Count, after the first ``warmup`` events, each whose user has a history and whose item may be recommended to the user.

    ``excludes`` tells the types of events after which an item is not recommended to its user any more.
    """
    history = earlier(events.users)
    counted = (history > 0) & ~barred(events, excludes)
    counted[:warmup] = False
    places = np.flatnonzero(counted)
    return Protocol(
        history,
        counted,
        places,
        first=earlier(events.users[places]) == 0,
        unknown=earlier(events.items)[places] == 0,
        age=_ages(events)[places],
    )


def earlier(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Count for each place how often its number stood before."""
    order, starts = _grouped(numbers)
    found = np.empty(len(numbers), np.int32)
    found[order] = np.arange(len(numbers)) - starts
    return found


def barred(events: Recorded, excludes: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Tell for each event whether its user met its item before in a way that excludes the item."""
    kinds = np.array([excludes(kind) for kind in events.kinds], np.int64)
    order, starts = _grouped(events.users.astype(np.int64) * max(1, len(events.item_ids)) + events.items)
    excluding = kinds[events.types[order]]
    before = np.cumsum(excluding) - excluding
    found = np.empty(len(events), np.bool_)
    found[order] = before > before[starts]
    return found


def _ages(events: Recorded) -> NDArray[np.float64]:
    order, starts = _grouped(events.items)
    found = np.empty(len(events))
    found[order] = events.times[order] - events.times[order][starts]
    return found


def _grouped(keys: NDArray[np.int32] | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give an order that brings equal keys together, each group in the order it had; and where each one's group starts."""
    order = np.argsort(keys, kind="stable")
    grouped = keys[order]
    begins = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]][: len(keys)])
    return order, np.repeat(begins, np.diff(np.r_[begins, len(keys)]))
