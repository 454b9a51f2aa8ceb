"""Running sums per pair of users over the items that both rated, in whole numbers: exact, order-free, erasable."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams.models.compile import Int64, inlined, kernel, lean
from streams.models.prefetch import prefetch
from streams.models.ratings import (
    ABSENT,
    COUNT,
    FREE,
    HEAD,
    ITEM,
    NEXT_ITEM,
    NEXT_RATER,
    NONE,
    PAIRS,
    ROWS,
    SIZE,
    SUM,
    USER,
    VALUE,
    find,
    link,
    unlink,
)
from streams.models.wide import add, product

__all__ = ["DONE", "FULL", "KEY", "LIMIT_SUM", "NO_ROWS", "TOO_MUCH", "XX", "XY", "YY", "N", "X", "Y"]
__all__ += ["key_of", "load", "meet", "new_pairs", "place_of", "put"]

# Columns of a pair; x are the ratings of the user with the lower index. A product's sum has 128 bits, in two columns.
KEY, N, X, Y, XX, _, YY, _, XY, _, COLUMNS = range(11)

# Magnitudes of a user's ratings in steps, added up: no sum of ratings can leave 63 bits then.
LIMIT_SUM = 1 << 62
# Why put stopped.
DONE, NO_ROWS, FULL, TOO_MUCH = range(4)
# Raters whose pairs are asked for before they are changed.
BLOCK = 32

# Multipliers and shift of MurmurHash3's 64-bit finalizer (Appleby 2011).
FIRST = np.uint64(0xFF51AFD7ED558CCD)
SECOND = np.uint64(0xC4CEB9FE1A85EC53)
HALF = np.uint64(33)


def new_pairs(capacity: int) -> Int64:
    """Make an empty table: open addressing with linear probing, a power of two of rows, empty where the key is 0."""
    return np.full((capacity, COLUMNS), 0, np.int64)


@inlined
def key_of(user: int, other: int) -> int:
    """Join the two users of a pair, in either order; never 0."""
    return (user << 32) | other if user < other else (other << 32) | user


@inlined
def _home(key: int, mask: int) -> Any:
    state = np.uint64(key)
    state = (state ^ (state >> HALF)) * FIRST
    state = (state ^ (state >> HALF)) * SECOND
    return np.int64(state ^ (state >> HALF)) & mask


@lean
def place_of(pairs: Any, key: int) -> Any:
    """Find the row of a pair, or the empty row where it belongs."""
    mask = pairs.shape[0] - 1
    place = _home(key, mask)
    while pairs[place, KEY] != 0 and pairs[place, KEY] != key:
        place = (place + 1) & mask
    return place


@lean
def _close(pairs: Any, gap: int) -> None:
    """Empty a row, and move rows after it back over the gap, so that every pair is still found."""
    mask = pairs.shape[0] - 1
    at = (gap + 1) & mask
    while pairs[at, KEY] != 0:
        if (at - _home(pairs[at, KEY], mask)) & mask >= (at - gap) & mask:
            _copy(pairs, at, pairs, gap)
            gap = at
        at = (at + 1) & mask
    for column in range(COLUMNS):
        pairs[gap, column] = 0


@inlined
def _copy(pairs: Any, place: int, others: Any, other: int) -> None:
    for column in range(COLUMNS):
        others[other, column] = pairs[place, column]


@inlined
def _add(pairs: Any, place: int, column: int, left: int, right: int) -> None:
    low, upper = product(left, right)
    low, upper = add(pairs[place, column], pairs[place, column + 1], low, upper)
    pairs[place, column], pairs[place, column + 1] = low, upper


@lean
def _move(state: Any, user: int, came: int, before: int, after: int, other: int, value: int) -> None:
    """Change what the user's rating adds to the pair with one other rater of the item.

    ``came`` is 1 if the rating is new (``before`` is 0 then), -1 if it goes (``after`` is 0 then), else 0.
    """
    pairs, key = state.pairs, key_of(user, other)
    place = place_of(pairs, key)
    if pairs[place, KEY] == 0:
        pairs[place, KEY] = key
        state.used[PAIRS] += 1
    second = 0 if user < other else 1
    change = after - before
    pairs[place, N] += came
    pairs[place, X + second] += change
    pairs[place, Y - second] += came * value
    _add(pairs, place, XX + 2 * second, change, after + before)
    _add(pairs, place, YY - 2 * second, came * value, value)
    _add(pairs, place, XY, change, value)
    if pairs[place, N] == 0:
        _close(pairs, place)
        state.used[PAIRS] -= 1


@lean
def _spread(state: Any, block: Any, user: int, item: int, came: int, before: int, after: int) -> None:
    """Carry a change of the user's rating into the pairs with all other raters of the item."""
    ratings, mask = state.ratings, state.pairs.shape[0] - 1
    row = state.items[item, HEAD]
    while row != NONE:
        size = 0
        while row != NONE and size < block.size:
            other = ratings[row, USER]
            if other != user:
                home = _home(key_of(user, other), mask)
                # A row is longer than a cache line.
                prefetch(state.pairs, home, KEY)
                prefetch(state.pairs, home, XY + 1)
                block[size] = row
                size += 1
            row = ratings[row, NEXT_RATER]
        for n in range(size):
            _move(state, user, came, before, after, ratings[block[n], USER], ratings[block[n], VALUE])


