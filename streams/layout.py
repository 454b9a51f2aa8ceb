"""Where bubbles stand on a map: like segments near each other, none upon another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["apart", "flat"]

ROUNDS = 400


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
        moved = False
        for one in range(len(placed)):
            for other in range(one):
                moved |= _push(placed, radii, one, other, gap)
        placed = np.clip(placed, low, high)
        if not moved:
            break
    edges = np.concatenate([placed - radii[:, None], placed + radii[:, None]])
    centered: NDArray[np.float64] = placed + room / 2 - (edges.min(axis=0) + edges.max(axis=0)) / 2
    return centered


def _push(placed: NDArray[np.float64], radii: NDArray[np.float64], one: int, other: int, gap: float) -> bool:
    """Move two bubbles that touch, half the way each."""
    away = placed[one] - placed[other]
    distance = float(np.sqrt((away * away).sum()))
    missing = radii[one] + radii[other] + gap - distance
    if missing <= 0:
        return False
    # Two in one place part at an angle of their own.
    way = away / distance if distance > 1e-6 else np.array([np.cos(one), np.sin(one)])
    placed[one] += way * missing / 2
    placed[other] -= way * missing / 2
    return True
