"""Which micro-clusters make a cluster, and which id it has: the connected parts of the shared-density graph, named to last."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.compile import Float64, Int16, Int64, kernel
from streams.models.decay import exp2

__all__ = ["BIRTHS", "CLOCK", "LANDMARK", "LOOKS", "MEAN", "RADIUS", "ROWS", "SPREAD", "USED", "named"]

# The places in the state: the clock, and the time that weights are kept as of; rows ever learned; looks taken; micro-clusters
# ever begun, and held now; running mean squared distance of a row to its micro-cluster; the radius, 0 while unknown; running
# mean weight of a row.
CLOCK, LANDMARK, ROWS, LOOKS, BIRTHS, USED, SPREAD, RADIUS, MEAN = range(9)


@kernel
def _components(mass: Float64, shared: Float64, births: Int64, m: int, alpha: float, least: float) -> Any:
    """Give each strong micro-cluster the number of its component, -1 the weak: oldest first; and how many there are."""
    found = np.full(m, -1, np.int64)
    waiting = np.empty(m, np.int64)
    count = 0
    for first in np.argsort(births[:m]):
        if mass[first] < least or found[first] >= 0:
            continue
        found[first] = count
        waiting[0], more = first, 1
        while more:
            more -= 1
            one = waiting[more]
            for other in range(m):
                if found[other] < 0 and mass[other] >= least:
                    density = shared[min(one, other), max(one, other)]
                    if density >= alpha * 0.5 * (mass[one] + mass[other]):
                        found[other] = count
                        waiting[more] = other
                        more += 1
        count += 1
    return found, count


@kernel
def named(
    mass: Float64,
    own: Float64,
    shared: Float64,
    births: Int64,
    owners: Int16,
    used_at: Int64,
    state: Float64,
    half_life: float,
    alpha: float,
    least: float,
    share: float,
) -> Int16:
    """Give each micro-cluster the id of its cluster, int16[used], -1 for none. Changes nothing.

    An id goes to the component that most of its weight is in, the heaviest claims first; components without a claim get the
    ids that were out of use the longest, oldest component first.
    """
    m, k = int(state[USED]), len(used_at)
    one = exp2((state[CLOCK] - state[LANDMARK]) / half_life)
    component, count = _components(mass, shared, births, m, alpha, least * one)
    weight, claims, everything = np.zeros(count), np.zeros((count, k)), 0.0
    for c in range(m):
        everything += own[c]
        if component[c] >= 0:
            weight[component[c]] += own[c]
            if owners[c] >= 0:
                claims[component[c], owners[c]] += own[c]
    ids, taken = np.full(count, -1, np.int16), np.zeros(k, np.bool_)
    while True:
        best, part, number = 0.0, -1, -1
        for c in range(count):
            if ids[c] < 0:
                for label in range(k):
                    # In use at the last look: half the share will do, lest ids come and go.
                    needed = share * (0.5 if used_at[label] == int(state[LOOKS]) else 1.0) * everything
                    if not taken[label] and claims[c, label] > best and weight[c] >= needed:
                        best, part, number = claims[c, label], c, label
        if part < 0:
            break
        ids[part], taken[number] = number, True
    for c in range(count):
        if ids[c] < 0 and weight[c] >= share * everything:
            number = -1
            for label in range(k):
                if not taken[label] and (number < 0 or used_at[label] < used_at[number]):
                    number = label
            if number >= 0:
                ids[c], taken[number] = number, True
    labels = np.full(m, -1, np.int16)
    for c in range(m):
        if component[c] >= 0:
            labels[c] = ids[component[c]]
    return labels
