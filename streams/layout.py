"""Where bubbles stand on a map: like segments near each other, none upon another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["apart", "flat"]

ROUNDS = 2000
NEAR = 1e-6
SETTLED = 0.05  # less than anybody sees, and far less than a gap


def flat(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Give points of many dimensions their best places in two: classical scaling, which is the principal components.

    Returns
    -------
    places : float64[n, 2]
        Around the origin; a component's largest part is positive, so that a picture does not flip.
    kept : float
        The share of the squared distances that is kept, from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> places, kept = flat(np.array([[0.0, 0, 0], [0, 3, 4]]))
    >>> places.round(6).tolist(), round(kept, 6)
    ([[2.5, 0.0], [-2.5, 0.0]], 1.0)
    """
    middle = points - points.mean(axis=0)
    left, lengths, _ = np.linalg.svd(middle, full_matrices=False)
    places = np.zeros((len(points), 2))
    places[:, : min(2, len(lengths))] = (left * lengths)[:, :2]
    largest = np.abs(places).argmax(axis=0)
    places *= np.where(places[largest, [0, 1]] < 0, -1.0, 1.0)
    whole = float((lengths**2).sum())
    return places, float((lengths[:2] ** 2).sum()) / whole if whole > 0 else 1.0


def apart(
    places: NDArray[np.float64], radii: NDArray[np.float64], size: tuple[float, float], margin: float, gap: float
) -> NDArray[np.float64]:
    """Fit places into a map of this width and height, and push bubbles apart until none touches another or the margin."""
    room = np.array(size)
    low, high = margin + radii[:, None], room - margin - radii[:, None]
    first, last = places.min(axis=0), places.max(axis=0)
    scale = float(((room - 2 * (margin + radii.max())) / np.maximum(last - first, 1e-9)).min())
    placed = room / 2 + (places - (first + last) / 2) * scale
    for _ in range(ROUNDS):
        pushed = _pushed(placed, radii, gap)
        if np.abs(pushed).max() < SETTLED:
            break
        placed = np.clip(placed + pushed, low, high)
    edges = np.concatenate([placed - radii[:, None], placed + radii[:, None]])
    centered: NDArray[np.float64] = placed + room / 2 - (edges.min(axis=0) + edges.max(axis=0)) / 2
    return centered


def _pushed(placed: NDArray[np.float64], radii: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Give how far each bubble is pushed by those that touch it, half the way by each."""
    away = placed[:, None] - placed[None]
    distance = np.sqrt((away * away).sum(axis=2))
    missing = np.maximum(radii[:, None] + radii[None] + gap - distance, 0.0)
    np.fill_diagonal(missing, 0.0)
    # Two in one place part at an angle of their own.
    angles = np.arange(len(placed))
    apart = np.subtract.outer(angles, angles)
    away = np.where(distance[..., None] > NEAR, away, np.stack([np.sign(apart) * np.cos(apart), np.sin(apart)], axis=2))
    length = np.maximum(np.sqrt((away * away).sum(axis=2)), NEAR)
    pushed: NDArray[np.float64] = (away * (missing / (2 * length))[..., None]).sum(axis=1)
    return pushed
