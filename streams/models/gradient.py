"""The gradient of the blend: what one event says of every weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, kernel
from streams.models.hidden import Net, activate, weigh_up

__all__ = ["gradients"]

# A candidate whose chance is smaller moves no weight that counts.
_HARDLY = 1e-4


@inlined
def _push(net: Any, weights: int, chance: float, features: Any, context: Any, layer: Any, found: Any) -> None:
    """Add what one candidate says: ``chance`` is that of the softmax, less 1 if the user took it."""
    units, width = layer.shape[0], features.shape[0]
    for f in range(width):
        found[f] += chance * features[f]
    for h in range(units):
        if layer[h] <= 0.0:
            continue
        found[weights + (width + context.shape[0]) * units + h] += chance * layer[h]
        back = chance * net.out[h]
        for f in range(width):
            found[weights + f * units + h] += back * features[f]
        for c in range(context.shape[0]):
            found[weights + (width + c) * units + h] += back * context[c]


@kernel
def gradients(
    kept: NDArray[np.int32],
    features: NDArray[np.float32],
    contexts: NDArray[np.float32],
    targets: NDArray[np.int32],
    net: Net,
    found: NDArray[np.float64],
) -> None:
    """Write each event's gradient of -log softmax(scores)[target], and 1; 0 where the target is no candidate.

    ``found`` float64[n, F + (F + C) H + H + 1], of zeros: linear weights, those into the hidden layer by rows, those out of it.
    """
    score, units = np.empty(kept.shape[1]), net.out.shape[0]
    layer, bias = np.zeros((kept.shape[1], units), np.float32), np.zeros(units, np.float32)
    for n in range(kept.shape[0]):
        right, size, highest = -1, 0, -np.inf
        bias[:] = 0.0
        for c in range(contexts.shape[1]):
            for h in range(units):
                bias[h] += contexts[n, c] * net.context[c, h]
        while size < kept.shape[1] and kept[n, size] >= 0:
            if kept[n, size] == targets[n]:
                right = size
            activate(net, bias, features[n, size], layer[size])
            score[size] = weigh_up(net, net.linear[n], features[n, size], layer[size])
            highest = max(highest, score[size])
            size += 1
        if right < 0 or targets[n] < 0:
            continue
        total = 0.0
        for c in range(size):
            score[c] = math.exp(score[c] - highest)
            total += score[c]
        for c in range(size):
            chance = score[c] / total - (1.0 if c == right else 0.0)
            if abs(chance) >= _HARDLY:
                _push(net, features.shape[2], chance, features[n, c], contexts[n], layer[c], found[n])
        found[n, found.shape[1] - 1] = 1.0
