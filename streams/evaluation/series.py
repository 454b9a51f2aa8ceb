"""The series behind the plots: hit rate and coverage along the stream, by length of history, and the blend's weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.evaluation.outcome import LISTED
from streams.evaluation.report import HISTORIES
from streams.evaluation.run import Evaluation
from streams.models.sources import SOURCES

__all__ = ["Series", "series"]

# Stretches of the stream over which hits are averaged; of a short stream fewer, so that each has some events.
_STRETCHES, _FEWEST = 40, 50


@dataclass(frozen=True, slots=True)
class Series:
    """What the plots show; ``names`` are the n lists: the heard sources, the best first, after the blend.

    ``at`` float64[k]: events learned at the middle of each stretch; ``hits`` float64[n, k]: HR@10 in it; ``by_history``
    float64[n, 4] and ``scored`` int64[4] by the lengths in HISTORIES; ``weighed_at`` int64[w] and ``weights`` float64[n - 1, w]:
    each source's share; ``covered`` float64[k]: share of the catalogue recommended up to the end of each stretch.
    """

    names: list[str]
    at: NDArray[np.float64]
    hits: NDArray[np.float64]
    by_history: NDArray[np.float64]
    scored: NDArray[np.int64]
    weighed_at: NDArray[np.int64]
    weights: NDArray[np.float64]
    covered: NDArray[np.float64]


def series(evaluation: Evaluation) -> Series:
    """Gather what the plots show."""
    outcome, held = evaluation.outcome, evaluation.protocol
    ranks = outcome.ranks[: outcome.scored]
    hits = ((ranks > 0) & (ranks <= LISTED)).astype(np.float64)
    rows = [place for place, name in enumerate(SOURCES) if name in evaluation.settings.models.heard()]
    rows.sort(key=lambda place: -hits[:, place].sum())
    chosen = hits[:, [len(SOURCES), *rows]].T
    known = held.history[held.places]
    groups = [(known >= least) & (known <= most) for least, most in HISTORIES.values()]
    ends = _ends(outcome.scored)
    begins = np.r_[0, ends[:-1]]
    names = [SOURCES[place] for place in rows]
    return Series(
        ["blend", *names],
        at=np.array([held.places[begin:end].mean() for begin, end in zip(begins, ends, strict=True)]),
        hits=np.array([chosen[:, begin:end].mean(axis=1) for begin, end in zip(begins, ends, strict=True)]).T,
        by_history=np.array([chosen[:, group].mean(axis=1) if group.any() else chosen[:, 0] * np.nan for group in groups]).T,
        scored=np.array([np.count_nonzero(group) for group in groups]),
        weighed_at=np.array([at for at, _ in outcome.weights]),
        weights=np.array([[weights[name] for _, weights in outcome.weights] for name in names]),
        covered=_covered(outcome.lists[: outcome.scored], ends) / max(1, len(evaluation.items)),
    )


def _ends(count: int) -> NDArray[np.int64]:
    stretches = max(1, min(_STRETCHES, count // _FEWEST))
    return np.arange(1, stretches + 1) * count // stretches


def _covered(lists: NDArray[np.int32], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """Count the distinct items in the lists up to each end."""
    items, first = np.unique(lists.ravel(), return_index=True)
    return np.searchsorted(np.sort(first[items >= 0]) // lists.shape[1], ends, side="left").astype(np.float64)
