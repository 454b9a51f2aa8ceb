"""Pictures of the sources: each is asked in a small world where only one thing changes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streams.models.catalog import Catalog
from streams.models.hidden import Net
from streams.models.ids import pack
from streams.models.popularity import DAY, Popularity
from streams.models.query import Query
from streams.models.recommend import Recommender
from streams.models.sources import FEATURES, SOURCES
from streams.models.tokens import tokenize
from streams.models.visits import Visits, held

INK, PALE, OTHER = "#1f6f8b", "#c9ced3", "#d1603d"
NOW = 100 * DAY


def taught(users: Sequence[int], items: Sequence[int], times: Sequence[float], **parameters: int) -> SimpleNamespace:
    """Teach visits, popularity and catalogue these visits."""
    who, what, when = np.array(users, np.int32), np.array(items, np.int32), np.array(times, np.float64)
    models = SimpleNamespace(visits=Visits(**parameters), popularity=Popularity(), catalog=Catalog())
    weights = np.ones(len(who), np.float32)
    models.visits.apply(who, what, weights, when)
    models.popularity.apply(what, weights, when, np.full(len(who), -1, np.int16))
    models.catalog.visit(models.visits, who, what)
    return models


def shares(models: SimpleNamespace, source: str, history: Sequence[tuple[int, float]], user: int = -1) -> dict[int, float]:
    """Ask one source for one user with (item, time) newest first: each item's score over the best one's."""
    items, times = (np.array(column) for column in zip(*history, strict=True))
    starts, ones = np.array([0, len(items)]), np.ones(len(items))
    query = Query(
        np.array([user], np.int32), np.array([NOW]), starts, items.astype(np.int32), times, ones.astype(np.float32), 0 * ones
    )
    net, segments = Net.plain(np.ones((1, FEATURES), np.float32)), np.array([-1], np.int16)
    recommender = Recommender(per_source=100, keep=1000, judged=100, size=30, sources=[source])
    ranked = recommender.recommend(models, query, models.catalog.interest(query), segments, net)
    found = ranked.features[:, SOURCES.index(source)] ** 2
    return dict(zip(ranked.candidates.tolist(), found.tolist(), strict=True))


def visits(figure: Figure) -> None:
    """An item's ring of the last visitors, and what of it still counts."""
    random = np.random.default_rng(3)
    users, items = random.integers(0, 4, 60), random.integers(0, 6, 60)
    model = taught(users, items, np.arange(60.0), visitors=6, length=8).visits
    axes = bare(figure)
    for item in range(6):
        axes.text(-0.7, -item, f"item {item}", ha="right", va="center")
        for cell, (user, position) in enumerate(zip(model.item_users[item], model.item_positions[item], strict=True)):
            counts = held(model.user_count, user, position, model.length)
            axes.text(
                cell, -item, f"{user}:{position}", ha="center", va="center", color="white" if counts else "#777777",
                bbox={"boxstyle": "square,pad=0.45", "facecolor": INK if counts else "#eef0f2", "edgecolor": "white"},
            )  # fmt: skip
    axes.set(xlim=(-2.2, 5.8), ylim=(-5.7, 0.7))


def neighbors(figure: Figure) -> None:
    """Similarity rises with what is shared."""
    shared, known = range(1, 9), range(8)
    users, items = [0] * 8, list(known)
    for user in shared:
        users += [user] * 8
        items += [*range(user), *range(100 + 10 * user, 108 + 9 * user)]
    models = taught(users, items, [NOW - 1] * len(users))
    query = Query(
        np.array([0], np.int32), np.array([NOW]), np.array([0, 8]), np.array(known, np.int32), np.full(8, NOW - 1),
        np.ones(8, np.float32), np.zeros(8),
    )  # fmt: skip
    net, segments = Net.plain(np.ones((1, FEATURES), np.float32)), np.array([-1], np.int16)
    ranked = Recommender().recommend(models, query, models.catalog.interest(query), segments, net)
    found = dict(zip(ranked.neighbors[0].tolist(), ranked.similarity[0].tolist(), strict=True))
    axes = axes_of(figure, "items shared, of eight each; those last visited come first", "similarity")
    axes.bar(list(shared), [found.get(user, 0.0) for user in shared], color=INK, width=0.6)


