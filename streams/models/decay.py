"""Exponential decay by half-life, the same bytes on every CPU.

``exp`` and ``pow`` of the C library differ in the last bit between machines; followers of the learned log must not.
Only additions, multiplications and exact scaling by powers of two are used here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streams.models.compile import Array, Float32, Float64, inlined, kernel

__all__ = ["exp2", "gains", "less", "run_of", "steps_to", "weight"]

# ln(2)**k / k!, so that 2**f = 1 + C1 f + C2 f**2 + ...; for |f| <= 1/2 the first term left out is below 7e-15.
C1 = 0.6931471805599453
C2 = 0.24022650695910072
C3 = 0.05550410866482158
C4 = 0.009618129107628477
C5 = 0.0013333558146428443
C6 = 0.0001540353039338161
C7 = 1.5252733804059841e-05
C8 = 1.321548679014431e-06
C9 = 1.01780860092397e-07
C10 = 7.054911620801123e-09
C11 = 4.4455382718708116e-10

# Beyond these no decayed count means anything, and within them every power of two is a normal float64.
LOWEST = -1000.0
HIGHEST = 1000.0

# Beside what was taken from a sum, less than such a share of it is rounding: of many additions, each of half the last bit.
ROUNDING = {np.dtype(np.float64): 2.0**-36, np.dtype(np.float32): 2.0**-16}


@kernel
def exp2(x: float) -> float:
    """Raise 2 to the power of x, with a relative error of at most 1e-12.

    Parameters
    ----------
    x : float
        Exponent; below -1000 (or NaN) gives 0, above 1000 gives 2**1000. Whole exponents give exact results.

    Returns
    -------
    float
        2**x.

    Examples
    --------
    >>> exp2(-3.0), exp2(0.5)
    (0.125, 1.414213562373083)
    """
    if not x >= LOWEST:
        return 0.0
    whole = math.floor(min(x, HIGHEST) + 0.5)
    f = min(x, HIGHEST) - whole
    # Even and odd powers are two independent chains: half the latency of Horner's rule.
    g = f * f
    even = 1.0 + g * (C2 + g * (C4 + g * (C6 + g * (C8 + g * C10))))
    odd = f * (C1 + g * (C3 + g * (C5 + g * (C7 + g * (C9 + g * C11)))))
    return (even + odd) * np.int64((np.int64(whole) + 1023) << 52).view(np.float64)


@kernel
def weight(elapsed: float, half_life: float) -> float:
    """Weigh what happened some time ago: 2**(-elapsed / half_life), 1 for the future.

    Parameters
    ----------
    elapsed : float
        Seconds since then; negative counts as 0.
    half_life : float
        Seconds in which a weight halves.

    Returns
    -------
    float
        The weight, from 0 to 1.

    Examples
    --------
    >>> weight(3600.0, 1800.0)
    0.25
    """
    return exp2(-max(elapsed, 0.0) / half_life)


@kernel
def steps_to(time: float, half_life: float, landmarks: Float64, which: int) -> float:
    """Move a landmark to the last multiple of the half-life, if it is later; count the half-lives it moved by."""
    landmark = np.floor(time / half_life) * half_life
    if not landmark > landmarks[which]:
        return 0.0
    steps = np.floor((landmark - landmarks[which]) / half_life + 0.5)
    landmarks[which] = landmark
    return float(steps)


@inlined
def run_of(times: Any, begin: int, limit: Any) -> int:
    """Give where a run of times from a place on ends that are all below a limit; the first is in it whatever it is."""
    until = begin + 1
    while until < times.size and times[until] < limit:
        until += 1
    return until


@kernel
def gains(weights: Float32, times: Float64, half_life: float, landmark: float, found: Float64) -> None:
    """Give every visit its weight as of the landmark; a loop of its own, which compiles to wide arithmetic.

    Parameters
    ----------
    weights : float32[n]
        Of the visits.
    times : float64[n]
        Seconds.
    half_life, landmark : float
        Seconds.
    found : float64[n]
        Takes ``weight * 2**((time - landmark) / half_life)``.
    """
    for n in range(times.size):
        found[n] = weights[n] * exp2((times[n] - landmark) / half_life)


def less(sums: Array, cells: Any, amounts: Float64) -> None:
    """Take amounts from sums that they are part of; what is left of a sum that is only rounding becomes 0.

    Parameters
    ----------
    sums : float64[...] or float32[...]
        Changed in place; none negative.
    cells : index arrays
        Where each amount is in ``sums``; the same cell may come more than once.
    amounts : float64[n]
        Not negative.

    Examples
    --------
    >>> sums = np.array([0.1 + 0.2 + 0.3, 5.0])
    >>> less(sums, np.array([0, 0, 0]), np.array([0.3, 0.2, 0.1]))
    >>> sums
    array([0., 5.])
    """
    before = sums[cells]
    np.subtract.at(sums, cells, amounts.astype(sums.dtype))
    left = sums[cells]
    sums[cells] = np.where(left > before * ROUNDING[sums.dtype], left, 0)
