"""Shards, workers and partitions under load in steps of one batch: who is busy, what waits after a death, what must be held."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.planning.constants import value
from streams.planning.loads import US, Load, Shard, Tuning

__all__ = ["Outcome", "grown"]

Float64 = NDArray[np.float64]

HEAVY = 20_000  # users who are drawn one by one; all others are spread evenly over the partitions
UNEVEN = 0.2  # how far a shard's share of all events may lie from the mean
NOTICED = 12.0  # s until a killed worker's partitions are with others: the time-out of its group and the hand-over
BACK = 60.0  # s until a killed worker is here again, with a snapshot read and the log followed
MOVED = 2.0  # s that a partition rests when it goes from one worker to another
CAUGHT_UP = 3.0  # s of events that may wait where nothing is behind; a planned hand-over makes MOVED of it


@dataclass(slots=True)
class Outcome:
    """What was seen: events a second that were answered, how busy workers were, and the longest wait after a kill."""

    offered: float
    served: float
    busy: float
    busiest: float
    behind: float
    worked_off: float | None
    lag: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """The workers of one shard."""

    rates: Float64
    owner: NDArray[np.int64]
    each: float
    waiting: Float64
    rests: Float64
    unfolded: Float64
    alive: NDArray[np.bool_]


def grown(
    load: Load, shards: int, shard: Shard, *, tuning: Tuning | None = None, seconds: float = 240.0, seed: int = 0
) -> Outcome:
    """Run all shards at the peak for so long; a quarter in, one worker of the busiest shard is killed."""
    tuning, rng = tuning or Tuning(), np.random.default_rng(seed)
    shares = 1.0 + UNEVEN * (2.0 * rng.random(shards) - 1.0) if shards > 1 else np.ones(1)
    shares *= 1.0 / shares.sum()
    groups = [_group(load, share, shard, rng) for share in shares.tolist()]
    victim, killed = groups[int(np.argmax(shares))], seconds / 4
    steps = round(seconds / tuning.batch_s)
    busy = np.zeros((steps, shards, shard.workers))
    served = np.zeros(steps)
    lag = []
    for step in range(steps):
        at = step * tuning.batch_s
        _events(victim, at, killed, tuning.batch_s)
        for number, group in enumerate(groups):
            done, busy[step, number] = _turn(group, tuning, rng)
            served[step] += done
        lag.append(float(np.max(victim.waiting / victim.rates)))
    calm = slice(steps // 8, round(killed / tuning.batch_s))
    after = lag[calm.stop :]
    left = next((n for n, _ in enumerate(after) if n * tuning.batch_s > NOTICED and max(after[n:]) < CAUGHT_UP), None)
    return Outcome(
        offered=load.rate * load.peak,
        served=float(served[calm].mean()) / tuning.batch_s,
        busy=float(busy[calm].mean()),
        busiest=float(busy[calm].mean(axis=0).max()),
        behind=max(after),
        worked_off=None if left is None else left * tuning.batch_s,
        lag=lag,
    )


def _group(load: Load, share: float, shard: Shard, rng: np.random.Generator) -> _Group:
    """Spread a shard's users over its partitions, and these over its workers: user `n` acts in proportion to `1/sqrt(n)`."""
    partitions, users = shard.partitions, max(1.0, load.users * share)
    acts = 1.0 / np.sqrt(np.arange(1.0, min(HEAVY, users) + 1.0))
    rest = max(0.0, 2.0 * (np.sqrt(users) - np.sqrt(len(acts))))
    weights = np.bincount(rng.integers(0, partitions, len(acts)), acts, partitions) + rest / partitions
    rates = load.rate * load.peak * share * weights / weights.sum()
    nothing = np.zeros(partitions)
    workers = np.ones(shard.workers, np.bool_)
    owner = np.arange(partitions) % shard.workers
    return _Group(rates, owner, shard.each, nothing, nothing.copy(), np.zeros(shard.workers), workers)


def _events(group: _Group, at: float, killed: float, step: float) -> None:
    """Kill worker 0, give its partitions to the least loaded when its group notices, and back when it is here again."""
    if at <= killed < at + step:
        group.alive[0] = False
        group.rests[group.owner == 0] = NOTICED
    elif at <= killed + NOTICED < at + step:
        for partition in np.flatnonzero(group.owner == 0):
            loads = np.bincount(group.owner, group.rates, len(group.alive))
            loads[~group.alive] = np.inf
            group.owner[partition] = int(np.argmin(loads)) if group.alive.any() else 0
    elif at <= killed + BACK < at + step:
        mine = np.arange(len(group.owner)) % len(group.alive) == 0
        group.alive[0] = True
        group.owner[mine], group.rests[mine] = 0, MOVED


def _turn(group: _Group, tuning: Tuning, rng: np.random.Generator) -> tuple[float, Float64]:
    """One batch of every worker: fold what the batch before taught, then answer as many events as time is left for."""
    workers, step = len(group.alive), tuning.batch_s
    group.waiting += rng.poisson(group.rates * step)
    group.rests = np.maximum(group.rests - step, 0.0)
    ready = (group.rests <= 0.0) & group.alive[group.owner]
    counts = np.bincount(group.owner[ready], minlength=workers)
    folding = np.minimum(group.unfolded, step)
    group.unfolded -= folding
    fixed = US * (value("batch") + counts * value("record")) * (counts > 0)
    room = np.maximum(step - folding - fixed, 0.0) * group.alive
    wanted = np.bincount(group.owner[ready], group.waiting[ready], workers)
    most = np.minimum(room / group.each, float(tuning.batch_events))
    taken = np.minimum(wanted, most)
    part = np.divide(taken, wanted, out=np.zeros(workers), where=wanted > 0)
    group.waiting -= np.where(ready, group.waiting * part[group.owner], 0.0)
    done = float(taken.sum())
    records = float(np.count_nonzero(ready))
    group.unfolded += US * (done * value("fold_visit") + records * (value("fold_record") + value("read_record")))
    group.unfolded[~group.alive] = 0.0
    return done, (folding + fixed + taken * group.each) / step
