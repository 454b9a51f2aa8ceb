"""Rerank: from the order of the blend to the list that is shown, by boosts, pins, diversity and exploration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.candidates import eligible
from streams.models.chance import draw
from streams.models.compile import inlined, lean
from streams.models.sources import SOURCES
from streams.models.top import index_of, key, offer, score_of

__all__ = ["GIVEN", "HEAD", "NEUTRAL", "PIN", "PLACES", "Rerank", "Room", "new_room", "rerank"]

# The source that a pinned item names.
PIN = len(SOURCES)

# How the list shows a candidate: its place from 1 in the low bits, 0 for none; and whether that place was given away by a
# pin or by chance, so that who acts on it says nothing of the order.
PLACES, GIVEN = 0x7F, 0x80

# Diversity chooses among so many times the list's size of the best candidates.
HEAD = 5

# Tokens are looked up by their last bits first: most are asked for by nobody.
HINT = 31

# The initials of the tokens by which items are alike.
BRAND, CATEGORY = ord("b"), ord("c")


class Rerank(NamedTuple):
    """What the shop asks of its lists, in the models' numbers.

    ``tokens`` int32[t] and ``items`` int32[b], ascending, with what each adds, ``token_boosts`` float32[t] and ``item_boosts``
    float32[b], in standard deviations; ``pins`` int32[p], the item of each place from the first, -1 none; ``diversity`` from 0
    to 1; ``explore``, how many of the last places are drawn; ``initials`` uint8[T], the first letter of each token.
    """

    tokens: NDArray[np.int32]
    token_boosts: NDArray[np.float32]
    items: NDArray[np.int32]
    item_boosts: NDArray[np.float32]
    pins: NDArray[np.int32]
    diversity: float
    explore: int
    initials: NDArray[np.uint8]


_NONE, _NOTHING = np.zeros(0, np.int32), np.zeros(0, np.float32)
NEUTRAL = Rerank(_NONE, _NOTHING, _NONE, _NOTHING, _NONE, 0.0, 0, np.zeros(0, np.uint8))


class Room(NamedTuple):
    """Scratch of one user.

    ``order`` int64[1, C] and ``ordered`` int64[1]: keys of boosted score and item, best first; ``used`` uint8[C]: who of them is
    placed; ``kinds`` int32[H + 1, t] and ``kind_counts`` int32[H + 1]: the brand and categories of the first, in the last row
    those of who was placed last; ``nearest`` float32[H]: likeness to the likest placed; ``shown`` uint8[C]: by member.
    """

    order: NDArray[np.int64]
    ordered: NDArray[np.int64]
    used: NDArray[np.uint8]
    kinds: NDArray[np.int32]
    kind_counts: NDArray[np.int32]
    nearest: NDArray[np.float32]
    shown: NDArray[np.uint8]


def new_room(candidates: int, size: int, tokens: int) -> Room:
    """Make scratch for so many candidates, lists of this size, and so many tokens of an item."""
    head, used = min(candidates, HEAD * size), np.zeros(candidates, np.uint8)
    kinds = np.zeros((head + 1, tokens), np.int32), np.zeros(head + 1, np.int32)
    order = np.zeros((1, candidates), np.int64), np.zeros(1, np.int64)
    return Room(*order, used, *kinds, np.zeros(head, np.float32), np.zeros(candidates, np.uint8))


@inlined
def _amount(numbers: Any, amounts: Any, number: int) -> Any:
    """Look a number up among ascending ones; 0 where it is not."""
    low, high = 0, numbers.shape[0]
    while low < high:
        middle = (low + high) // 2
        if numbers[middle] < number:
            low = middle + 1
        else:
            high = middle
    return amounts[low] if low < numbers.shape[0] and numbers[low] == number else np.float32(0.0)


@inlined
def _boost_of(asked: Any, hinted: int, item_tokens: Any, item: int) -> Any:
    """Add up what is asked for the item and for each of its tokens; ``hinted`` has a bit for each that may be asked for."""
    boost = _amount(asked.items, asked.item_boosts, item)
    for t in range(item_tokens.shape[1] if hinted != 0 and item < item_tokens.shape[0] else 0):
        token = item_tokens[item, t]
        if token < 0:
            break
        if hinted >> (token & HINT) & 1:
            boost += _amount(asked.tokens, asked.token_boosts, token)
    return boost


@lean
def _unit(candidates: Any) -> float:
    """Give the standard deviation of the candidates' scores; 1 where all are equal."""
    size, mean, square = candidates.ordered[0], 0.0, 0.0
    for rank in range(size):
        mean += score_of(candidates.order[0, rank]) / size
    for rank in range(size):
        square += (score_of(candidates.order[0, rank]) - mean) ** 2 / size
    return float(np.sqrt(square)) if square > 0.0 else 1.0


