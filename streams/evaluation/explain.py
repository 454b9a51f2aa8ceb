"""Explaining: what each source said before each counted event of one user, and what the blend made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streams.evaluation.outcome import Figures
from streams.evaluation.run import Evaluation
from streams.models.query import Ranked
from streams.models.sources import SOURCES
from streams.schemas import Event

__all__ = ["TOP", "Explanation"]

# How many of each list are shown.
TOP = 3


@dataclass(slots=True)
class Explanation:
    """A witness of one user's events; ``events`` has one entry for each that was counted."""

    user_id: str
    events: list[Figures] = field(default_factory=list)

    def __call__(self, row: int, event: Event, ranked: Ranked, evaluation: Evaluation) -> None:
        """Write down what was ranked, if it was for this user."""
        if event.user_id == self.user_id:
            ranks = [rank or None for rank in evaluation.outcome.ranks[row].tolist()]
            told = {name: {"rank": ranks[place], "top": _top(place, ranked, evaluation)} for place, name in enumerate(SOURCES)}
            heard = evaluation.settings.models.heard()
            self.events.append(
                {
                    "event": evaluation.done,
                    "at": event.time,
                    "type": event.type,
                    "item_id": event.item_id,
                    "blend": {"rank": ranks[-1], "top": _blended(ranked, evaluation)},
                    "sources": {name: told[name] for name in heard},
                }
            )

    def told(self) -> Figures:
        """Give all that was written down."""
        return {"user_id": self.user_id, "events": self.events}


def _top(source: int, ranked: Ranked, evaluation: Evaluation) -> list[str]:
    """Give the first items of a source: the candidates whose feature 1 / rank is highest."""
    shares = ranked.features[:, len(SOURCES) + source]
    first = np.argsort(-shares, kind="stable")[:TOP]
    return _names([int(ranked.candidates[row]) for row in first if shares[row] > 0], evaluation)


def _blended(ranked: Ranked, evaluation: Evaluation) -> list[Figures]:
    items = [item for item in ranked.items[0, :TOP].tolist() if item >= 0]
    return [
        {"item_id": name, "score": round(float(ranked.scores[0, rank]), 4), "reasons": _reasons(rank, ranked, evaluation)}
        for rank, name in enumerate(_names(items, evaluation))
    ]


def _reasons(rank: int, ranked: Ranked, evaluation: Evaluation) -> list[Figures]:
    rows = zip(ranked.source[0, rank].tolist(), ranked.share[0, rank].tolist(), ranked.because[0, rank].tolist(), strict=True)
    return [
        {
            "source": SOURCES[source],
            "share": round(share, 4),
            "because": _names([item for item in because if item >= 0], evaluation),
        }
        for source, share, because in rows
        if source >= 0
    ]


def _names(items: list[int], evaluation: Evaluation) -> list[str]:
    return [name.decode() for name in evaluation.models.items.names(items)]
