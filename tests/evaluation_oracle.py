"""An evaluation in plain Python, by brute force from all that happened before: what `streams.evaluation` must equal.

Nothing of the product is used. The formulas are those of docs/models.md; scores are rounded to float32 where the models keep
them so, and equal scores are ranked by who came first. Worlds must be small: no ring may overflow, and every time must be a
multiple of every half-life, so that decays are powers of two.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NEIGHBORS, RECENT, ASKED, WINDOW, DEPTH = 30, 10, 5, 5, 20


class Happened(NamedTuple):
    """An event with its weight: what a user did to an item."""

    user: str
    item: str
    kind: str
    time: float
    weight: float


class Counted(NamedTuple):
    """A counted event: its number, how many the user had before, and its item's rank in each source, 0 if not within DEPTH."""

    number: int
    history: int
    ranks: dict[str, int]


@dataclass
class Learned:
    """All that happened before: positive events as visits, by item and by user, and every user's history, newest first."""

    items: list[str] = field(default_factory=list)
    visitors: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    visits: dict[str, list[Happened]] = field(default_factory=dict)
    histories: dict[str, list[Happened]] = field(default_factory=dict)

    def learn(self, one: Happened) -> None:
        self.histories.setdefault(one.user, []).insert(0, one)
        if one.weight > 0:
            if one.item not in self.items:
                self.items.append(one.item)
            mine = self.visits.setdefault(one.user, [])
            self.visitors.setdefault(one.item, []).append((one.user, len(mine)))
            mine.append(one)

    def rarity(self, item: str) -> float:
        """1 + log2(users / visits) by the bits of float32, at least 0.1."""
        users, visits = (int.from_bytes(struct.pack(">f", n), "big") for n in (len(self.visits), len(self.visitors[item])))
        return max(1.0 + (users - visits) * 2.0**-23, 0.1)


Scores = dict[str, float]


def f32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def decay(elapsed: float, half_life: float) -> float:
    return 2.0 ** (-max(elapsed, 0.0) / half_life)


def recent(history: Sequence[Happened], known: Sequence[str]) -> list[tuple[str, float, float]]:
    """The last distinct items whose newest entry is positive: item, weight, and age against the first of them."""
    newest: dict[str, Happened] = {}
    for one in history:
        if one.weight != 0 and one.item in known:
            newest.setdefault(one.item, one)
    liked = [one for one in newest.values() if one.weight > 0][:RECENT]
    return [(one.item, one.weight, liked[0].time - one.time) for one in liked]


def popularity(learned: Learned, half_life: float) -> Scores:
    scores: Scores = dict.fromkeys(learned.items, 0.0)
    for mine in learned.visits.values():
        for one in mine:
            scores[one.item] += one.weight * 2.0 ** (one.time / half_life)
    return scores


def novelty(learned: Learned, half_life: float) -> Scores:
    first = {item: min(learned.visits[user][place].time for user, place in met) for item, met in learned.visitors.items()}
    return {item: 1.0 / (1.0 + (max(first.values()) - seen) / half_life) for item, seen in first.items()}


def repeat(learned: Learned, user: str, half_life: float) -> Scores:
    history = [one for one in learned.histories[user] if one.weight != 0 and one.item in learned.items]
    asked = [item for item, _, _ in recent(history, learned.items)]
    latest = next((one.time for one in history if one.item == asked[0]), 0.0) if asked else 0.0
    scores, refused = Scores(), set()
    for one in history:
        if one.item not in scores and one.weight < 0:
            refused.add(one.item)
        if one.weight > 0 and one.item not in refused:
            scores[one.item] = f32(scores.get(one.item, 0.0) + one.weight * decay(latest - one.time, half_life))
    return scores


def covisits(learned: Learned, user: str, half_life: float) -> tuple[Scores, Scores]:
    """What lies within WINDOW places of others' visits to the user's last items: both ways, and after only."""
    parts: dict[str, list[list[float]]] = {}
    for q, (item, _, age) in enumerate(recent(learned.histories[user], learned.items)[:ASKED]):
        met = learned.visitors[item]
        looked = math.ceil(len(met) * 2.0**-q)
        share = 2.0**-q * decay(age, half_life) / math.sqrt(looked)
        for other, place in met[::-1][:looked]:
            if other != user:
                theirs = [one.item for one in learned.visits[other]]
                for way, near in ((1, theirs[place + 1 : place + 1 + WINDOW]), (0, theirs[max(0, place - WINDOW) : place][::-1])):
                    for distance, found in enumerate(near, 1):
                        if found != item:
                            part = parts.setdefault(found, [[0.0] * ASKED, [0.0] * ASKED])[way]
                            part[q] = f32(part[q] + share * (1.0 / distance))
    both, after = {}, {}
    for found, (befores, afters) in parts.items():
        earlier = later = 0.0
        for q in range(ASKED):
            earlier, later = f32(earlier + befores[q]), f32(later + afters[q])
        damped = f32(math.sqrt(f32(1.0 / len(learned.visitors[found]))))
        both[found], after[found] = f32(f32(earlier + later) * damped), later
    return both, after


