"""The outcome: where the item of each counted event stood, and the measures of ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.models.sources import SOURCES

__all__ = ["DEPTH", "LISTED", "MEASURES", "Figures", "Outcome", "gains", "measured", "percentiles"]

# Ranks that are counted; a target below is a miss by every measure.
DEPTH = 20
# Items of a list whose variety is told.
LISTED = 10

Figures = dict[str, Any]

MEASURES = ("hr@10", "hr@20", "mrr@20", "ndcg@10")


@dataclass(slots=True)
class Outcome:
    """What a pass showed of n events, c of them counted, of which the first ``scored`` so far; rows in time order.

    ``ranks`` uint8[c, S + 1], last the blend's, from 1, 0 not within DEPTH; ``lists`` int32[c, 10] the items recommended, as
    ``Evaluation.items`` numbers them, -1 pads; ``recommend_us`` float32[c]; ``learn_us`` float32[n]; ``weights``: the blend's,
    after so many events; ``diversity`` of some lists.
    """

    ranks: NDArray[np.uint8]
    lists: NDArray[np.int32]
    recommend_us: NDArray[np.float32]
    learn_us: NDArray[np.float32]
    scored: int = 0
    weights: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    diversity: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, events: int, counted: int) -> Outcome:
        """Make room."""
        us = np.zeros(counted, np.float32), np.zeros(events, np.float32)
        return cls(np.zeros((counted, len(SOURCES) + 1), np.uint8), np.full((counted, LISTED), -1, np.int32), *us)

    @property
    def blend(self) -> NDArray[np.uint8]:
        """Ranks of the blend: uint8[scored]."""
        return self.ranks[: self.scored, -1]

    def hit_rate(self) -> float:
        """Tell the blend's HR@10 so far."""
        return float(np.count_nonzero((self.blend > 0) & (self.blend <= LISTED)) / max(1, self.scored))


def gains() -> NDArray[np.float64]:
    """Give what each rank is worth by each measure, float64[DEPTH + 1, 4]; NDCG has one relevant item, so its ideal is 1."""
    found = np.zeros((DEPTH + 1, len(MEASURES)))
    for rank in range(1, DEPTH + 1):
        found[rank] = (rank <= LISTED, 1.0, 1.0 / rank, 1.0 / math.log2(rank + 1) if rank <= LISTED else 0.0)
    return found


def measured(ranks: NDArray[np.uint8]) -> Figures:
    """Give the means over these ranks, rounded as they are printed: sums by rank, so that they are the same on every machine."""
    found, worth = np.bincount(ranks, minlength=DEPTH + 1).tolist(), gains().tolist()
    n = max(1, len(ranks))
    return {
        name: round(sum(found[rank] * worth[rank][place] for rank in range(DEPTH + 1)) / n, 6)
        for place, name in enumerate(MEASURES)
    }


def percentiles(microseconds: NDArray[np.float32]) -> dict[str, float]:
    """Give the median and the 99th percentile."""
    p50, p99 = np.percentile(microseconds, [50, 99]).tolist() if len(microseconds) else (0.0, 0.0)
    return {"p50": round(p50, 1), "p99": round(p99, 1)}
