"""Ratings at rest: one row each, in the list of the item's raters and in that of the user's items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from streams.models.compile import Int64, inlined, kernel, lean

__all__ = [
    "ABSENT",
    "COUNT",
    "FREE",
    "HEAD",
    "ITEM",
    "NEXT_ITEM",
    "NEXT_RATER",
    "NONE",
    "PAIRS",
    "ROWS",
    "SIZE",
    "SUM",
    "USER",
    "VALUE",
    "State",
    "empty",
    "find",
    "held",
    "link",
    "more_rows",
    "reach",
    "rows_of",
    "unlink",
]

# Columns of a rating: what was rated, then the rows after and before it in its two lists.
USER, ITEM, VALUE, NEXT_RATER, LAST_RATER, NEXT_ITEM, LAST_ITEM = range(7)
# Columns of a user; an item has the first two. SIZE adds up the ratings' magnitudes.
HEAD, COUNT, SUM, SIZE = range(4)
# What is in use: pairs, rows of ratings ever used, and the first of those given back.
PAIRS, ROWS, FREE = range(3)

NONE = -1
# No rating, where a rating is asked for or told.
ABSENT = np.iinfo(np.int64).min


class State(NamedTuple):
    """Ratings, and sums of pairs.

    ``pairs`` int64[C, 10]: see :mod:`streams.models.pairs`; ``ratings`` int64[R, 7]: rows in two doubly linked lists;
    ``users`` int64[U, 4] and ``items`` int64[I, 2]: heads of those lists (-1: empty), counts and sums; ``used`` int64[3].
    """

    pairs: Int64
    ratings: Int64
    users: Int64
    items: Int64
    used: Int64


def empty(pairs: Int64) -> State:
    """Hold nothing, beside this table of pairs."""
    rows = np.full((0, 7), 0, np.int64), np.full((0, 4), 0, np.int64), np.full((0, 2), 0, np.int64)
    return State(pairs, *rows, np.array([0, 0, NONE]))


def more_rows(array: Int64, rows: int, head: int = 0) -> Int64:
    """Copy into at least twice the rows; the new ones hold 0, and ``head`` in their first column."""
    if rows <= len(array):
        return array
    more = np.full((max(rows, 2 * len(array)), array.shape[1]), 0, np.int64)
    more[:, HEAD] = head
    more[: len(array)] = array
    return more


@kernel
def reach(users: Any, items: Any) -> tuple[int, int, int]:
    """Tell the least index of all, the greatest user and the greatest item; 0, -1 and -1 of none."""
    least, most_user, most_item = 0, NONE, NONE
    for n in range(users.size):
        user, item = users[n], items[n]
        least = min(least, user, item)
        most_user, most_item = max(most_user, user), max(most_item, item)
    return least, most_user, most_item


@lean
def find(state: Any, user: int, item: int) -> Any:
    """Find a rating among those of the item or those of the user, whichever are fewer; -1 if there is none."""
    if state.items[item, COUNT] <= state.users[user, COUNT]:
        row = state.items[item, HEAD]
        while row != NONE and state.ratings[row, USER] != user:
            row = state.ratings[row, NEXT_RATER]
        return row
    row = state.users[user, HEAD]
    while row != NONE and state.ratings[row, ITEM] != item:
        row = state.ratings[row, NEXT_ITEM]
    return row


@kernel
def held(state: Any, users: Any, items: Any, answers: Any) -> None:
    """Write each rating in steps to ``answers`` int64[n], ABSENT where there is none."""
    for n in range(users.size):
        row = find(state, np.int64(users[n]), np.int64(items[n]))
        answers[n] = state.ratings[row, VALUE] if row != NONE else ABSENT


@kernel
def rows_of(state: Any, user: int) -> Int64:
    """List the rows of a user's ratings, int64[m], the newest first."""
    rows = np.empty(state.users[user, COUNT], np.int64)
    row = state.users[user, HEAD]
    for n in range(rows.size):
        rows[n] = row
        row = state.ratings[row, NEXT_ITEM]
    return rows


@lean
def link(state: Any, user: int, item: int, value: int) -> None:
    """Enter a new rating into both lists."""
    row = state.used[FREE]
    if row == NONE:
        row = state.used[ROWS]
        state.used[ROWS] = row + 1
    else:
        state.used[FREE] = state.ratings[row, NEXT_RATER]
    state.ratings[row, USER], state.ratings[row, ITEM], state.ratings[row, VALUE] = user, item, value
    _enter(state.items, item, state.ratings, row, NEXT_RATER, LAST_RATER)
    _enter(state.users, user, state.ratings, row, NEXT_ITEM, LAST_ITEM)


@lean
def unlink(state: Any, row: int) -> None:
    """Take a rating out of both lists and give its row back."""
    user, item = state.ratings[row, USER], state.ratings[row, ITEM]
    _leave(state.items, item, state.ratings, row, NEXT_RATER, LAST_RATER)
    _leave(state.users, user, state.ratings, row, NEXT_ITEM, LAST_ITEM)
    state.ratings[row, USER] = NONE
    state.ratings[row, NEXT_RATER] = state.used[FREE]
    state.used[FREE] = row


@inlined
def _enter(heads: Any, who: int, ratings: Any, row: int, following: int, last: int) -> None:
    """Put a row at the head of a list, whose links are in the columns ``following`` and ``last``."""
    head = heads[who, HEAD]
    ratings[row, following], ratings[row, last] = head, NONE
    if head != NONE:
        ratings[head, last] = row
    heads[who, HEAD] = row
    heads[who, COUNT] += 1


@inlined
def _leave(heads: Any, who: int, ratings: Any, row: int, following: int, last: int) -> None:
    after, before = ratings[row, following], ratings[row, last]
    if before == NONE:
        heads[who, HEAD] = after
    else:
        ratings[before, following] = after
    if after != NONE:
        ratings[after, last] = before
    heads[who, COUNT] -= 1
