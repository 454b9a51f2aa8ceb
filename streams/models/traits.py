"""Traits: how much of what a segment does is of a kind, against everyone, and how much that tells."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Array, Float32, Float64, Int32, Int64, kernel

__all__ = ["NO_BAND", "evidence", "price_mass", "token_mass"]

NO_BAND = -128

# Bands of prices that are told apart, from 2**-32 up.
BANDS = 64
LOWEST = -32


@kernel
def token_mass(counts: Float32, tokens: Int32, mass: Float64) -> None:
    """Add up each segment's visits under each token.

    Parameters
    ----------
    counts : float32[segments, I]
        Visits of each item.
    tokens : int32[n, width]
        Token numbers of the first n <= I items; -1 pads.
    mass : float64[segments, T]
        Is added to.
    """
    for segment in range(counts.shape[0]):
        for item in range(tokens.shape[0]):
            count = counts[segment, item]
            if count > 0:
                for place in range(tokens.shape[1]):
                    if tokens[item, place] >= 0:
                        mass[segment, tokens[item, place]] += count


def price_mass(counts: Float32, bands: Int64, categories: Int64) -> Float64:
    """Add up each segment's visits of items that cost less, as much and more than is usual in their category.

    What is usual is the band in which half of all visits of the category are reached.

    Parameters
    ----------
    counts : float32[segments, n]
        Visits of each item.
    bands : int64[n]
        Price band (power of two) of each item; NO_BAND: no price.
    categories : int64[n]
        Any number of 0 or more that items of a category share; -1: none, which is a category too.

    Returns
    -------
    float64[segments, 3]
        Less, as much, more.

    Examples
    --------
    >>> import numpy as np
    >>> price_mass(np.array([[1, 2, 0], [0, 1, 3]]), np.array([0, 1, 2]), np.array([7, 7, 7]))
    array([[1., 2., 0.],
           [0., 1., 3.]])
    """
    priced = bands != NO_BAND
    counts, bands = counts[:, priced].astype(np.float64), np.clip(bands[priced] - LOWEST, 0, BANDS - 1)
    kinds, kind = np.unique(categories[priced], return_inverse=True)
    spread = np.bincount(kind * BANDS + bands, counts.sum(axis=0), len(kinds) * BANDS).reshape(len(kinds), BANDS)
    below = spread.cumsum(axis=1)
    usual = (below < below[:, -1:] / 2).sum(axis=1)
    side = np.sign(bands - usual[kind]).astype(np.int64) + 1
    return np.stack([np.bincount(side, row, 3) for row in counts])


def evidence(mass: Float64, total: Float64) -> tuple[Float64, Float64, Float64]:
    """Tell how much it says of a visit's segment that the visit has a trait, for traits that a segment has more than all.

    That is the relative entropy of two coins, the segment's share p and everyone's q: p log p/q + (1-p) log (1-p)/(1-q).
    It is large for what is both distinctive and common, and alike for what is rare among all and what is usual.

    Parameters
    ----------
    mass : float64[segments, traits]
        Visits with the trait.
    total : float64[segments]
        Visits for which it is known whether they have it.

    Returns
    -------
    bits, lift, g : float64[segments, traits]
        The relative entropy in bits, 0 where p <= q; p / q; and the statistic of the G-test, which grows with the
        number of visits: above 10.8, chance would do that once in a thousand segments that are like everyone.

    References
    ----------
    T. Dunning: Accurate methods for the statistics of surprise and coincidence, Computational Linguistics 1993.

    Examples
    --------
    >>> import numpy as np
    >>> bits, lift, g = evidence(np.array([[30.0], [10.0]]), np.array([40.0, 40.0]))
    >>> bits.round(3), lift, g.round(1)
    (array([[0.189],
           [0.   ]]), array([[1.5],
           [0.5]]), array([[10.5],
           [ 0. ]]))
    """
    share = mass / np.maximum(total, TINY)[:, None]
    overall = mass.sum(axis=0) / max(float(total.sum()), TINY)
    bits = _term(share, overall) + _term(1 - share, 1 - overall)
    bits = np.where(share > overall, np.maximum(bits, 0.0), 0.0)
    return bits, share / np.maximum(overall, TINY), 2 * np.log(2) * total[:, None] * bits


# Below any share that is not 0.
TINY = 1e-12


def _term(share: Array, overall: Array) -> Float64:
    term: Float64 = share * np.log2(np.maximum(share, TINY) / np.maximum(overall, TINY))
    return term
