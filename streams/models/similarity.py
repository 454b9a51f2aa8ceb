"""Similarity of users from running sums over the items that both rated: exact after every new, changed or withdrawn rating."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from streams.models.changes import Delta, keys_of
from streams.models.compile import Array, ArrayLike, Float64, Int32, Int64, column
from streams.models.measures import DISTANCE, SHARED
from streams.models.neighbors import MEASURES
from streams.models.ratings import ABSENT, COUNT, PAIRS, SUM, reach
from streams.models.running import Running

__all__ = ["FORMS", "Delta", "Similarity"]

FORMS = ("mean", "weighted", "adjusted")
# Magnitude of a rating in steps. Products of sums and differences of two then fit 128 bits, however many are added up.
LIMIT = 1 << 50
INDEX = (1 << 31) - 1


class Similarity:
    """Pearson, cosine, Euclidean and Jaccard similarity of any two users, over the items that both rated.

    For each pair of users the sums of x, y, x², y² and xy over their co-rated items are kept, uncentred, in whole numbers
    of 128 bits; means are taken off when a measure is read. So the state depends only on the ratings that stand, not on the
    order in which they came, changed or went, and nothing is left of a rating that is withdrawn.

    An update of an item's rating changes one pair per other rater of the item. Memory is about 80 bytes per row of a table
    that is at most three quarters full of pairs with a co-rated item, and 56 bytes per rating.

    Parameters
    ----------
    step : float
        Ratings are kept as whole multiples of it, rounded: the finer, the nearer 0 the largest, ``step * 2**50``. The default
        keeps halves and quarters exactly, all others to 5e-13, from -1024 to 1024. Give 0.01 for amounts of money.
    max_users, max_items : int
        Indexes go up to here; memory is taken for all below the largest, 32 and 16 bytes each.
    max_pairs : int
        The most pairs of users with a co-rated item.

    References
    ----------
    M. Papagelis, I. Rousidis, D. Plexousakis, E. Theoharopoulos: Incremental collaborative filtering for highly-scalable
    recommendation algorithms, ISMIS 2005. There the centred sums are updated; uncentred ones can be exact.

    Examples
    --------
    >>> model = Similarity().partial_fit([1, 1, 1, 2, 2, 2, 3, 3, 3], [1, 2, 3] * 3, [4, 5, 3, 2, 5, 3, 4, 2, 3])
    >>> model.distance(1, 2), model.distance(1, 3), model.distance(2, 3)
    (2.0, 3.0, 3.605551275463989)
    >>> model.nearest(1, 1, measure="euclidean")
    (array([2]), array([0.33333333]))
    >>> model.predict(1, [1, 2], k=1, measure="euclidean", form="mean")
    3.5
    >>> model.update(3, 2, 5)
    >>> model.distance(1, 3)
    0.0
    """

    def __init__(
        self, *, step: float = 2.0**-40, max_users: int = 1 << 20, max_items: int = 1 << 22, max_pairs: int = 1 << 24
    ) -> None:
        if not (step > 0 and np.isfinite(LIMIT * step)) or min(max_users, max_items, max_pairs) < 1:
            raise ValueError(f"all must be positive: {step=}, {max_users=}, {max_items=}, {max_pairs=}")
        self.step = step
        self._running = Running(max_users, max_items, max_pairs)

    @property
    def count(self) -> int:
        """Count the ratings."""
        return int(self._running.state.users[:, COUNT].sum())

    @property
    def pairs(self) -> int:
        """Count the pairs of users who share an item."""
        return int(self._running.state.used[PAIRS])

    def update(self, user: int, item: int, value: float) -> None:
        """Set one rating, new or changed; errors as :meth:`partial_fit`."""
        self.partial_fit([user], [item], [value])

    def partial_fit(self, users: ArrayLike, items: ArrayLike, values: ArrayLike) -> Self:
        """Set ratings, new or changed, in order.

        Parameters
        ----------
        users, items : int[n]
            Indexes, dense from 0: :class:`streams.models.ids.Ids` makes them.
        values : float[n]
            Ratings, finite.

        Raises
        ------
        ValueError
            If the columns differ in length, an index is negative or no whole number, or a rating is out of range.
        OverflowError
            If there is no room for so many users, items, pairs, or for the sum of a user's ratings. Nothing is learned in
            either case.
        """
        self._running.put(*self._columns(users, items, values))
        return self

    def withdraw(self, users: ArrayLike, items: ArrayLike) -> Self:
        """Take ratings away, int[n] users and items or one of each; those that are not there are passed over."""
        self._running.put(*self._columns(np.atleast_1d(users), np.atleast_1d(items), None))
        return self

    def forget(self, user: int) -> Self:
        """Take all ratings of a user away: the state is as if the user had never acted."""
        items, _ = self.ratings(user)
        return self.withdraw(np.full(len(items), user), items)

    def delta(self, users: ArrayLike, items: ArrayLike, values: ArrayLike | None) -> Delta:
        """Say what :meth:`partial_fit` would change, or :meth:`withdraw` where ``values`` is None. Changes nothing."""
        who, what, after = self._columns(users, items, values)
        # The last rating of a batch is the one that stands.
        _, newest = np.unique(keys_of(who, what)[::-1], return_index=True)
        last = len(who) - 1 - newest
        who, what, after = who[last], what[last], after[last]
        before = self._running.held(who, what)
        counts = (after != ABSENT).astype(np.int64) - (before != ABSENT)
        change = Delta(who, what, counts, _number(after) - _number(before))
        return change + Delta(*(array[:0] for array in change.columns()))  # which drops what does not change

    def apply(self, delta: Delta) -> None:
        """Change ratings as a delta says; deltas add: applying two in turn equals applying their sum.

        Raises
        ------
        ValueError
            If a rating it would change is not there, or one it would add is. Nothing is learned then.
        """
        before = self._running.held(delta.users, delta.items)
        there = (before != ABSENT) + delta.counts
        values = _number(before) + delta.values
        if ((there != 0) & (there != 1) | (there == 0) & (values != 0) | (abs(values) > LIMIT)).any():
            raise ValueError("the delta does not fit: it was made from other ratings than those held")
        self._running.put(delta.users, delta.items, np.where(there == 1, values, ABSENT))

    def rating(self, user: int, item: int) -> float:
        """Tell a rating; nan if there is none."""
        users, items, _ = self._columns([user], [item], None)
        return float(self._values(self._running.held(users, items))[0])

    def ratings(self, user: int) -> tuple[Int64, Float64]:
        """Give a user's items in ascending order, int64[m], and their ratings float64[m]."""
        items, steps = self._running.of(user)
        return items, self._values(steps)

    def mean(self, user: int) -> float:
        """Tell the mean of a user's ratings; nan if there are none."""
        if not self._running.knows(user):
            return float("nan")
        row = self._running.state.users[user]
        return float(row[SUM]) / float(row[COUNT]) * self.step

    def pearson(self, user: int, other: int) -> float:
        """Correlate the ratings of co-rated items, -1 to 1; 0 below two, or if either rates all of them alike."""
        return self._one(user, other, MEASURES.index("pearson"))

    def cosine(self, user: int, other: int) -> float:
        """Cosine of the angle between the ratings of co-rated items, -1 to 1; 0 if there are none."""
        return self._one(user, other, MEASURES.index("cosine"))

    def euclidean(self, user: int, other: int) -> float:
        """Turn the :meth:`distance` d into a similarity, 1 / (1 + d), 0 to 1."""
        return self._one(user, other, MEASURES.index("euclidean"))

    def distance(self, user: int, other: int) -> float:
        """Measure the Euclidean distance of the ratings of co-rated items; infinite if there are none."""
        return self._one(user, other, DISTANCE)

    def jaccard(self, user: int, other: int) -> float:
        """Divide the number of co-rated items by that of the items that either rated, 0 to 1."""
        return self._one(user, other, MEASURES.index("jaccard"))

    def shared(self, user: int, other: int) -> int:
        """Count the co-rated items."""
        return int(self._one(user, other, SHARED))

    def nearest(self, user: int, k: int = 10, *, measure: str = "pearson") -> tuple[Int64, Float64]:
        """Find the k most similar users, those above 0 only, of equals the lower index first.

        Parameters
        ----------
        measure : str
            "pearson", "cosine", "euclidean" or "jaccard".

        Returns
        -------
        users : int64[m]
            The most similar first.
        similarity : float64[m]
            Theirs.
        """
        if measure not in MEASURES:
            raise ValueError(f"measure {measure!r} is none of {', '.join(MEASURES)}")
        met = self._running.met(user)
        similarity = self._running.read(user, met, MEASURES.index(measure), self.step)
        first = np.lexsort((met, -similarity))[: np.count_nonzero(similarity > 0)][:k]
        return met[first], similarity[first]

    def predict(self, user: int, items: ArrayLike, *, k: int = 10, measure: str = "pearson", form: str = "adjusted") -> float:
        """Predict a rating from the k nearest users v who rated the item.

        With r(v) the rating v gave, s(v) the similarity and m the mean of all ratings of a user: "mean" is the mean of r(v),
        "weighted" is sum s(v) r(v) / sum s(v), "adjusted" is m(user) + sum s(v) (r(v) - m(v)) / sum s(v).

        Parameters
        ----------
        items : int or int[n]
            The item; of several, those that stand for it, r(v) is the mean of what v gave those of them that v rated.

        Returns
        -------
        float
            The user's mean if nobody near rated the item, nan if the user has none either.

        References
        ----------
        P. Resnick et al.: GroupLens, an open architecture for collaborative filtering of netnews, CSCW 1994 ("adjusted").
        """
        if form not in FORMS:
            raise ValueError(f"form {form!r} is none of {', '.join(FORMS)}")
        users, similarity = self.nearest(user, len(self._running.state.users), measure=measure)
        asked = np.unique(np.atleast_1d(items))
        given = self._running.held(*self._indexes(np.repeat(users, len(asked)), np.tile(asked, len(users)))).reshape(
            -1, len(asked)
        )
        near = np.flatnonzero((given != ABSENT).any(axis=1))[:k]
        if not len(near):
            return self.mean(user)
        rated, weights = np.nanmean(self._values(given[near]), axis=1), similarity[near]
        if form == "mean":
            return float(rated.mean())
        if form == "weighted":
            return float(weights @ rated / weights.sum())
        means = np.array([self.mean(int(other)) for other in users[near]])
        return self.mean(user) + float(weights @ (rated - means) / weights.sum())

    def arrays(self) -> dict[str, Array]:
        """Copy the state, in an order that does not tell how it came about."""
        return {"step": np.array([self.step])} | self._running.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, step: float = 2.0**-40, **limits: int) -> Self:
        """Restore what :meth:`arrays` gave; the parameters are the constructor's.

        Raises
        ------
        ValueError
            If the step is not that of the arrays.
        """
        if arrays["step"].tolist() != [step]:
            raise ValueError(f"ratings in steps of {arrays['step']}, not of {step}: give the step they were made with")
        model = cls(step=step, **limits)
        model._running.load(*(arrays[name] for name in ("users", "items", "values", "pairs")))
        return model

    def _one(self, user: int, other: int, measure: int) -> float:
        if user == other:
            raise ValueError(f"user {user} is compared with itself")
        if not (self._running.knows(user) and self._running.knows(other)):
            return float("inf") if measure == DISTANCE else 0.0
        return float(self._running.read(user, np.array([other]), measure, self.step)[0])

    def _values(self, steps: Int64) -> Float64:
        return np.where(steps == ABSENT, np.nan, steps * self.step)

    def _columns(self, users: ArrayLike, items: ArrayLike, values: ArrayLike | None) -> tuple[Int32, Int32, Int64]:
        """Check updates; ratings in steps, ABSENT where ``values`` is None."""
        who, what = self._indexes(users, items)
        if values is None:
            return who, what, np.full(len(who), ABSENT, np.int64)
        steps = np.rint(np.asarray(values, np.float64) / self.step)
        if steps.shape != who.shape:
            raise ValueError(f"columns of {len(who)} users and items, values of shape {steps.shape}")
        if not (abs(steps) <= LIMIT).all():
            most = LIMIT * self.step
            raise ValueError(
                f"a rating is no number from {-most:g} to {most:g}: drop it, or give a larger step than {self.step:g}"
            )
        return who, what, steps.astype(np.int64)

    @staticmethod
    def _indexes(users: ArrayLike, items: ArrayLike) -> tuple[Int32, Int32]:
        who, what = np.asarray(users), np.asarray(items)
        if who.ndim != 1 or who.shape != what.shape:
            raise ValueError(f"columns of shapes {who.shape} for users and {what.shape} for items, not of one length")
        who, what = _whole("user", who), _whole("item", what)
        least, *most = reach(who, what)
        if least < 0 or max(most) > INDEX:
            raise ValueError(f"indexes from {least} to {max(most)} are not all within 0 to {INDEX}")
        return who.astype(np.int32), what.astype(np.int32)


def _whole(name: str, indexes: Array) -> Int64:
    if indexes.dtype.kind not in "iu" and len(indexes):
        raise ValueError(f"{name} indexes are whole numbers, not {indexes.dtype}: number names by streams.models.ids")
    return column(indexes, np.int64)


def _number(steps: Int64) -> Int64:
    return np.where(steps == ABSENT, 0, steps)
