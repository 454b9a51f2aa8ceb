"""Pictures of what learns from many users: segments, similarity, blend, rerank."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from docs.pictures.sources import INK, NOW, OTHER, PALE, axes_of, bare, taught
from streams.models.blend import Blend
from streams.models.dbstream import DBStream
from streams.models.hidden import CONTEXT, Net
from streams.models.ids import pack
from streams.models.kmeans import KMeans
from streams.models.query import Query
from streams.models.recommend import Recommender
from streams.models.rerank import NEUTRAL, Rerank
from streams.models.similarity import Similarity
from streams.models.som import SOM
from streams.models.sources import FEATURES, SOURCES
from streams.models.tokens import tokenize

COLORS = (INK, "#c9a227", "#6a8f4e", "#8d6cab", "#b5651d", "#3f7fbf")


def kmeans(figure: Figure) -> None:
    """All centers jump: the inertia of each batch, and when they are solved anew."""
    random = np.random.default_rng(7)
    centers, later = random.uniform(-10, 10, (2, 10, 16))
    model, inertia, solved = KMeans(k=10), [], []
    for batch in range(60):
        points = (centers if batch < 30 else later)[random.integers(0, 10, 256)] + random.normal(size=(256, 16))
        before = model.generation
        if model.initialised:
            labels = model.predict(points)
            inertia.append((batch, ((points - model.cluster_centers_[labels]) ** 2).sum() / 256))
        model.partial_fit(points)
        if batch > 29 and model.generation != before:
            solved.append(batch)
    axes = axes_of(figure, "batch of 256 points", "inertia of a point")
    batches, heights = np.array(inertia).T
    axes.plot(batches, heights, color=INK, marker=".")
    axes.axhline(16, color=PALE, zorder=0)
    axes.text(1, 26, "of the true centers: 16", color="#7b8188", va="bottom")
    axes.annotate("all centers jump", (30, heights[batches == 30][0]), (-8, -4), textcoords="offset points", ha="right")
    axes.annotate(
        "drift seen, solved anew",
        (solved[0], heights[batches == solved[0]][0]),
        (8, 0),
        textcoords="offset points",
        color=OTHER,
    )
    axes.set(ylim=(0, None))


def dbstream(figure: Figure) -> None:
    """Two moons with a twentieth of noise: what the class learned in one pass, and what K-means makes of it."""
    random = np.random.default_rng(2)
    turn = random.uniform(0, np.pi, 1900)
    upper = np.arange(1900) % 2 == 0
    moons = np.where(upper[:, None], np.c_[np.cos(turn), np.sin(turn)], np.c_[1 - np.cos(turn), 0.5 - np.sin(turn)])
    points = np.concatenate([moons + random.normal(0, 0.06, moons.shape), random.uniform([-2, -1.6], [3, 2.1], (100, 2))])
    points = points[random.permutation(2000)]
    for place, title, labels in (
        (1, "DBSTREAM", DBStream().partial_fit(points).predict(points)),
        (2, "K-means, told that there are 2", KMeans(k=2).partial_fit(points).predict(points)),
    ):
        axes = figure.add_subplot(1, 2, place)
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, loc="left")
        for n, label in enumerate(sorted({*labels.tolist()} - {-1})):
            axes.scatter(*points[labels == label].T, s=1.5, color=COLORS[n % len(COLORS)], rasterized=True)
        axes.scatter(*points[labels == -1].T, s=5, color=OTHER, marker="x", linewidths=0.6, rasterized=True)


def som(figure: Figure) -> None:
    """The grid laid out over the users: what is side by side on the grid is side by side among them."""
    random = np.random.default_rng(4)
    bend = random.uniform(0, np.pi, 3000)
    points = np.c_[bend * 2, np.sin(bend) * 2 + random.uniform(-0.8, 0.8, 3000)]
    model = SOM(shape=(4, 9)).partial_fit(points)
    axes = bare(figure)
    axes.scatter(*points[::4].T, s=1.5, color=PALE, rasterized=True)
    nodes, apart = model.cluster_centers_, np.linalg.norm(model.positions_[:, None] - model.positions_, axis=2)
    for one, other in np.argwhere(np.triu((apart > 0) & (apart < 1.01))):
        axes.plot(*nodes[[one, other]].T, color=INK, linewidth=1)
    axes.scatter(*nodes.T, color=INK, s=14, zorder=2)


def similarity(figure: Figure) -> None:
    """How far Pearson is from numpy's on the ratings that stand, after ever more updates."""
    random, model = np.random.default_rng(6), Similarity()
    ratings, worst, seen = np.full((12, 40), np.nan), [], []
    for n in range(20_000):
        user, item = random.integers(0, 12), random.integers(0, 40)
        if random.random() < 0.2:
            model.withdraw([user], [item])
            ratings[user, item] = np.nan
        else:
            ratings[user, item] = value = float(random.integers(1, 11)) / 2
            model.update(int(user), int(item), value)
        if n + 1 in {10**k * m for k in (2, 3, 4) for m in (1, 2, 5)}:
            seen.append(n + 1)
            worst.append(max(_apart(model, ratings, a, b) for a in range(12) for b in range(a)))
    axes = axes_of(figure, "updates: ratings that came, changed or went", "largest error")
    axes.plot(seen, np.maximum(worst, 1e-17), color=INK, marker="o")
    axes.axhline(1e-10, color=OTHER)
    axes.text(100, 1.5e-10, "promised", color=OTHER, va="bottom")
    axes.set(xscale="log", yscale="log", ylim=(1e-17, 1e-8))


