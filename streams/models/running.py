"""Ratings and the running sums of pairs in memory that grows: a batch is learned whole or not at all."""

from __future__ import annotations

import numpy as np

from streams.models.compile import Array, Float64, Int32, Int64
from streams.models.measures import read
from streams.models.pairs import DONE, FULL, KEY, NO_ROWS, load, meet, new_pairs, put
from streams.models.ratings import ABSENT, COUNT, ITEM, NONE, PAIRS, ROWS, USER, VALUE, empty, held, more_rows, reach, rows_of

__all__ = ["Running"]

FEWEST_PAIRS = 1024


class Running:
    """Ratings in whole steps, and the sums of the pairs of users who share an item.

    Parameters
    ----------
    max_users, max_items, max_pairs : int
        How far it grows.
    """

    def __init__(self, max_users: int, max_items: int, max_pairs: int) -> None:
        self.max_users, self.max_items, self.max_pairs = max_users, max_items, max_pairs
        self.state = empty(new_pairs(FEWEST_PAIRS))

    def put(self, users: Int32, items: Int32, values: Int64) -> None:
        """Set ratings in order; ABSENT takes one away. OverflowError, and nothing is learned, where there is no room."""
        self._reserve(users, items)
        was, at, why = np.empty(len(users), np.int64), 0, DONE
        while at < len(users):
            at, why = put(self.state, users, items, values, was, at, self._room)
            if why == NO_ROWS:
                self._more_ratings(len(self.state.ratings) + 1)
            elif why == FULL and self._room < self.max_pairs:
                self._more_pairs()
            elif why != DONE:
                # What was learned is taken back, newest first: exact, as every update is.
                back = (array[:at][::-1].copy() for array in (users, items, was))
                put(self.state, *back, np.empty(at, np.int64), 0, self.max_pairs)
                raise OverflowError(self._complaint(why, users[at]))

    def held(self, users: Int32, items: Int32) -> Int64:
        """Tell ratings, ABSENT where there is none."""
        answers = np.full(len(users), ABSENT, np.int64)
        known = np.flatnonzero((users < len(self.state.users)) & (items < len(self.state.items)))
        found = np.empty(len(known), np.int64)
        held(self.state, users[known], items[known], found)
        answers[known] = found
        return answers

    def knows(self, user: int) -> bool:
        """Tell whether the user has a rating."""
        return 0 <= user < len(self.state.users) and bool(self.state.users[user, COUNT])

    def of(self, user: int) -> tuple[Int64, Int64]:
        """Give a user's items in ascending order, int64[m], and their ratings int64[m]."""
        rows = self.state.ratings[rows_of(self.state, user) if self.knows(user) else np.empty(0, np.int64)]
        rows = rows[np.argsort(rows[:, ITEM])]
        return rows[:, ITEM], rows[:, VALUE]

    def met(self, user: int) -> Int64:
        """List all who share an item with the user, int64[m], in ascending order."""
        return meet(self.state, user) if self.knows(user) else np.empty(0, np.int64)

    def read(self, user: int, others: Int64, measure: int, step: float) -> Float64:
        """Read a measure of users who all have ratings, float64[m]."""
        answers = np.empty(len(others))
        read(self.state, user, others, measure, step, answers)
        return answers

    def arrays(self) -> dict[str, Array]:
        """Copy all, in an order that does not tell how it came about: ratings by user and item, pairs by key."""
        rows = self.state.ratings[: self.state.used[ROWS]]
        rows = rows[rows[:, USER] != NONE]
        rows = rows[np.lexsort((rows[:, ITEM], rows[:, USER]))]
        pairs = self.state.pairs[self.state.pairs[:, KEY] != 0]
        return {
            "users": rows[:, USER].astype(np.int32),
            "items": rows[:, ITEM].astype(np.int32),
            "values": rows[:, VALUE].copy(),
            "pairs": pairs[np.argsort(pairs[:, KEY])],
        }

    def load(self, users: Int32, items: Int32, values: Int64, pairs: Int64) -> None:
        """Take what :meth:`arrays` gave, while there is nothing else."""
        self._reserve(users, items)
        self._more_ratings(len(users))
        while self._room < len(pairs):
            if self._room == self.max_pairs:
                raise OverflowError(self._complaint(FULL, NONE))
            self._more_pairs()
        load(self.state, users, items, values, pairs)

    @property
    def _room(self) -> int:
        """How many pairs the table takes before it grows: probes stay short."""
        return min(len(self.state.pairs) * 3 // 4, self.max_pairs)

    def _complaint(self, why: int, user: int) -> str:
        if why == FULL:
            return f"more than max_pairs={self.max_pairs} pairs of users share an item: raise it, at 107 to 213 bytes a pair"
        return f"the ratings of user {user} add up to more than 2**62 steps: give a larger step"

    def _reserve(self, users: Int32, items: Int32) -> None:
        _, user, item = reach(users, items)
        _check("users", user, self.max_users)
        _check("items", item, self.max_items)
        if user >= len(self.state.users) or item >= len(self.state.items):
            more = more_rows(self.state.users, user + 1, NONE), more_rows(self.state.items, item + 1, NONE)
            self.state = self.state._replace(users=more[0], items=more[1])

    def _more_ratings(self, rows: int) -> None:
        self.state = self.state._replace(ratings=more_rows(self.state.ratings, rows))

    def _more_pairs(self) -> None:
        old = self.state.pairs
        self.state = self.state._replace(pairs=new_pairs(2 * len(old)))
        self.state.used[PAIRS] = 0
        nobody = np.empty(0, np.int32)
        load(self.state, nobody, nobody, np.empty(0, np.int64), old)


def _check(name: str, index: int, most: int) -> None:
    if index >= most:
        raise OverflowError(f"index {index} is beyond max_{name}={most}: number {name} densely from 0, or raise max_{name}")