@lean
def _boost(asked: Any, item_tokens: Any, candidates: Any, room: Any) -> None:
    """Order the candidates by boosted score, equal ones by item as the blend does."""
    size, room.ordered[0] = candidates.ordered[0], 0
    boosted = asked.tokens.shape[0] + asked.items.shape[0] > 0
    unit, hinted = _unit(candidates) if boosted else 0.0, 0
    for token in asked.tokens:
        hinted |= 1 << (token & HINT)
    for rank in range(size):
        joined = candidates.order[0, rank]
        room.used[rank] = 0
        if boosted:
            item = np.int64(index_of(joined))
            boost = _boost_of(asked, hinted, item_tokens, item)
            offer(room.order, 0, room.ordered, key(score_of(joined) + np.float32(boost * unit), item))
        else:
            room.order[0, rank] = joined


@lean
def _pinned(asked: Any, place: int, available: Any, pool: Any) -> Any:
    """Give the item that stands at a place, or -1: it must be available, and not barred for the user."""
    item = np.int64(asked.pins[place]) if place < asked.pins.shape[0] else np.int64(-1)
    if item < 0 or item >= pool.slots.shape[0]:
        return np.int64(-1)
    row = pool.slots[item]
    flags = pool.flags[row] if row >= 0 else np.uint8(0)
    return item if eligible(flags, available, item) else np.int64(-1)


@lean
def _reserve(asked: Any, size: int, available: Any, pool: Any, members: int, room: Any) -> int:
    """Take pinned candidates out of the race for the other places; return how many of the last places are left to chance."""
    drawn = 0
    for place in range(size):
        item = _pinned(asked, place, available, pool)
        if item < 0 and place >= size - asked.explore:
            drawn += 1
        rank = _rank_of(room, members, item) if item >= 0 else -1
        if rank >= 0:
            room.used[rank] = 1
    return drawn


@lean
def _rank_of(room: Any, members: int, item: int) -> int:
    for rank in range(members):
        if index_of(room.order[0, rank]) == item:
            return rank
    return -1


@inlined
def _describe(asked: Any, item_tokens: Any, item: int, room: Any, row: int) -> None:
    """Write an item's brand and categories into a row."""
    found = 0
    for t in range(item_tokens.shape[1] if item < item_tokens.shape[0] else 0):
        token = item_tokens[item, t]
        if token < 0 or token >= asked.initials.shape[0]:
            break
        if asked.initials[token] == BRAND or asked.initials[token] == CATEGORY:
            room.kinds[row, found] = token
            found += 1
    room.kind_counts[row] = found


@inlined
def _likeness(room: Any, one: int, other: int) -> Any:
    """Give the share of brand and categories that two have in common (Jaccard); 0 where nothing is known of either."""
    common, mine, theirs = 0, room.kind_counts[one], room.kind_counts[other]
    for x in range(mine):
        for y in range(theirs):
            common += room.kinds[one, x] == room.kinds[other, y]
    return np.float32(common / (mine + theirs - common)) if common > 0 else np.float32(0.0)


