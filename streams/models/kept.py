"""Kept: the candidates that users were last recommended from, so that the blend learns without a second scoring."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Array, ArrayLike, Float32, Int32, Int64, UInt8, column, kernel
from streams.models.hidden import CONTEXT
from streams.models.rerank import GIVEN, PLACES
from streams.models.slots import Slots
from streams.models.sources import FEATURES

__all__ = ["Kept"]

# Features are kept in steps of 1/255: learning from them so is as good as from float32.
STEPS = 255.0


@kernel
def _keep(
    slots: Int32,
    starts: Int64,
    items: Int32,
    features: Float32,
    contexts: Float32,
    shown: UInt8,
    kept_items: Int32,
    kept_features: UInt8,
    kept_contexts: Float32,
    kept_shown: UInt8,
) -> None:
    """Copy each user's first candidates and context."""
    for n in range(slots.size):
        slot, start, end = slots[n], starts[n], starts[n + 1]
        for number in range(contexts.shape[1]):
            kept_contexts[slot, number] = contexts[n, number]
        for place in range(kept_items.shape[1]):
            kept = start + place < end
            kept_items[slot, place] = items[start + place] if kept else -1
            kept_shown[slot, place] = shown[start + place] if kept else 0
            for feature in range(features.shape[1]):
                kept_features[slot, place, feature] = features[start + place, feature] * STEPS + 0.5 if kept else 0


@kernel
def _hold(slots: Int32, targets: Int32, kept_items: Int32, found: UInt8) -> None:
    """Mark whose target is among the candidates kept."""
    for n in range(slots.size):
        for place in range(kept_items.shape[1]):
            item = kept_items[slots[n], place]
            if item < 0:
                break
            if item == targets[n]:
                found[n] = 1
                break


class Kept(Slots):
    """The candidates of each user's last list, best first. A cache, not a model.

    Parameters
    ----------
    slots : int
        The most users held.
    keep : int
        Candidates kept per user.
    features, context : int
        Features of a candidate; numbers that tell of user and moment.

    Attributes
    ----------
    items : int32[S, keep]
        Items in blend order, by the numbers of :meth:`streams.models.models.Models.numbers`; -1 pads.
    features : uint8[S, keep, features]
        Their features in steps of 1/255; 0 pads.
    contexts : float32[S, context]
        What was known of user and moment.
    shown : uint8[S, keep]
        Where the list had them, as :class:`streams.models.query.Ranked` says it.

    Examples
    --------
    >>> kept = Kept(slots=4, keep=2, features=1, context=1)
    >>> kept.keep([1], [0, 2], [7, 8], [[1.0], [0.5]], [[3.0]])
    >>> kept.hold([1, 1, 0], [8, 9, 8])
    array([ True, False, False])
    >>> kept.keep([1], [0, 2], [7, 8], [[1.0], [0.5]], [[3.0]], shown=[0, 129])
    >>> kept.place([1, 1], [7, 8])
    (array([0, 1], dtype=uint8), array([False,  True]))
    """

    items: Int32
    features: UInt8
    contexts: Float32
    shown: UInt8

    def __init__(self, *, slots: int, keep: int = 128, features: int = FEATURES, context: int = CONTEXT) -> None:
        rows = {
            "items": ((keep,), np.int32, -1),
            "features": ((keep, features), np.uint8, 0),
            "contexts": ((context,), np.float32, 0),
            "shown": ((keep,), np.uint8, 0),
        }
        super().__init__(slots, **rows)

    def keep(
        self,
        slots: ArrayLike,
        starts: ArrayLike,
        items: ArrayLike,
        features: ArrayLike,
        contexts: ArrayLike,
        shown: ArrayLike | None = None,
    ) -> None:
        """Keep what users were just recommended from, best first; what is too much is cut.

        Parameters
        ----------
        slots : int32[n]
            Who; each at most once.
        starts : int64[n + 1]
            User i owns ``starts[i]:starts[i + 1]`` of the next two.
        items : int32[c]
            What items are known by for good.
        features : float32[c, F]
            Their features, from 0 to 1.
        contexts : float32[n, C]
            What was known of user and moment.
        shown : uint8[c], optional
            Where the list had them; nowhere by default.

        Raises
        ------
        IndexError
            If a slot is out of range.
        ValueError
            If the lengths do not fit together.
        """
        slots, starts, contexts = self.checked(slots), column(starts, np.int64), column(contexts, np.float32)
        items, features = column(items, np.int32), column(features, np.float32)
        places = np.full(len(items), 0, np.uint8) if shown is None else column(shown, np.uint8)
        if not len(starts) - 1 == len(slots) == len(contexts) or not starts[-1] <= len(items) == len(features) == len(places):
            raise ValueError(f"{len(starts)} starts up to {starts[-1:]} for {len(slots)} users, {len(items)} candidates")
        _keep(slots, starts, items, features, contexts, places, self.items, self.features, self.contexts, self.shown)

    def read(self, slots: ArrayLike) -> Float32:
        """Give the features of the candidates kept for the users of n slots: float32[n, keep, F]."""
        return self.features[self.checked(slots)] * np.float32(1.0 / STEPS)

    def hold(self, slots: ArrayLike, targets: ArrayLike) -> Array:
        """Tell whose item (int32[n]) is among the candidates kept for the user of the slot: bool[n]."""
        checked = self.checked(slots)
        found = np.zeros(len(checked), np.uint8)
        _hold(checked, column(targets, np.int32), self.items, found)
        return found.view(np.bool_)

    def place(self, slots: ArrayLike, targets: ArrayLike) -> tuple[UInt8, Array]:
        """Tell where each slot's list had the item, uint8[n] from 1 (0: nowhere), and if that place was given away, bool[n]."""
        checked = self.checked(slots)
        shown = np.where(self.items[checked] == column(targets, np.int32)[:, None], self.shown[checked], 0).max(axis=1)
        return shown & PLACES, shown >= GIVEN
