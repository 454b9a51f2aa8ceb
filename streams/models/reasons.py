"""The reasons of a recommendation: which sources speak for it, how much, and because of which of the user's items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.content import resemblance
from streams.models.hidden import effect
from streams.models.paths import trace
from streams.models.pool import FIRST_PART
from streams.models.sources import CONTENT, COVISIT, NEIGHBORS, NEXT, PATH, PLACE, POPULAR, REPEAT, SINCE, SOURCES, VISITS

__all__ = ["BECAUSE", "REASONS", "Evidence", "because", "new_evidence", "share_out", "trace_back"]

REASONS = 3
SOURCE_COUNT = len(SOURCES)
BECAUSE = 2
LEAST_SHARE = 0.0001  # with less a reader would see a share of 0


class Evidence(NamedTuple):
    """Scratch: what the user's recent items contributed to the recommended ones.

    ``ranks`` int32[I]: place of an item in the list, -1 outside; ``traced`` float64[size, 2, q]: to `neighbors` and `path`;
    ``parts`` float64[q]: to the reason at hand.
    """

    ranks: NDArray[np.int32]
    traced: NDArray[np.float64]
    parts: NDArray[np.float64]


def new_evidence(items: int, size: int, query_items: int) -> Evidence:
    """Make scratch for lists of this size."""
    return Evidence(np.full(items, -1, np.int32), np.zeros((size, 2, query_items)), np.zeros(query_items))


@inlined
def _part(net: Any, weights: Any, features: Any, layer: Any, source: int) -> float:
    """Give what a source adds to a candidate's score; what the item is to the user belongs to `repeat`, to all to `popular`."""
    if features[source] <= 0.0:
        return 0.0
    part: float = effect(net, weights, layer, source) * features[source]
    part += effect(net, weights, layer, SOURCE_COUNT + source) * features[SOURCE_COUNT + source]
    if source == REPEAT:
        for trait in range(PLACE, SINCE + 1):
            part += effect(net, weights, layer, trait) * features[trait]
    if source == POPULAR:
        part += effect(net, weights, layer, VISITS) * features[VISITS]
    return part


@lean
def share_out(net: Any, weights: Any, features: Any, layer: Any, source: Any, share: Any) -> None:
    """Name the strongest sources of one recommendation, int8[3] and float32[3]: their parts of what speaks for it.

    The net is linear as far as the hidden units that this candidate wakes, so parts are exact and sum to the score but for what
    depends on the user alone. Ties go to the source named first; what speaks against an item is no reason, nor is what speaks
    for it by less than LEAST_SHARE. Where nothing speaks for it, the source that has it highest is.
    """
    total, highest, top = 0.0, np.float32(0.0), -1
    for s in range(SOURCE_COUNT):
        if features[s] > highest:
            highest, top = features[s], s
        part = _part(net, weights, features, layer, s)
        total += max(part, 0.0)
        if part <= share[-1]:
            continue
        at = share.shape[0] - 1
        while at > 0 and part > share[at - 1]:
            source[at], share[at] = source[at - 1], share[at - 1]
            at -= 1
        source[at], share[at] = s, part
    for at in range(share.shape[0]):
        share[at] = share[at] / total if total > 0.0 else 0.0
        if share[at] < LEAST_SHARE:
            source[at], share[at] = -1, 0.0
    if total <= 0.0:
        source[0], share[0] = top, 1.0


@lean
def trace_back(rings: Any, crowd: Any, now: float, decays: Any, items: Any, evidence: Any) -> None:
    """Walk the neighbors' paths once more, for the recommended items only."""
    evidence.traced[:] = 0.0
    for rank in range(items.shape[0]):
        evidence.ranks[items[rank]] = rank
    trace(rings, crowd, now, decays, evidence.ranks, evidence.traced)
    for rank in range(items.shape[0]):
        evidence.ranks[items[rank]] = -1


@lean
def because(source: int, rank: int, item: int, row: int, recent: Any, pool: Any, shelves: Any, evidence: Any, found: Any) -> None:
    """Name the recent items, int32[2], that contributed most to a source; of equals the newer one.

    `repeat` names the item itself; popular, trending, segment and new come from nobody's history.
    """
    if source == REPEAT:
        found[0] = item
        return
    asked = (pool.rows.shape[1] - FIRST_PART) // 2
    for q in range(recent.size[0]):
        part = 0.0
        if source in (NEIGHBORS, PATH):
            part = evidence.traced[rank, source, q]
        elif source in (COVISIT, NEXT) and q < asked:
            part = pool.rows[row, FIRST_PART + asked + q]
            if source == COVISIT:
                part += pool.rows[row, FIRST_PART + q]
        elif source == CONTENT:
            part = resemblance(shelves, item, recent.items[q])
        evidence.parts[q] = part
    for place in range(found.shape[0]):
        best, at = 0.0, -1
        for q in range(recent.size[0]):
            if evidence.parts[q] > best:
                best, at = evidence.parts[q], q
        if at >= 0:
            found[place] = recent.items[at]
            evidence.parts[at] = 0.0
