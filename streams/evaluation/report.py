"""The report: all figures of a pass, in the shape of ``upwell evaluate --json``."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from streams.evaluation.outcome import Figures, measured, percentiles
from streams.evaluation.run import Evaluation
from streams.models.ids import pack
from streams.models.sources import SOURCES

__all__ = ["HISTORIES", "LATELY", "packed", "report", "unpacked"]

# Lengths of history that are told apart: from, to.
HISTORIES = {"1": (1, 1), "2-4": (2, 4), "5-19": (5, 19), "20+": (20, 1 << 30)}
# Seconds for which an item counts as first seen lately.
LATELY = 86_400.0


def report(evaluation: Evaluation, seconds: float) -> Figures:
    """Tell what was measured; the first six keys are the contract, the others say more."""
    settings, outcome = evaluation.settings, evaluation.outcome
    ranks = outcome.ranks[: outcome.scored]
    heard = settings.models.heard()
    return {
        "events": evaluation.done,
        "scored": outcome.scored,
        "seconds": round(seconds, 3),
        "recommend_us": percentiles(outcome.recommend_us[: outcome.scored]),
        "blend": measured(outcome.blend),
        "sources": {name: measured(ranks[:, place]) for place, name in enumerate(SOURCES) if name in heard},
        "learn_us": percentiles(outcome.learn_us[evaluation.warmup : evaluation.done]),
        **_groups(evaluation),
        "lists": _lists(evaluation),
        "protocol": evaluation.identity(),
        "settings": {"sources": list(heard), "seed": [settings.models.seed, settings.segments.seed]},
        "ranks": packed(outcome.blend),
    }


def packed(ranks: NDArray[np.uint8]) -> str:
    """Write ranks as text, a byte each before zlib and base64: from these two runs are compared user by user."""
    return base64.b64encode(zlib.compress(ranks.tobytes(), 9)).decode()


def unpacked(text: str) -> NDArray[np.uint8]:
    """Read what :func:`packed` wrote; raises ValueError on anything else."""
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def _groups(evaluation: Evaluation) -> Figures:
    """Tell the blend's measures by what was known of the user and of the item."""
    held, blend = evaluation.protocol, evaluation.outcome.blend
    known = held.history[held.places]
    lengths = {name: _group(blend, (known >= least) & (known <= most)) for name, (least, most) in HISTORIES.items()}
    lately = ~held.unknown & (held.age < LATELY)
    items = {"new_share": _share(held.unknown), "lately": _group(blend, lately), "before": _group(blend, held.age >= LATELY)}
    return {"new_users": _group(blend, held.first), "history": lengths, "items": items}


def _group(ranks: NDArray[np.uint8], chosen: NDArray[np.bool_]) -> Figures:
    return {"scored": int(np.count_nonzero(chosen)), **measured(ranks[chosen])}


def _share(marks: NDArray[np.bool_]) -> float:
    return round(np.count_nonzero(marks) / max(1, len(marks)), 6)


def _lists(evaluation: Evaluation) -> Figures:
    """Tell how varied the lists were: among each other, beside the catalogue, and each in itself."""
    items, outcome, events = evaluation.items, evaluation.outcome, evaluation.events
    known = len(items)
    listed = outcome.lists[: outcome.scored].ravel()
    shown = np.sort(np.bincount(listed[listed >= 0], minlength=known))
    visits = np.zeros(known, np.int64)
    indexes = items.find(pack([item.encode() for item in events.item_ids]))
    happened = np.bincount(events.items, minlength=len(events.item_ids))
    visits[indexes[indexes >= 0]] = happened[indexes >= 0]
    ranks = 1 + known - np.searchsorted(np.sort(visits), visits, side="right")
    unlike = np.array(outcome.diversity)
    return {
        "known_items": known,
        "coverage": round(np.count_nonzero(shown) / max(1, known), 6),
        "gini": _gini(shown),
        "top_percent_share": round(int(shown[known - max(1, known // 100) :].sum()) / max(1, int(shown.sum())), 6),
        "popularity_rank": round(float(ranks[listed[listed >= 0]].mean()), 1) if (listed >= 0).any() else None,
        "diversity": round(float(np.nanmean(unlike)), 6) if len(unlike) and not np.isnan(unlike).all() else None,
    }


def _gini(ascending: NDArray[np.int64]) -> float:
    """Give the Gini coefficient of counts: 0 where all are shown alike, near 1 where one has all."""
    n, total = len(ascending), int(ascending.sum())
    if not total:
        return 0.0
    return round(int(((2 * np.arange(1, n + 1) - n - 1) * ascending).sum()) / (n * total), 6)
