"""The hidden layer of the blend: what features are worth together, and for whom, beyond what each is worth alone."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, kernel, lean

__all__ = ["CONTEXT", "HIDDEN", "Hidden", "Net", "activate", "context_of", "effect", "weigh_up"]

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
    score = np.float32(0.0)
    for f in range(features.shape[0]):
        score += weights[f] * features[f]
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
def _step(
    weights: NDArray[np.float64],
    gradient: NDArray[np.float64],
    by_row: NDArray[np.float64],
    by_unit: NDArray[np.float64],
    total: float,
    rate: float,
) -> None:
    """Step by Adagrad, each weight's sum of squares taken as its row's share of its unit's (Shazeer, Stern 2018)."""
    for row in range(weights.shape[0]):
        for h in range(weights.shape[1]):
            step = rate * gradient[row, h] / math.sqrt(1.0 + by_row[row] * by_unit[h] / max(total, 1e-12))
            weights[row, h] -= min(max(step, -_LONGEST), _LONGEST)


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

    def summed(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the gradients of n events, float64[n, size]: float64[taught_size]."""
        squares = (gradients * gradients).sum(axis=0)
        within, out = squares[:-HIDDEN].reshape(self.weights.shape), squares[-HIDDEN:]
        return np.concatenate([gradients.sum(axis=0), within.sum(axis=1), within.sum(axis=0), out])

    def apply(self, taught: NDArray[np.float64], keep: float) -> None:
        """Step down what events taught, float64[taught_size]; earlier squares count ``keep`` times."""
        rows, size = len(self.by_row), self.size
        within, out = taught[: self.weights.size].reshape(self.weights.shape), taught[self.weights.size : size]
        self.by_row = keep * self.by_row + taught[size : size + rows]
        self.by_unit = keep * self.by_unit + taught[size + rows : size + rows + HIDDEN]
        self.by_out = keep * self.by_out + taught[size + rows + HIDDEN :]
        # The order of a sum is part of the fold: plain additions, the same on every CPU.
        total = 0.0
        for value in self.by_unit.tolist():
            total += value
        _step(self.weights, np.ascontiguousarray(within), self.by_row, self.by_unit, total, self.rate)
        self.out -= np.clip(self.rate * out / np.sqrt(1.0 + self.by_out), -_LONGEST, _LONGEST)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copy everything the layer has learned."""
        return {name: getattr(self, name).copy() for name in ("weights", "out", "by_row", "by_unit", "by_out")}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take up what ``arrays`` gave."""
        for name, array in arrays.items():
            setattr(self, name, np.array(array, np.float64))
