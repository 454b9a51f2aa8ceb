"""Habits: when the users of each segment act, and what they do, as decayed counts of their visits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from streams.models.compile import Array, ArrayLike, Float64, Int16, Int32, Int64, column, kernel
from streams.models.decay import exp2, gains, less, run_of, steps_to
from streams.models.extent import extent
from streams.models.ids import Ids, Packed, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HOURS", "UNNAMED", "Habits"]

HOUR = 3600.0
DAY = 24 * HOUR

# Hours of a week. The first of 1970 was a Thursday, so hour 0 is Thursday's first, in UTC.
HOURS = 168

# Place of a visit's type where a lesson has no name for it: places are bytes.
UNNAMED = 255


@kernel
def _count(
    segments: Int16,
    times: Float64,
    kinds: Int32,
    half_life: float,
    landmark: Float64,
    hours: Float64,
    types: Float64,
) -> None:
    """Count every visit of a user with a segment, in order."""
    each, gained = np.ones(times.size, np.float32), np.empty(times.size)
    begin = 0
    while begin < times.size:
        steps = steps_to(times[begin], half_life, landmark, 0)
        if steps > 0:
            factor = exp2(-steps)
            hours *= factor
            types *= factor
        until = run_of(times, begin, landmark[0] + half_life)
        gains(each[begin:until], times[begin:until], half_life, landmark[0], gained[begin:until])
        for n in range(begin, until):
            segment = segments[n]
            if segment >= 0:
                hours[segment, np.int64(np.floor(times[n] / HOUR)) % HOURS] += gained[n]
                types[segment, kinds[n]] += gained[n]
        begin = until


class Habits:
    """Decayed counts of each segment's visits by hour of the week and by type of event; a visit counts 1, whatever its weight.

    Forward decay, as in :class:`streams.models.popularity.Popularity`: counts are as of a landmark, the last whole
    multiple of the half-life, and are scaled by a power of two when it moves.

    Parameters
    ----------
    half_life : float
        Seconds after which a visit counts half.
    segments : int
        How many segments are counted.
    types : int
        Types of events that are told apart, in order of first appearance; all later ones are counted together.

    Attributes
    ----------
    hours : float64[segments, 168]
        Counts by hour of the week in UTC; hour 0 is Thursday's first, as 1970 began.
    kinds : float64[segments, types + 1]
        Counts by type; the last column is all types without a name.
    names : Ids
        The types told apart, by column.
    landmark : float64[1]
        The time of the counts, in seconds.

    References
    ----------
    G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu: Forward decay, ICDE 2009.

    Examples
    --------
    >>> habits = Habits(half_life=3600.0)
    >>> habits.apply([0, 0, -1], [0.0, 3600.0, 3600.0], [0, 1, 1], pack([b"view", b"cart"]))
    >>> habits.hours[0, :2], habits.kinds[0, :2], habits.names.names([0, 1])
    (array([0.5, 1. ]), array([0.5, 1. ]), [b'view', b'cart'])
    """

    def __init__(self, *, half_life: float = 30 * DAY, segments: int = 64, types: int = 31) -> None:
        if not (half_life > 0 and segments > 0 and 0 < types < UNNAMED):
            raise ValueError(f"all must be above 0, and types below {UNNAMED}: {half_life=}, {segments=}, {types=}")
        self.half_life, self.types = half_life, types
        self.names = Ids()
        self._known: dict[bytes, int] = {}
        self.landmark: Float64 = np.full(1, -np.inf)
        self.hours: Float64 = np.zeros((segments, HOURS))
        self.kinds: Float64 = np.zeros((segments, types + 1))

    def apply(self, segments: ArrayLike, times: ArrayLike, kinds: ArrayLike, names: Packed) -> Int32:
        """Learn visits, in order; give the column of each visit's type, int32[n].

        Parameters
        ----------
        segments : int16[n]
            Segment of the user; -1 for none, who is not counted.
        times : float64[n]
            Seconds, not negative.
        kinds : uint8[n]
            Place of each visit's type in ``names``; a place beyond them has no name.
        names : Packed
            Names of types.

        Raises
        ------
        ValueError
            If the columns differ in length or a segment is out of range; nothing is learned then.
        """
        segments, times = column(segments, np.int16), column(times, np.float64)
        places = column(kinds, np.int64)
        if not len(segments) == len(times) == len(places):
            raise ValueError(f"columns of {len(segments)} segments, {len(times)} times, {len(places)} kinds")
        if not len(times):
            return np.zeros(0, np.int32)
        first, last = extent(segments)
        if first < -1 or last >= len(self.hours):
            raise ValueError(f"a segment is below {len(self.hours)}, or -1")
        columns = self._columns(places, names)[places]
        _count(segments, times, columns, self.half_life, self.landmark, self.hours, self.kinds)
        return columns

    def take_back(self, segments: Int16, times: Float64, kinds: Int64, untold: int) -> None:
        """Let visits that were learned not count: their columns, of which ``untold`` says that it is not known.

        Names of types stay, for they are nobody's.
        """
        amounts, told = np.empty(len(times)), segments >= 0
        gains(np.ones(len(times), np.float32), times, self.half_life, self.landmark[0], amounts)
        hours = np.floor(times / HOUR).astype(np.int64) % HOURS
        less(self.hours, (segments[told], hours[told]), amounts[told])
        told &= kinds != untold
        less(self.kinds, (segments[told], kinds[told]), amounts[told])

    def forget(self, segments: Int64) -> None:
        """Forget when and how these segments act."""
        self.hours[segments], self.kinds[segments] = 0.0, 0.0

    def _columns(self, places: Array, names: Packed) -> Int32:
        """Give the column of each place; new types take the free ones in order of their first visit."""
        columns = np.full(max(len(names.ends), UNNAMED) + 1, self.types, np.int32)
        for place in dict.fromkeys(places.tolist()):
            if place < len(names.ends):
                start = int(names.ends[place - 1]) if place else 0
                columns[place] = self._column(names.blob[start : int(names.ends[place])].tobytes())
        return columns

    def _column(self, name: bytes) -> int:
        known = self._known.get(name)
        if known is None and len(self.names) < self.types:
            known = self._known[name] = int(self.names.add(pack([name]))[0])
        return self.types if known is None else known

    def arrays(self) -> dict[str, Array]:
        """Copy the state."""
        own = {name: getattr(self, name).copy() for name in STATE}
        return own | {f"names_{name}": array for name, array in self.names.arrays().items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Array], *, half_life: float = 30 * DAY, segments: int = 64, types: int = 31
    ) -> Self:
        """Restore what :meth:`arrays` gave, with the same parameters.

        Raises
        ------
        ValueError
            If ``segments`` or ``types`` are not those the arrays were made with.
        """
        habits = cls(half_life=half_life, segments=segments, types=types)
        habits.names = Ids.from_arrays({name: arrays[f"names_{name}"] for name in habits.names.arrays()})
        habits._known = {name: column for column, name in enumerate(habits.names.names(range(len(habits.names))))}
        for name in STATE:
            own = getattr(habits, name)
            if own.shape != arrays[name].shape:
                raise ValueError(f"{name} is {arrays[name].shape}, which these parameters make {own.shape}")
            own[...] = arrays[name]
        return habits


STATE = ("landmark", "hours", "kinds")