@lean
def _missing(state: Any, user: int, item: int) -> int:
    """Count the raters of the item with whom the user is no pair yet."""
    missing, row = 0, state.items[item, HEAD]
    while row != NONE:
        key = key_of(user, state.ratings[row, USER])
        missing += 1 if state.pairs[place_of(state.pairs, key), KEY] == 0 else 0
        row = state.ratings[row, NEXT_RATER]
    return missing


@lean
def _refused(state: Any, user: int, item: int, room: int) -> int:
    """Tell why there is no room for a new rating; DONE if there is."""
    if state.used[FREE] == NONE and state.used[ROWS] == state.ratings.shape[0]:
        return NO_ROWS
    used = state.used[PAIRS]
    # The count of raters is at hand; only near the limit each is looked up.
    if used + state.items[item, COUNT] > room and used + _missing(state, user, item) > room:
        return FULL
    return DONE


@kernel
def put(state: Any, users: Any, items: Any, values: Any, was: Any, begin: int, room: int) -> tuple[int, int]:
    """Set ratings in order, from ``begin`` on; ``values`` int64[n] are in steps, ABSENT takes a rating away.

    Writes what each rating was before to ``was`` int64[n]. Stops at what would take more than ``room`` pairs.

    Returns
    -------
    place, why : int
        Where in the batch it stopped, n at its end; DONE, NO_ROWS, FULL or TOO_MUCH.
    """
    block = np.empty(BLOCK, np.int64)
    for n in range(begin, users.size):
        user, item, value = np.int64(users[n]), np.int64(items[n]), values[n]
        row = find(state, user, item)
        was[n] = state.ratings[row, VALUE] if row != NONE else ABSENT
        if was[n] == value:
            continue
        came = (1 if value != ABSENT else 0) - (1 if row != NONE else 0)
        before, after = was[n] if row != NONE else 0, value if value != ABSENT else 0
        if state.users[user, SIZE] - abs(before) + abs(after) > LIMIT_SUM:
            return n, TOO_MUCH
        why = _refused(state, user, item, room) if came == 1 else DONE
        if why != DONE:
            return n, why
        state.users[user, SUM] += after - before
        state.users[user, SIZE] += abs(after) - abs(before)
        _spread(state, block, user, item, came, before, after)
        if came == 1:
            link(state, user, item, value)
        elif came == -1:
            unlink(state, row)
        else:
            state.ratings[row, VALUE] = value
    return users.size, DONE


@kernel
def load(state: Any, users: Any, items: Any, values: Any, pairs: Any) -> None:
    """Enter ratings that are not there yet, and rows of pairs, empty ones left out: nothing is summed."""
    for n in range(users.size):
        user, value = np.int64(users[n]), values[n]
        link(state, user, np.int64(items[n]), value)
        state.users[user, SUM] += value
        state.users[user, SIZE] += abs(value)
    for n in range(pairs.shape[0]):
        if pairs[n, KEY] != 0:
            _copy(pairs, n, state.pairs, place_of(state.pairs, pairs[n, KEY]))
            state.used[PAIRS] += 1


@kernel
def meet(state: Any, user: int) -> Int64:
    """List all who rated an item that the user rated, int64[m], each once, in ascending order."""
    seen = np.zeros(state.users.shape[0], np.uint8)
    mine = state.users[user, HEAD]
    while mine != NONE:
        row = state.items[state.ratings[mine, ITEM], HEAD]
        while row != NONE:
            seen[state.ratings[row, USER]] = 1
            row = state.ratings[row, NEXT_RATER]
        mine = state.ratings[mine, NEXT_ITEM]
    seen[user] = 0
    return np.flatnonzero(seen)