def path(figure: Figure) -> None:
    """A neighbor's item counts the more the nearer it stands to the one shared."""
    away = np.arange(-8, 9)
    users, items = [1] * 17, (away + 20).tolist()
    found = shares(taught(users, items, NOW - 100.0 + away), "path", [(20, NOW)])
    axes = axes_of(figure, "place in the neighbor's order, from the item shared", "score, of the best")
    axes.bar(away, [found.get(item, 0.0) for item in items], color=[PALE if place == 0 else INK for place in away], width=0.6)
    axes.set_xticks(away[::2])
    axes.text(0.5, 0.93, "shared", color="#7b8188")


def covisit(figure: Figure) -> None:
    """Before and after count alike for one, only after for the other."""
    away = np.arange(-6, 7)
    models = taught([1] * 13, (away + 20).tolist(), NOW - 100.0 + away)
    axes = axes_of(figure, "place in the visitor's order, from the user's item", "score, of the best")
    for source, color, shift in (("covisit", PALE, -0.2), ("next", INK, 0.2)):
        found = shares(models, source, [(20, NOW)])
        heights = [found.get(int(place) + 20, 0.0) for place in away]
        axes.bar(away + shift, heights, color=color, width=0.38)
    axes.text(-1.55, 0.9, "covisit", color="#7b8188", ha="right")
    axes.text(1.6, 0.9, "next", color=INK)


def popular(figure: Figure) -> None:
    """A burst rules what is trending for a day or two, and is forgotten there first."""
    model, random = Popularity(), np.random.default_rng(5)
    days = np.arange(0, 40, 0.25)
    counts = np.zeros((4, len(days)))
    for n, day in enumerate(days.tolist()):
        burst = 40 if 15 <= day < 16 else 0
        for item, rate in ((0, 3.0), (1, 0.2 + burst)):
            model.apply([item] * (many := int(random.poisson(rate))), [1] * many, [day * DAY] * many, [-1] * many)
        which = (("long", 0), ("long", 1), ("short", 0), ("short", 1))
        counts[:, n] = [model.count(item, day * DAY, length) for length, item in which]  # type: ignore[arg-type]
    for place, title in ((0, "popular: half in 30 days"), (1, "trending: half in a day")):
        axes = axes_of(figure, "days", "count" if place == 0 else "", (1, 2, place + 1))
        axes.plot(days, counts[2 * place], color="#7b8188")
        axes.plot(days, counts[2 * place + 1], color=OTHER)
        axes.set_title(title, fontsize=9, loc="left")
        axes.text(39, counts[2 * place, -1], "steady", color="#7b8188", ha="right", va="bottom")
        axes.text(14, counts[2 * place + 1].max() * 0.93, "burst", color=OTHER, ha="right")


def segment(figure: Figure) -> None:
    """With little evidence an item counts as ordinary, however often it was visited for its size."""
    seen = [1, 2, 5, 10, 20, 50, 100, 200, 500]
    axes = axes_of(figure, "visits of the segment to the item", "lift")
    for times, color in ((1, "#7b8188"), (2, INK), (5, OTHER)):
        lifts = []
        for many in seen:
            model = Popularity()
            # The segment has a tenth of all visits, and its share of this item is so many times that.
            others = 10 * many // times - many
            model.apply([0] * many + [0] * others, [1] * (many + others), [0.0] * (many + others), [0] * many + [-1] * others)
            # So many that the item itself hardly moves what all visits say.
            model.apply([1, 1], [200_000, 1_800_000], [0.0, 0.0], [0, -1])
            items, found = model.lifts(0)
            lifts.append(float(found[items.tolist().index(0)]))
        axes.plot(seen, lifts, color=color, marker=".")
        axes.text(540, lifts[-1], f"{times} times its share", color=color, va="center")
    axes.set(xscale="log", xlim=(0.9, 3000))


