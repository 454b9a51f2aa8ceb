"""What the learned log says of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.models.ids import Packed

__all__ = ["CatalogChange"]


@dataclass(slots=True)
class CatalogChange:
    """n entries: ``offsets`` int64[n] in the items topic fence them, ``gone`` uint8[n] marks deletions.

    Of the e entries that are no deletions, entry i has the tokens ``token_starts[i]:token_starts[i + 1]`` (int64[e + 1]);
    ``available`` is uint8[n].
    """

    item_ids: Packed
    offsets: NDArray[np.int64]
    gone: NDArray[np.uint8]
    available: NDArray[np.uint8]
    token_starts: NDArray[np.int64]
    tokens: Packed
