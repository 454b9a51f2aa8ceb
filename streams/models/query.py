"""What is asked of the models for a batch of users, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Query", "Ranked"]


@dataclass(slots=True)
class Query:
    """A batch of n users with their histories, ragged: user i owns ``starts[i]:starts[i + 1]``, newest first.

    ``users`` int32[n] model indexes (-1: not yet in the models); ``now`` float64[n] seconds, each user's reference time;
    ``starts`` int64[n + 1]; ``items`` int32[m] model indexes (-1: not yet in the models); ``times`` float64[m] seconds;
    ``weights`` float32[m], negative for a negative signal; ``blocked`` uint8[m], 1 where that entry's item must not be
    recommended.
    """

    users: NDArray[np.int32]
    now: NDArray[np.float64]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.float64]
    weights: NDArray[np.float32]
    blocked: NDArray[np.uint8]

    def __len__(self) -> int:
        """Count the users."""
        return len(self.users)


@dataclass(slots=True)
class Ranked:
    """The answer for n users: lists with reasons, nearest users, and the candidates with their features.

    ``count`` int32[n]; ``items`` int32[n, size] and ``scores`` float32[n, size], best first, -1 and 0 past ``count``;
    ``source`` int8[n, size, 3], ``share`` float32[n, size, 3], ``because`` int32[n, size, 3, 2], strongest reason first, -1 pads;
    ``neighbors`` int32[n, k] and ``similarity`` float32[n, k], most similar first, -1 pads;
    ``context`` float32[n, C], what the blend was told of user and moment;
    ``propensity`` float32[n, size], the chance with which an item was drawn for its place, 0 where it was not drawn;
    ``starts`` int64[n + 1], ``candidates`` int32[c], ``features`` float32[c, features], ``shown`` uint8[c]: user i owns
    ``starts[i]:starts[i + 1]``, the best first, in the order of the blend; ``shown`` is a candidate's place in the list, from 1
    (0: not in it), plus 128 where the place was given away, to a pin or to chance.
    """

    count: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    source: NDArray[np.int8]
    share: NDArray[np.float32]
    because: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    similarity: NDArray[np.float32]
    context: NDArray[np.float32]
    propensity: NDArray[np.float32]
    starts: NDArray[np.int64]
    candidates: NDArray[np.int32]
    features: NDArray[np.float32]
    shown: NDArray[np.uint8]