def content(figure: Figure) -> None:
    """Items of one category lie together though they share few words, and one without an entry lies where it is visited."""
    random, kinds = np.random.default_rng(1), ("tea", "tools", "toys")
    catalog, items, tokens, starts = Catalog(), [], [], [0]
    for item in range(30):
        entry = tokenize(f"{kinds[item % 3]} {'abcdefghij'[item // 3]}", f"brand {item % 7}", kinds[item % 3], 1.0 + item)
        items, tokens = [*items, item], tokens + entry
        starts.append(len(tokens))
    catalog.apply(np.array(items, np.int32), pack(tokens), np.array(starts), np.ones(30, np.uint8), np.arange(30))
    users = np.repeat(np.arange(60), 6)
    what = users % 3 + 3 * random.integers(0, 10, len(users))
    what[(users % 3 == 0) & (random.random(len(users)) < 0.3)] = 30  # it has no entry, and is visited with tea
    catalog.visit(None, users.astype(np.int32), what.astype(np.int32))
    vectors = sum(part[:31] / np.maximum(np.linalg.norm(part[:31], axis=1, keepdims=True), 1e-9)
                  for part in (catalog.content, catalog.context))  # fmt: skip
    middle = vectors - vectors.mean(axis=0)
    main = np.linalg.svd(middle, full_matrices=False)[2][:2]
    # Which way an axis points is anybody's choice: so that its largest part is positive.
    flat = middle @ (main * np.sign(main[np.arange(2), np.abs(main).argmax(axis=1)])[:, None]).T
    axes = bare(figure)
    for kind, color in enumerate((INK, "#7b8188", "#c9a227")):
        points = flat[kind:30:3]
        axes.scatter(*points.T, color=color, s=22)
        axes.text(points[:, 0].mean(), points[:, 1].max() + 0.06, kinds[kind], color=color, ha="center", fontweight="bold")
    axes.scatter(*flat[30], color=OTHER, marker="D", s=36)
    axes.annotate("no entry, visited with tea", flat[30], (8, 0), textcoords="offset points", color=OTHER, va="center")
    axes.margins(0.3)


def repeat(figure: Figure) -> None:
    """Often and long ago against once and lately."""
    axes = axes_of(figure, "days since the newest visit to the item", "score")
    ages = np.arange(0, 91, 3.0)
    for times, color in ((1, PALE), (3, INK)):
        scores = []
        for age in ages:
            # Beside an item that was visited five times just now, whose score is five.
            history = [(0, NOW)] * 5 + [(1, NOW - age * DAY)] * times
            scores.append(5 * shares(taught([9], [5], [0.0]), "repeat", history)[1])
        axes.plot(ages, np.array(scores), color=color if times > 1 else "#7b8188")
        label = "once" if times == 1 else f"{times} times"
        axes.text(30, scores[10] + 0.1, label, color=INK if times > 1 else "#7b8188")


def new(figure: Figure) -> None:
    """What came yesterday counts much more than what came last month."""
    ages = np.arange(0, 43, 1.5)
    models = taught([1] * len(ages), range(len(ages)), NOW - ages * DAY)
    found = shares(models, "new", [(99, NOW)])
    axes = axes_of(figure, "days between its first visit and the newest item's", "score")
    axes.bar(ages, [found.get(item, 0.0) for item in range(len(ages))], color=INK, width=1.0)


def axes_of(figure: Figure, x: str, y: str, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    """Add axes with these labels."""
    axes = figure.add_subplot(*place)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel=x, ylabel=y)
    return axes


def bare(figure: Figure) -> Axes:
    """Add a plane without axes."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    return axes
