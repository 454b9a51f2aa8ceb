"""Members: which user is in which segment, how many each segment has, and how many it had day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from streams.models.compile import Array, ArrayLike, Float64, Int8, Int16, Int32, Int64, column, kernel
from streams.models.extent import extent
from streams.models.leaving import close_up, more

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROWTH_DAYS", "Members"]

DAY = 86400.0
FEWEST_USERS = 1024

# Growth is over a week, so that no day of the week is held against another.
GROWTH_DAYS = 7

UNKNOWN = -1


@kernel
def _begin(time: float, of_user: Int16, sizes: Int64, today: Int64, days: Int64, of_days: Int8) -> None:
    """Keep the sizes, and who is where, as they are for every day that has begun since."""
    day = np.int64(np.floor(time / DAY))
    if day <= today[0]:
        return
    first = day if today[0] < 0 else max(today[0] + 1, day - days.shape[0] + 1)
    for begun in range(first, day + 1):
        days[begun % days.shape[0]] = sizes
        for user in range(of_user.size):
            of_days[user, begun % days.shape[0]] = of_user[user]
    today[0] = day


@kernel
def _move(user: int, segment: int, of_user: Int16, sizes: Int64) -> None:
    before = of_user[user]
    if before == segment:
        return
    if before >= 0:
        sizes[before] -= 1
    if segment >= 0:
        sizes[segment] += 1
    of_user[user] = segment


@kernel
def _follow(
    users: Int32,
    segments: Int16,
    places: Int64,
    times: Float64,
    of_user: Int16,
    sizes: Int64,
    today: Int64,
    days: Int64,
    of_days: Int8,
) -> None:
    """Move each user at its first visit, so that it does not matter where batches end when a day begins."""
    for n in range(places.size):
        if times[n] >= (today[0] + 1) * DAY:  # asked here, for it is so once a day
            _begin(times[n], of_user, sizes, today, days, of_days)
        _move(users[places[n]], segments[places[n]], of_user, sizes)
    for n in range(users.size):
        _move(users[n], segments[n], of_user, sizes)


class Members:
    """The segment of each user, and the sizes of segments: now, and when each of the last 8 days began.

    A day (UTC) begins with the first visit of that day or a later one; a visit that comes late counts for the day at hand.

    Parameters
    ----------
    segments : int
        How many segments there may be.

    Attributes
    ----------
    of_user : int16[users]
        The segment of each user; -1: none.
    sizes : int64[segments]
        Users of each segment.
    days : int64[8, segments]
        Sizes when day d (days since 1970) began, at row d mod 8; -1: before the first visit.
    of_days : int8[users, 8]
        The segment of each user when these days began, what erasing takes back; -1: none.
    today : int64[1]
        The latest day begun; -1 before the first visit.

    Examples
    --------
    >>> members = Members(segments=2)
    >>> members.apply([0, 1], [0, 1], [0, 1], [0.0, 0.0])
    >>> members.apply([1, 2], [0, 0], [0, 1], [8 * 86400.0, 8 * 86400.0])
    >>> members.sizes, members.growth()
    (array([3, 0]), array([ 2., -1.]))
    """

    def __init__(self, *, segments: int = 64) -> None:
        if segments < 1:
            raise ValueError(f"segments must be above 0: {segments=}")
        self._users = 0
        self.of_user: Int16 = np.full(0, -1, np.int16)
        self.of_days: Int8 = np.full((0, GROWTH_DAYS + 1), -1, np.int8)
        self.sizes: Int64 = np.zeros(segments, np.int64)
        self.days: Int64 = np.full((GROWTH_DAYS + 1, segments), UNKNOWN, np.int64)
        self.today: Int64 = np.full(1, UNKNOWN, np.int64)

    def apply(self, users: ArrayLike, segments: ArrayLike, places: ArrayLike, times: ArrayLike) -> None:
        """Learn the visits of a batch, in order.

        Parameters
        ----------
        users : int32[m]
            Indexes of the batch's users, each once.
        segments : int16[m]
            The segment of each; -1 takes the user out of any.
        places : uint32[n]
            Whose visit it was, as a place in ``users``.
        times : float64[n]
            Seconds.

        Raises
        ------
        ValueError
            If the columns differ in length or a segment is out of range; nothing is learned then.
        """
        users, segments = column(users, np.int32), column(segments, np.int16)
        places, times = column(places, np.int64), column(times, np.float64)
        if len(users) != len(segments) or len(places) != len(times):
            raise ValueError(f"columns of {len(users)} users, {len(segments)} segments, {len(places)} places, {len(times)} times")
        if not len(users):
            return
        first, last = extent(segments)
        if first < -1 or last >= len(self.sizes):
            raise ValueError(f"a segment is below {len(self.sizes)}, or -1")
        self._users = max(self._users, extent(users)[1] + 1)
        self.reserve(self._users)
        _follow(users, segments, places, times, self.of_user, self.sizes, self.today, self.days, self.of_days)

    def forget(self, segments: Int64) -> None:
        """Take all users out of these segments, and forget how large they were."""
        for held in (self.of_user, self.of_days):
            held[np.isin(held, segments)] = -1
        self.sizes[segments] = 0
        self.days[:, segments] = UNKNOWN

    def take_back(self, user: int) -> None:
        """Let a user not count in the sizes of the days, before :meth:`keep` leaves the user out of those of now."""
        days = np.flatnonzero(self.of_days[user] >= 0)
        self.days[days, self.of_days[user, days]] -= 1

    def keep(self, staying: Int64) -> None:
        """Forget all users but these, int64[n] ascending, who get the indexes from 0 on in their order."""
        leaving = self.of_user.copy()
        leaving[staying] = UNKNOWN
        self.sizes -= np.bincount(leaving[leaving >= 0], minlength=len(self.sizes))
        for held in (self.of_user, self.of_days):
            close_up(held, staying, UNKNOWN)
        self._users = int(np.searchsorted(staying, self._users))

    def vacate(self, gone: Int64) -> None:
        """Empty the rows of these users, int64[n], each once, after :meth:`take_back`."""
        segments = self.of_user[gone]
        self.sizes -= np.bincount(segments[segments >= 0], minlength=len(self.sizes))
        self.of_user[gone] = self.of_days[gone] = UNKNOWN

    def growth(self) -> Float64:
        """Give each segment's growth since the day seven days ago began, 0.1 for a tenth more: float64[segments].

        NaN where it had no users then, or nothing is known of that day.
        """
        before = self.days[(self.today[0] - GROWTH_DAYS) % len(self.days)].astype(np.float64)
        before[before <= 0] = np.nan
        grown: Float64 = self.sizes / before - 1.0
        return grown

    def arrays(self) -> dict[str, Array]:
        """Copy the state, without spare room."""
        rows = {name: getattr(self, name)[: self._users].copy() for name in PER_USER}
        return rows | {name: getattr(self, name).copy() for name in STATE}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, segments: int = 64) -> Self:
        """Restore what :meth:`arrays` gave, with the same parameters.

        Raises
        ------
        ValueError
            If ``segments`` is not that of the arrays.
        """
        members = cls(segments=segments)
        members._users = len(arrays["of_user"])
        members.reserve(members._users)
        for name in PER_USER:
            if name in arrays:  # snapshots of before did not say who was where
                getattr(members, name)[: members._users] = arrays[name]
        for name in STATE:
            own = getattr(members, name)
            if own.shape != arrays[name].shape:
                raise ValueError(f"{name} is {arrays[name].shape}, which these parameters make {own.shape}")
            own[...] = arrays[name]
        return members

    def reserve(self, users: int, most: int = 0) -> None:
        """Make room for this many users, at least doubling, but for room past the most; filled, so that memory does not creep."""
        if users > len(self.of_user):
            rows = more(users, max(len(self.of_user), FEWEST_USERS // 2), most)
            for name in PER_USER:
                held = getattr(self, name)
                longer = np.full((rows, *held.shape[1:]), -1, held.dtype)
                longer[: len(held)] = held
                setattr(self, name, longer)


PER_USER = ("of_user", "of_days")
STATE = ("sizes", "days", "today")
