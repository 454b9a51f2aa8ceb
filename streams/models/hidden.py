"""The hidden layer of the blend: what features are worth together, and for whom, beyond what each is worth alone."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, kernel, lean
from streams.models.dot import dot

__all__ = ["CONTEXT", "HIDDEN", "Hidden", "Net", "activate", "add_up", "context_of", "effect", "weigh_up"]

HIDDEN = 16
CONTEXT = 6

# A pause, in seconds, after which half of what is known of the moment is stale: about the length of a visit to a shop.
_PAUSE = 600.0

# No step of a lesson's summed gradient moves a weight further.
_LONGEST = 0.1
_SPREAD = 0.43


class Net(NamedTuple):
    """The blend as kernels take it, for n users: score = linear · x + out · max(0, hiddenᵀ x + contextᵀ c).

    ``linear`` float32[n, F]; ``hidden`` float32[F, H]; ``context`` float32[C, H]; ``out`` float32[H].
    """

    linear: NDArray[np.float32]
    hidden: NDArray[np.float32]
    context: NDArray[np.float32]
    out: NDArray[np.float32]

    @classmethod
    def plain(cls, linear: NDArray[np.float32]) -> Self:
        """Make a net without a hidden layer."""
        features = linear.shape[1]
        return cls(linear, *(np.zeros(shape, np.float32) for shape in ((features, HIDDEN), (CONTEXT, HIDDEN), HIDDEN)))


@lean
def context_of(net: Any, entries: int, distinct: int, gap: float, context: Any, bias: Any) -> None:
    """Write what is known of the user and the moment, float32[C], and what it adds to the hidden layer, float32[H].

    ``entries`` of the history and ``distinct`` items among them; ``gap`` in seconds since the newest.
    """
    context[0] = 1.0
    context[1] = math.log1p(entries) / 3.0
    context[2] = 1.0 / max(entries, 1)
    context[3] = math.log1p(gap) / 10.0
    context[4] = _PAUSE / (_PAUSE + gap)
    context[5] = 1.0 - distinct / max(entries, 1)
    bias[:] = 0.0
    for c in range(context.shape[0]):
        for h in range(bias.shape[0]):
            bias[h] += context[c] * net.context[c, h]


@inlined
def activate(net: Any, bias: Any, features: Any, layer: Any) -> None:
    """Write the hidden layer of one candidate, before its negative part is cut."""
    for h in range(layer.shape[0]):
        layer[h] = bias[h]
    for f in range(features.shape[0]):
        value = features[f]
        if value != 0.0:
            for h in range(layer.shape[0]):
                layer[h] += value * net.hidden[f, h]


@inlined
def weigh_up(net: Any, weights: Any, features: Any, layer: Any) -> Any:
    """Score one candidate."""
    score = dot(weights, features)
    for h in range(layer.shape[0]):
        score += max(layer[h], np.float32(0.0)) * net.out[h]
    return score


@inlined
def effect(net: Any, weights: Any, layer: Any, feature: int) -> float:
    """Give what a feature's weight comes to for this candidate: where a unit is silent, it adds nothing."""
    found = np.float64(weights[feature])
    for h in range(layer.shape[0]):
        if layer[h] > 0.0:
            found += np.float64(net.hidden[feature, h]) * net.out[h]
    return found


@kernel
def _fold(
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
    by_row: NDArray[np.float64],
    by_unit: NDArray[np.float64],
    by_out: NDArray[np.float64],
    taught: NDArray[np.float64],
    keep: float,
    rate: float,
) -> None:
    """Step by Adagrad, each weight's sum of squares taken as its row's share of its unit's (Shazeer, Stern 2018)."""
    rows, units = weights.shape
    squares, total = (rows + 1) * units, 0.0
    for row in range(rows):
        by_row[row] = keep * by_row[row] + taught[squares + row]
    for h in range(units):
        by_unit[h] = keep * by_unit[h] + taught[squares + rows + h]
        by_out[h] = keep * by_out[h] + taught[squares + rows + units + h]
        total += by_unit[h]
    for row in range(rows):
        share = by_row[row] / max(total, 1e-12)
        for h in range(units):
            step = rate * taught[row * units + h] / math.sqrt(1.0 + share * by_unit[h])
            weights[row, h] -= min(max(step, -_LONGEST), _LONGEST)
    for h in range(units):
        step = rate * taught[rows * units + h] / math.sqrt(1.0 + by_out[h])
        out[h] -= min(max(step, -_LONGEST), _LONGEST)


@kernel
def add_up(rows: int, gradient: NDArray[np.float64], taught: NDArray[np.float64]) -> None:
    """Add one event's gradient, float64[size], and its squares by row, by unit and out of it, to float64[taught_size]."""
    units = HIDDEN
    size = (rows + 1) * units
    for n in range(size):
        taught[n] += gradient[n]
    for row in range(rows):
        for h in range(units):
            square = gradient[row * units + h] * gradient[row * units + h]
            taught[size + row] += square
            taught[size + rows + h] += square
    for h in range(units):
        taught[size + rows + units + h] += gradient[rows * units + h] * gradient[rows * units + h]


class Hidden:
    """The weights of the hidden layer and what Adagrad remembers of them.

    Adagrad's squares are kept by row and by unit only: as good here as one for each weight, and a lesson that
    teaches the layer is half as long.

    Parameters
    ----------
    features : int
        F.
    rate : float
        Of Adagrad.
    seed : int
        Of the first weights into the layer; those out of it are 0, so that an untrained layer says nothing.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer: Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12, 2011.
    N. Shazeer, M. Stern: Adafactor: adaptive learning rates with sublinear memory cost, ICML 2018 (factored squares).
    """

    def __init__(self, features: int, rate: float, seed: int = 0) -> None:
        self.features, self.rate = features, rate
        rows = features + CONTEXT
        self.weights = _SPREAD * (2.0 * np.random.default_rng(seed).random((rows, HIDDEN)) - 1.0)
        self.out = np.zeros(HIDDEN)
        self.by_row, self.by_unit, self.by_out = np.zeros(rows), np.zeros(HIDDEN), np.zeros(HIDDEN)

    @property
    def size(self) -> int:
        """How many weights there are."""
        return self.weights.size + HIDDEN

    @property
    def taught_size(self) -> int:
        """Numbers that say what events taught: their gradients' sum, and squares by row, by unit and out of it."""
        return self.size + len(self.by_row) + 2 * HIDDEN

    def net(self, linear: NDArray[np.float32]) -> Net:
        """Join it with the linear weights of n users, float32[n, F]."""
        weights = self.weights.astype(np.float32)
        return Net(linear, weights[: self.features], weights[self.features :], self.out.astype(np.float32))

    def apply(self, taught: NDArray[np.float64], keep: float) -> None:
        """Step down what events taught, float64[taught_size]; earlier squares count ``keep`` times."""
        _fold(self.weights, self.out, self.by_row, self.by_unit, self.by_out, taught, keep, self.rate)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the layer has learned."""
        return {name: getattr(self, name).copy() for name in ("weights", "out", "by_row", "by_unit", "by_out")}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what ``arrays`` gave."""
        for name, array in arrays.items():
            setattr(self, name, np.array(array, np.float64))
