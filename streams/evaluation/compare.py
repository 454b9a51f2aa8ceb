"""Comparing two runs over the same events: differences with intervals by the bootstrap over users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.evaluation.outcome import MEASURES, Figures, gains, measured
from streams.evaluation.report import unpacked
from streams.evaluation.run import Evaluation

__all__ = ["RESAMPLES", "Incomparable", "compared", "earlier_ranks"]

RESAMPLES = 1000
# The interval holds so much of the resampled differences.
_INNER = 95.0
_OTHERS = {"fingerprint": "other events", "warmup": "another --warmup", "exclude": "another --exclude"}


class Incomparable(Exception):
    """Two runs cannot be compared: one sentence with the fix."""


def earlier_ranks(run: object, evaluation: Evaluation, name: str) -> NDArray[np.uint8]:
    """Take the blend's ranks out of an earlier run's report, which must have counted the same events."""
    held = run.get("protocol") if isinstance(run, dict) else None
    text = run.get("ranks") if isinstance(run, dict) else None
    if not isinstance(held, dict) or not isinstance(text, str):
        raise Incomparable(f"{name} is no run: make one with upwell evaluate EVENTS --json > {name}")
    now = evaluation.identity()
    for key, said in _OTHERS.items():
        if held.get(key) != now[key]:
            raise Incomparable(f"{name} was made with {said} ({held.get(key)}, now {now[key]}); make both runs with the same")
    try:
        ranks = unpacked(text)
    except ValueError:
        ranks = np.full(1, len(gains()), np.uint8)
    if ranks.max(initial=0) >= len(gains()) or len(ranks) != len(evaluation.protocol.places):
        raise Incomparable(
            f"{name} is damaged, its ranks are not those of {len(evaluation.protocol.places)} events; make it again"
        )
    return ranks


def compared(before: NDArray[np.uint8], now: NDArray[np.uint8], users: NDArray[np.int32], seed: int = 0) -> Figures:
    """Tell by how much each measure changed, with a 95 % interval: users (int32[c]) are drawn again and again, with all they did.

    Events of one user resemble each other, so it is users that are drawn, not events.
    """
    _, places = np.unique(users, return_inverse=True)
    count = np.bincount(places).astype(np.float64)
    worth = gains()
    change = worth[now] - worth[before]
    sums = np.array([np.bincount(places, column, len(count)) for column in change.T]).reshape(len(MEASURES), -1)
    drawn = _drawn(sums, count, seed) if len(count) else np.zeros((RESAMPLES, len(MEASURES)))
    low, high = np.percentile(drawn, [(100 - _INNER) / 2, (100 + _INNER) / 2], axis=0).tolist()
    old, new = measured(before), measured(now)
    return {
        name: {
            "before": old[name],
            "now": new[name],
            "difference": round(new[name] - old[name], 6),
            "low": round(low[place], 6),
            "high": round(high[place], 6),
        }
        for place, name in enumerate(MEASURES)
    }


def _drawn(sums: NDArray[np.float64], count: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Give the differences of the means in resamples of the users: float64[RESAMPLES, 4]."""
    rng, users = np.random.default_rng(seed), len(count)
    found = np.empty((RESAMPLES, len(sums)))
    for row in range(RESAMPLES):
        times = np.bincount(rng.integers(0, users, users), minlength=users)
        found[row] = (sums * times).sum(axis=1) / (count * times).sum()
    return found