def neighborhood(learned: Learned, user: str, now: float, half_life: float, path_half_life: float) -> tuple[Scores, Scores]:
    """Items of the most similar visitors, by similarity and by nearness to what is shared."""
    asked = recent(learned.histories[user], learned.items)
    weights, square = [], 0.0
    for q, (item, rating, age) in enumerate(asked):
        weights.append(rating * (1.0 - q / len(asked)) * decay(age, half_life) * learned.rarity(item))
        square += weights[-1] * weights[-1]
    met: dict[str, tuple[int, list[int]]] = {}
    for q, (item, _, _) in enumerate(asked):
        for other, place in learned.visitors[item][::-1]:
            if other != user and q not in met.setdefault(other, (place, []))[1]:
                met[other][1].append(q)
    similar: list[tuple[float, int, str]] = []
    for order, (other, (_, shared)) in enumerate(met.items()):
        dot = 0.0
        for q in shared:
            dot += weights[q]
        similarity = dot / math.sqrt(square * len(learned.visits[other])) if square > 0 else 0.0
        if similarity > 0:
            similar.append((-f32(similarity), order, other))
    by_neighbor, by_path = Scores(), Scores()
    for negative, _, other in sorted(similar)[:NEIGHBORS]:
        place, shared = met[other]
        theirs = learned.visits[other]
        along = sum(2.0**-q for q in shared) / math.sqrt(len(theirs)) * decay(now - theirs[place].time, path_half_life)
        for position, one in enumerate(theirs):
            by_neighbor[one.item] = f32(by_neighbor.get(one.item, 0.0) + f32(-negative * f32(one.weight)))
            by_path[one.item] = f32(by_path.get(one.item, 0.0) + along * 2.0 ** -abs(position - place))
    return {item: f32(score * f32(learned.rarity(item))) for item, score in by_neighbor.items()}, by_path


def rank(scores: Scores, learned: Learned, barred: set[str], item: str) -> int:
    found = [(-f32(score), learned.items.index(one)) for one, score in scores.items() if score > 1e-30 and one not in barred]
    best = [learned.items[index] for _, index in sorted(found)[:DEPTH]]
    return best.index(item) + 1 if item in best else 0


def evaluate(
    events: Sequence[Happened], half_lives: dict[str, float], warmup: int, excludes: Callable[[str], bool]
) -> list[Counted]:
    """Test, then learn, event by event; ``half_lives`` of short, long, query, path, repeat and new."""
    learned, found = Learned(), []
    for number, one in enumerate(events):
        mine = learned.histories.get(one.user, [])
        barred = {past.item for past in mine if excludes(past.kind)}
        if mine and number >= warmup and one.item not in barred:
            covisit, following = covisits(learned, one.user, half_lives["query"])
            neighbors, path = neighborhood(learned, one.user, one.time, half_lives["query"], half_lives["path"])
            scores = {"neighbors": neighbors, "path": path, "covisit": covisit, "next": following}
            scores |= {"popular": popularity(learned, half_lives["long"]), "trending": popularity(learned, half_lives["short"])}
            scores |= {"repeat": repeat(learned, one.user, half_lives["repeat"]), "new": novelty(learned, half_lives["new"])}
            ranks = {source: rank(all_of_it, learned, barred, one.item) for source, all_of_it in scores.items()}
            found.append(Counted(number, len(mine), ranks))
        learned.learn(one)
    return found


def measures(ranks: Sequence[int]) -> dict[str, float]:
    """HR@10, HR@20, MRR@20 and NDCG@10, to six digits."""
    hits = [rank for rank in ranks if rank]
    sums = {
        "hr@10": sum(rank <= 10 for rank in hits),
        "hr@20": len(hits),
        "mrr@20": math.fsum(1 / rank for rank in hits),
        "ndcg@10": math.fsum(1 / math.log2(rank + 1) for rank in hits if rank <= 10),
    }
    return {name: round(value / max(1, len(ranks)), 6) for name, value in sums.items()}