def _apart(model: Similarity, ratings: np.ndarray, one: int, other: int) -> float:
    both = ~np.isnan(ratings[one]) & ~np.isnan(ratings[other])
    if both.sum() < 3:
        return 0.0
    return abs(model.pearson(one, other) - np.corrcoef(ratings[one, both], ratings[other, both])[0, 1])


def blend(figure: Figure) -> None:
    """The world turns: what users do next was named by one source, then by another."""
    random, model, shown = np.random.default_rng(8), Blend(), []
    first, second = SOURCES.index("covisit"), SOURCES.index("content")
    for n in range(4_000):
        right = first if n < 1_500 else second
        features = np.zeros((1, 20, FEATURES), np.float32)
        for source in range(len(SOURCES)):
            order = random.permutation(20)
            if source == right and random.random() < 0.6:  # it names what comes next, item 0, first
                order[[0, order.tolist().index(0)]] = 0, order[0]
            features[0, order, source] = np.linspace(1, 0, 20)
            features[0, order, len(SOURCES) + source] = 1 / np.arange(1, 21)
        model.apply(model.gradients([np.arange(20)], features, [0], [-1], np.zeros((1, CONTEXT), np.float32)))
        if n % 50 == 0:
            shown.append((n, *model.named_weights().values()))
    table = np.array(shown)
    axes = axes_of(figure, "events", "share of all weights")
    for source, name in enumerate(SOURCES):
        color = {first: "#7b8188", second: INK}.get(source, PALE)
        axes.plot(table[:, 0], table[:, 1 + source], color=color, zorder=2 if source in (first, second) else 1)
        if source in (first, second):
            axes.text(
                1400 if source == first else 3950,
                table[28 if source == first else -1, 1 + source] + 0.02,
                name,
                color=color,
                ha="right",
            )
    axes.axvline(1_500, color=OTHER, linewidth=1)
    axes.text(1_530, axes.get_ylim()[1] * 0.93, "users turn to what content names", color=OTHER, va="top")


def rerank(figure: Figure) -> None:
    """One list of ten four times: by the blend, and as the shop asks; a color is a category."""
    items = np.repeat(np.arange(40), np.arange(40, 0, -1))
    models = taught(items % 97, items, NOW - 1.0 - np.arange(len(items)) / 10)
    entries = [tokenize(category=f"category {item // 4 % 4}") for item in range(40)]
    starts = np.cumsum([0, *map(len, entries)])
    tokens = pack([token for entry in entries for token in entry])
    models.catalog.apply(np.arange(40, dtype=np.int32), tokens, starts, np.ones(40, np.uint8), np.arange(40))
    known = models.catalog.tokens
    initials = known.blob[np.append(0, known.ends)[: len(known)]]
    third = known.find(pack([tokenize(category="category 2")[0]]))
    none, nothing = NEUTRAL.items, NEUTRAL.item_boosts
    asked = {
        "the blend's order": NEUTRAL,
        "diversity 0.5": Rerank(none, nothing, none, nothing, none, 0.5, 0, initials),
        "green boosted by 1": Rerank(third, np.ones(1, np.float32), none, nothing, none, 0.0, 0, initials),
        "a pin, two drawn": Rerank(none, nothing, none, nothing, np.array([30], np.int32), 0.0, 2, initials),
    }
    axes = bare(figure)
    query = Query(np.array([-1], np.int32), np.array([NOW]), np.zeros(2, np.int64), *(np.zeros(0, kind) for kind in _EMPTY))
    for column, (title, wanted) in enumerate(asked.items()):
        net, nobody = Net.plain(np.ones((1, FEATURES), np.float32)), np.array([-1], np.int16)
        recommender = Recommender(sources=["popular"])
        ranked = recommender.recommend(models, query, models.catalog.interest(query), nobody, net, wanted, np.array([5]))
        axes.text(column, 1, title, ha="center")
        for place, (item, chance) in enumerate(zip(ranked.items[0].tolist(), ranked.propensity[0].tolist(), strict=True)):
            drawn, pinned = chance > 0, item in wanted.pins
            note = f"  chance {chance:.2f}" if drawn else "  pinned" if pinned else ""
            box = {"boxstyle": "square,pad=0.3", "facecolor": COLORS[item // 4 % 4], "edgecolor": "white"}
            axes.text(column, -place, f"item {item:2d}", ha="center", va="center", color="white", fontsize=7, bbox=box)
            axes.text(column + 0.17, -place, note, va="center", color=OTHER, fontsize=7)
    axes.set(xlim=(-0.5, 3.7), ylim=(-9.7, 1.6))


# Items, times, weights and blocked of a user without a history.
_EMPTY = (np.int32, np.float64, np.float32, np.uint8)
