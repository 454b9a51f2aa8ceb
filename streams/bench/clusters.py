"""Segments: K-means over one pass of a stream beside batch K-means, its answer to a world that jumps, and points/s."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from statistics import mean, median

import numpy as np

from streams.bench.figures import Figure
from streams.models.compile import Float64
from streams.models.kmeans import KMeans

BATCH = 256
ORDERS = 3
JUMPS = 5  # worlds, each of 10 centers in 16 dimensions
BEFORE, MOST = 20_000, 8_192  # points before a jump; after it, until it is given up
NEAR = 1.1  # times the best inertia, which counts as recovered
WARM_UP = 8_192  # points until a world is steady: the reservoir is full, and the first solves are done
ROUNDS = 7  # of points/s at the least, each beside its peer; they are short
PEER_SHARE = 0.2  # of the points; scikit-learn needs ten times as long
MEAN, WORST, RECOVERED, FASTER = 1.005, 1.02, 2_048.0, 5.0  # promised

Say = Callable[[str], object]
Draw = Callable[[int], Float64]


def figures(count: int = 100_000, *, runs: int = ROUNDS, say: Say = lambda _: None) -> list[Figure]:
    """Measure all; `count` points for points/s, ten times as many for false alarms, a tenth for each made-up set.

    All but points/s is the same in every run.
    """
    say("K-means: worlds that jump, and worlds that are steady")
    told = [_jumps(), *_alarms(10 * count)]
    if importlib.util.find_spec("sklearn"):
        say("K-means: 7 sets in 3 orders, and points/s, beside scikit-learn")
        return [*_one_pass(max(1_000, count // 10)), *told, *_speed(count, runs, peer=True)]
    say("K-means: without scikit-learn there is nothing to compare with; it comes with pip install scikit-learn")
    return [*told, *_speed(count, runs, peer=False)]


def blobs(seed: int, k: int = 10, d: int = 16, width: float = 1.0) -> Draw:
    """Round groups of one size."""
    random = np.random.default_rng(seed)
    centers = random.uniform(-10, 10, (k, d))
    return lambda n: centers[random.integers(0, k, n)] + random.normal(0, width, (n, d))


def skewed(seed: int, k: int = 10, d: int = 8, power: float = 1.5) -> Draw:
    """Groups of unlike width, of which a few have most of the points."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, k + 1) ** power
    centers, widths = random.uniform(-8, 8, (k, d)), random.uniform(0.5, 2.5, k)

    def draw(n: int) -> Float64:
        of = random.choice(k, n, p=shares / shares.sum())
        points: Float64 = centers[of] + random.normal(size=(n, d)) * widths[of][:, None]
        return points

    return draw


def heavy(seed: int, freedom: float, k: int = 10, d: int = 8) -> Draw:
    """Groups where a few far points make most of the inertia."""
    random = np.random.default_rng(seed)
    centers = random.uniform(-10, 10, (k, d))
    return lambda n: centers[random.integers(0, k, n)] + random.standard_t(freedom, (n, d))


