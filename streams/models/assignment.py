"""The assignment problem: which row goes with which column at the least total cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import kernel

__all__ = ["assignment"]


@kernel
def assignment(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the cheapest pairing of the rows of a matrix with its columns, of which there are at least as many.

    The Hungarian method with shortest augmenting paths, O(n² k): rows enter one by one, each along the cheapest
    alternating path, while the potentials ``u`` and ``v`` keep every reduced cost at zero or above.

    Parameters
    ----------
    cost : float64[n, k], n <= k
        Finite; ``cost[i, j]`` is the price of giving column ``j`` to row ``i``.

    Returns
    -------
    int64[n]
        The column of each row; no column twice.

    References
    ----------
    R. Jonker, A. Volgenant: A shortest augmenting path algorithm for dense and sparse linear assignment problems,
    Computing 38, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> assignment(np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]])).tolist()
    [1, 0, 2]
    """
    n, k = cost.shape
    u, v = np.zeros(n + 1), np.zeros(k + 1)
    row_of = np.zeros(k + 1, np.int64)  # 1-based: place 0 stands for "no column yet"
    for row in range(1, n + 1):
        row_of[0] = row
        came_from = np.zeros(k + 1, np.int64)
        slack = np.full(k + 1, np.inf)
        used = np.zeros(k + 1, np.bool_)
        column = 0
        while row_of[column] != 0:
            used[column] = True
            nearest, step = 0, np.inf
            for j in range(1, k + 1):
                if used[j]:
                    continue
                reduced = cost[row_of[column] - 1, j - 1] - u[row_of[column]] - v[j]
                if reduced < slack[j]:
                    slack[j], came_from[j] = reduced, column
                if slack[j] < step:
                    nearest, step = j, slack[j]
            for j in range(k + 1):
                if used[j]:
                    u[row_of[j]] += step
                    v[j] -= step
                else:
                    slack[j] -= step
            column = nearest
        while column != 0:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    columns = np.empty(n, np.int64)
    for j in range(1, k + 1):
        if row_of[j] != 0:
            columns[row_of[j] - 1] = j - 1
    return columns