@lean
def _approach(asked: Any, item_tokens: Any, item: int, head: int, room: Any) -> None:
    """Note how like to the item just placed the others are."""
    last = room.kinds.shape[0] - 1
    _describe(asked, item_tokens, item, room, last)
    if room.kind_counts[last] > 0:
        for rank in range(head):
            if room.used[rank] == 0:
                room.nearest[rank] = max(room.nearest[rank], _likeness(room, rank, last))


@inlined
def _next(diversity: float, members: int, head: int, room: Any) -> int:
    """Choose who comes next: the best left, or by maximal marginal relevance among the first; -1 if nobody is left."""
    best, highest = -1, -np.inf
    lowest = score_of(room.order[0, head - 1]) if head > 0 else 0.0
    span = score_of(room.order[0, 0]) - lowest if head > 0 else 0.0
    for rank in range(members if diversity == 0.0 else head):
        if room.used[rank] != 0:
            continue
        if diversity == 0.0:
            return rank
        relevance = (score_of(room.order[0, rank]) - lowest) / span if span > 0.0 else 1.0
        value = (1.0 - diversity) * relevance - diversity * room.nearest[rank]
        if value > highest:
            best, highest = rank, value
    return best


@lean
def _dealt(seed: Any, slot: int, slots: int, members: int, room: Any) -> tuple[int, int]:
    """Draw one of those who are left and were dealt to this slot, all as likely; give its rank, -1 for none, and out of how many.

    They are dealt in turn, best first, so that slots do not depend on each other, and nobody can stand at two.
    """
    left = 0
    for rank in range(members):
        left += room.used[rank] == 0
    dealt = (left - slot + slots - 1) // slots
    at = draw(seed, slot, dealt) * slots + slot if dealt > 0 else -1
    for rank in range(members if at >= 0 else 0):
        if room.used[rank] == 0:
            if at == 0:
                return rank, dealt
            at -= 1
    return -1, dealt


@lean
def rerank(asked: Any, seed: Any, shelves: Any, pool: Any, candidates: Any, room: Any, user: int, answer: Any) -> None:
    """Write a user's list: items, scores, propensities, and who is pinned; and note by member what is shown where.

    Place by place: the item pinned there; in the last ``explore`` places one drawn from those left; else the best left by boosted
    score and diversity. Where nobody is left, what follows moves up.
    """
    members, size, count, slot = candidates.ordered[0], answer.items.shape[1], 0, 0
    room.shown[: candidates.size[0]] = 0
    _boost(asked, shelves.item_tokens, candidates, room)
    drawn = _reserve(asked, size, shelves.available, pool, members, room)
    head = min(members, room.nearest.shape[0]) if asked.diversity > 0.0 else 0
    for rank in range(head):
        room.nearest[rank] = 0.0
        _describe(asked, shelves.item_tokens, np.int64(index_of(room.order[0, rank])), room, rank)
    for place in range(size):
        item, given, chance = _pinned(asked, place, shelves.available, pool), 0, 0
        if item >= 0:
            rank, given = _rank_of(room, members, item), GIVEN
            answer.source[user, count, 0], answer.share[user, count, 0] = PIN, 1.0
        elif place >= size - asked.explore:
            rank, chance = _dealt(seed, slot, drawn, members, room)
            slot, given = slot + 1, GIVEN
        else:
            rank = _next(asked.diversity, members, head, room)
        if rank < 0 and item < 0:
            continue
        if rank >= 0:
            item = np.int64(index_of(room.order[0, rank]))
            answer.scores[user, count] = score_of(room.order[0, rank])
            room.shown[candidates.member[pool.slots[item]]] = min(count + 1, PLACES) | given
            if chance == 0:
                room.used[rank] = 1
        answer.items[user, count] = item
        answer.propensity[user, count] = np.float32(1.0 / chance) if chance > 0 else np.float32(0.0)
        if head > 0:
            _approach(asked, shelves.item_tokens, item, head, room)
        count += 1
    answer.counts[user] = count