def inertia(points: Float64, centers: Float64) -> float:
    """Sum up the squared distances of all points to their nearest centers."""
    parts = np.array_split(points, len(points) // 512 + 1)
    return float(sum(((part[:, None] - centers) ** 2).sum(axis=2).min(axis=1).sum() for part in parts))


def _sets(n: int) -> Iterator[tuple[str, Float64, int]]:
    from sklearn import datasets

    for name, draw, k in (
        ("blobs", blobs(1), 10),
        ("wide blobs", blobs(2, width=6.0), 10),
        ("skewed", skewed(3), 10),
        ("very skewed", skewed(4, 12, 16, 1.8), 12),
    ):
        yield name, draw(n), k
    yield "digits", datasets.load_digits().data, 10
    for name, load, k in (("wine", datasets.load_wine, 3), ("cancer", datasets.load_breast_cancer, 2)):
        points = load().data
        yield name, (points - points.mean(axis=0)) / points.std(axis=0), k


def _one_pass(n: int) -> list[Figure]:
    """Compare inertia after one pass with that of ten batch runs, and with one pass of the peer."""
    from sklearn.cluster import KMeans as Batch
    from sklearn.cluster import MiniBatchKMeans

    ours: dict[str, list[float]] = {}
    peers: dict[str, list[float]] = {}
    for name, points, k in _sets(n):
        best = Batch(k, n_init=10, random_state=0).fit(points).inertia_
        for seed in range(ORDERS):
            shuffled = points[np.random.default_rng(seed).permutation(len(points))]
            for found, model in ((ours, KMeans(k=k, seed=0)), (peers, MiniBatchKMeans(k, n_init=1, random_state=0))):
                _stream(model, shuffled)
                found.setdefault(name, []).append(inertia(points, model.cluster_centers_) / best)
    sets = {name: mean(ratios) for name, ratios in ours.items()}
    mini = [ratio for ratios in peers.values() for ratio in ratios]
    named = "scikit-learn's MiniBatchKMeans"
    return [
        Figure(
            "inertia of one pass : 10 batch runs, mean", mean(sets.values()), "", at_most=MEAN, peers={named: mean(mini)} | sets
        ),
        Figure(
            "inertia of one pass : 10 batch runs, worst",
            max(ratio for ratios in ours.values() for ratio in ratios),
            "",
            at_most=WORST,
            peers={named: max(mini)},
        ),
    ]


def _stream(model: KMeans, points: Float64) -> None:
    for start in range(0, len(points), BATCH):
        model.partial_fit(points[start : start + BATCH])


def _jumps() -> Figure:
    """Count points after all centers jumped until fresh points lie as near as they can, or nearly so."""
    needed = []
    for seed in range(JUMPS):
        model, other = KMeans(k=10, seed=0), blobs(100 + seed)
        _stream(model, blobs(seed)(BEFORE))
        fresh = other(5_000)
        settled = KMeans(k=10, seed=0, solve_self=False)
        best = inertia(fresh, settled.solve(fresh))
        seen = 0
        while seen < MOST and inertia(fresh, model.cluster_centers_) > NEAR * best:
            model.partial_fit(other(BATCH))
            seen += BATCH
        needed.append(seen)
    peers = {"median": float(median(needed))}
    return Figure("all centers jump: points until recovered, worst of 5", max(needed), "", at_most=RECOVERED, peers=peers)


def _alarms(count: int) -> Iterator[Figure]:
    """Count the times that a steady world was taken for another."""
    worlds = {"blobs": blobs(1), "skewed": skewed(2), "heavy tails": heavy(3, 3.0), "very heavy tails": heavy(4, 2.1)}
    alarms: dict[str, float] = {}
    for name, draw in worlds.items():
        model = KMeans(k=10, seed=0)
        _stream(model, draw(WARM_UP))
        before = model.generation
        for _ in range(0, count, BATCH * 64):
            model.partial_fit(draw(min(count, BATCH * 64)))
        alarms[name] = model.generation - before
    yield Figure(f"false alarms in {count:,} points of each steady world", sum(alarms.values()), "", at_most=0.0, peers=alarms)


def _speed(count: int, runs: int, *, peer: bool) -> Iterator[Figure]:
    """Measure points/s in batches of 256 at 16 dimensions and 8 centers, in turns with the peer."""
    points = blobs(1, 8)(count + WARM_UP)
    rates: list[float] = []
    theirs: list[float] = []
    for _ in range(max(ROUNDS, runs) if runs > 1 else 1):
        rates.append(_rate(KMeans(k=8, seed=0), points))
        if peer:
            from sklearn.cluster import MiniBatchKMeans
            from threadpoolctl import threadpool_limits

            # Its threads would wait for each other on cores that others use, and it would look slower than it is.
            with threadpool_limits(1):
                theirs.append(_rate(MiniBatchKMeans(8, n_init=1, random_state=0), points[: WARM_UP + int(PEER_SHARE * count)]))
    told = {"scikit-learn's MiniBatchKMeans": theirs} if peer else {}
    yield Figure("K-means, 8 centers, 16 dimensions", rates, "points/s", peers=told)
    if peer:
        times = [mine / other for mine, other in zip(rates, theirs, strict=True)]
        yield Figure("K-means, points/s : scikit-learn's", times, "x", at_least=FASTER)


def _rate(model: KMeans, points: Float64) -> float:
    _stream(model, points[:WARM_UP])
    begun = time.perf_counter()
    _stream(model, points[WARM_UP:])
    return (len(points) - WARM_UP) / (time.perf_counter() - begun)
