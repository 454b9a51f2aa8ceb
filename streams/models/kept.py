"""Kept: the candidates that users were last recommended from, so that the blend learns without a second scoring."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Array, ArrayLike, Float16, Float32, Int32, Int64, UInt8, UInt16, column, kernel
from streams.models.slots import Slots

__all__ = ["Kept"]

# Bits of float32: of infinity, of the least that no float16 reaches, and of the least normal float16.
INFINITE, TOO_LARGE, SUBNORMAL = 0x7F800000, 0x47800000, 0x38800000


@kernel
def _half(value: np.float32) -> int:
    """Round to the nearest float16, ties to even, as its bits: compiled code knows no float16 on CPUs (Giesen 2012)."""
    bits = np.int64(np.float32(value).view(np.uint32))
    sign, size = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    if size >= TOO_LARGE:
        return int(sign | (0x7C00 if size <= INFINITE else 0x7E00))
    if size < SUBNORMAL:
        # Adding a half lines the bits up, and rounds them as the processor does.
        return int(sign | (np.int64(np.float32(abs(value) + np.float32(0.5)).view(np.uint32)) - (126 << 23)))
    return int(sign | ((size - (112 << 23) + 0xFFF + ((size >> 13) & 1)) >> 13))


@kernel
def _keep(slots: Int32, starts: Int64, items: Int32, features: Float32, kept_items: Int32, kept_features: UInt16) -> None:
    """Copy each user's first candidates."""
    for n in range(slots.size):
        slot, start, end = slots[n], starts[n], starts[n + 1]
        for place in range(kept_items.shape[1]):
            kept = start + place < end
            kept_items[slot, place] = items[start + place] if kept else -1
            for feature in range(features.shape[1]):
                kept_features[slot, place, feature] = _half(features[start + place, feature]) if kept else 0


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
    features : int
        Features of a candidate.

    Attributes
    ----------
    items : int32[S, keep]
        Model indexes in blend order; -1 pads.
    features : float16[S, keep, features]
        Their features; 0 pads.

    Examples
    --------
    >>> kept = Kept(slots=4, keep=2, features=1)
    >>> kept.keep([1], [0, 2], [7, 8], [[1.0], [0.5]])
    >>> kept.hold([1, 1, 0], [8, 9, 8])
    array([ True, False, False])
    """

    items: Int32
    features: Float16

    def __init__(self, *, slots: int, keep: int = 128, features: int = 20) -> None:
        super().__init__(slots, items=((keep,), np.int32, -1), features=((keep, features), np.float16, 0))

    def keep(self, slots: ArrayLike, starts: ArrayLike, items: ArrayLike, features: ArrayLike) -> None:
        """Keep what users were just recommended from, best first; what is too much is cut.

        Parameters
        ----------
        slots : int32[n]
            Who; each at most once.
        starts : int64[n + 1]
            User i owns ``starts[i]:starts[i + 1]`` of the next two.
        items : int32[c]
            Model indexes.
        features : float32[c, F]
            Their features.

        Raises
        ------
        IndexError
            If a slot is out of range.
        ValueError
            If the lengths do not fit together.
        """
        slots, starts = self.checked(slots), column(starts, np.int64)
        items, features = column(items, np.int32), column(features, np.float32)
        if len(starts) != len(slots) + 1 or not starts[-1] <= len(items) == len(features):
            raise ValueError(f"{len(starts)} starts up to {starts[-1:]} for {len(slots)} users, {len(items)} candidates")
        _keep(slots, starts, items, features, self.items, self.features.view(np.uint16))

    def hold(self, slots: ArrayLike, targets: ArrayLike) -> Array:
        """Tell whose item (model index, int32[n]) is among the candidates kept for the user of the slot: bool[n]."""
        checked = self.checked(slots)
        found = np.zeros(len(checked), np.uint8)
        _hold(checked, column(targets, np.int32), self.items, found)
        return found.view(np.bool_)
