"""Evaluation beside an independent one in plain Python: the same events counted, every rank the same, every figure the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import numpy as np
import pytest

from streams.evaluation.recorded import recorded
from streams.evaluation.report import HISTORIES, report
from streams.evaluation.run import Evaluation
from streams.models.sources import SOURCES
from streams.schemas import Event
from streams.settings import Settings
from tests import evaluation_oracle as oracle

STEP = 4 * 3600.0  # all half-lives below divide it
HALF_LIVES = {"short": 3600.0, "long": 7200.0, "query": STEP, "path": 7200.0, "repeat": STEP, "new": 3600.0}
KINDS = ("view", "view", "view", "purchase", "rating", "dislike", "impression")
CHECKED = ("neighbors", "path", "covisit", "next", "popular", "trending", "repeat", "new")


def world(seed: int, count: int = 260, users: int = 12, items: int = 34) -> list[Event]:
    """Events at few moments, of which some turn away or say nothing; a few items are met by most."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        kind = rng.choice(KINDS)
        at = STEP * (10 + number // 40)
        value = rng.choice([1.0, 2.5, 4.0, 5.0]) if kind == "rating" else None
        found.append(Event(kind, f"u{rng.randrange(users)}", f"i{int(items * rng.random() ** 1.5)}", at, at, value))
    return found


def settings(exclude: str) -> Settings:
    names = {"short": "short", "long": "long"} | {name: f"{name}_half_life" for name in ("query", "path", "repeat", "new")}
    return Settings(exclude=exclude, models={names[name]: value for name, value in HALF_LIVES.items()})


def happened(events: Sequence[Event], weigh: Settings) -> list[oracle.Happened]:
    return [
        oracle.Happened(one.user_id, one.item_id, one.type, one.time, weigh.weights.of(one.type, one.value)) for one in events
    ]


def evaluated(events: Sequence[Event], exclude: str, warmup: int) -> tuple[Evaluation, list[list[int]]]:
    """A pass, and the lists of the blend for every counted event."""
    lists: list[list[int]] = []
    found = Evaluation(
        settings(exclude),
        recorded(events),
        warmup,
        lambda _row, event, ranked, run: lists.append([run.index(event.item_id), *ranked.items[0].tolist()]),
    )
    asyncio.run(found.run())
    return found, lists


@pytest.mark.parametrize("exclude", ["none", "seen", "purchase,dislike"])
@pytest.mark.parametrize("seed", range(4))
def test_every_rank_of_every_source_is_that_of_plain_python(seed, exclude):
    events, warmup = world(seed), 30 * seed
    found, _ = evaluated(events, exclude, warmup)
    expected = oracle.evaluate(happened(events, found.settings), HALF_LIVES, warmup, found.settings.excludes)
    assert found.protocol.places.tolist() == [one.number for one in expected]
    assert found.protocol.history[found.protocol.places].tolist() == [one.history for one in expected]
    assert sum(any(one.ranks.values()) for one in expected) > 50
    for name in CHECKED:
        ranks = found.outcome.ranks[:, SOURCES.index(name)].tolist()
        assert ranks == [one.ranks[name] for one in expected], name
        assert report(found, 0.0)["sources"][name] == oracle.measures(ranks)


@pytest.mark.parametrize("exclude", ["none", "seen", "dislike"])
def test_the_blend_is_counted_from_its_own_lists(exclude):
    found, lists = evaluated(world(9), exclude, 20)
    ranks = [items.index(target) + 1 if target >= 0 and target in items else 0 for target, *items in lists]
    assert found.outcome.blend.tolist() == ranks
    told = report(found, 0.0)
    assert told["blend"] == oracle.measures(ranks)
    before = found.protocol.history[found.protocol.places].tolist()
    for name, (least, most) in HISTORIES.items():
        own = [rank for rank, history in zip(ranks, before, strict=True) if least <= history <= most]
        assert told["history"][name] == {"scored": len(own), **oracle.measures(own)}


def test_what_is_told_of_users_items_and_lists_is_a_plain_count():
    events = world(5)
    found, lists = evaluated(events, "none", 50)
    told, counted = report(found, 0.0), found.protocol.places.tolist()
    ranks, users = found.outcome.blend.tolist(), [events[number].user_id for number in counted]
    firsts = [rank for place, rank in enumerate(ranks) if users[place] not in users[:place]]
    assert told["new_users"] == {"scored": len(firsts), **oracle.measures(firsts)}
    items = [one.item_id for one in events]
    unknown = [number for number in counted if items[number] not in items[:number]]
    assert told["items"]["new_share"] == round(len(unknown) / len(counted), 6)
    ages = {number: events[number].time - events[items.index(items[number])].time for number in counted}
    lately = [rank for number, rank in zip(counted, ranks, strict=True) if number not in unknown and ages[number] < 86_400]
    assert told["items"]["lately"] == {"scored": len(lately), **oracle.measures(lately)}
    shown = [item for _, *listed in lists for item in listed[:10] if item >= 0]
    known = [one.item_id for one in events if found.settings.weights.of(one.type, one.value) > 0]
    assert told["lists"]["known_items"] == len(set(known))
    assert told["lists"]["coverage"] == round(len(set(shown)) / len(set(known)), 6)
    pairs = [abs(shown.count(a) - shown.count(b)) for a in range(len(set(known))) for b in range(len(set(known)))]
    assert told["lists"]["gini"] == pytest.approx(sum(pairs) / (2 * len(set(known)) * len(shown)), abs=1e-6)
    index = {name.decode(): number for number, name in enumerate(found.models.items.names(range(len(set(known)))))}
    visits = {index[item]: items.count(item) for item in set(known)}
    places = [1 + sum(other > visits[item] for other in visits.values()) for item in shown]
    assert told["lists"]["popularity_rank"] == pytest.approx(np.mean(places), abs=0.06)
