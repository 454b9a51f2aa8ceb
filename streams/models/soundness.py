"""Soundness: whether what the log says can be folded at all, looked at before any of it is: places inside, numbers finite.

Kernels do not look where an index points. So nothing from outside reaches them before this has seen it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streams.models.compile import Array, ArrayLike, Float32, Float64, Int16, Int64, UInt8, column, kernel
from streams.models.sources import FEATURES, SOURCES

if TYPE_CHECKING:
    from streams.models.catalog_change import CatalogChange
    from streams.models.ids import Packed
    from streams.models.lesson import Lesson
    from streams.models.models import Models

__all__ = ["Unsound", "check_catalog", "check_centers", "check_ids", "check_lesson"]

ID_BYTES = 512  # as an event's ids
MOST = 1e15  # of any number but a time: sums of such stay finite, and no model comes near
COUNTED = 1 << 40  # events of a record; more than a partition takes in a year
END_OF_TIME = 253_402_300_800.0  # seconds; the year 10000, as an event's time
MOST_AT = int(np.iinfo(np.int64).max)  # of an offset
GENERATIONS = 1 << 53  # solves; a float64 counts so far

# A byte of UTF-8 that begins no letter.
INNER, INNER_MASK = 0x80, 0xC0


class Unsound(ValueError):
    """What cannot be folded, and why, in a part of a sentence."""


@kernel
def _ids(blob: UInt8, ends: Int64, most: int) -> bool:
    """Tell whether every id is of 1 to so many bytes and begins with a letter, and all together are the blob."""
    start = 0
    for n in range(ends.size):
        end = ends[n]
        if not (start < end <= blob.size) or end - start > most or blob[start] & INNER_MASK == INNER:
            return False
        start = end
    return bool(start == blob.size)


@kernel
def _visits(users: Int64, items: Int64, weights: Float32, times: Float64, of: int, among: int) -> bool:
    wrong = 0
    for n in range(users.size):
        wrong |= not (0 <= users[n] < of and 0 <= items[n] < among)
        wrong |= not (0 <= weights[n] <= MOST and 0 <= times[n] < END_OF_TIME)
    return wrong == 0


@kernel
def _segments(found: Int16, below: int) -> bool:
    wrong = 0
    for n in range(found.size):
        wrong |= not -1 <= found[n] < below
    return wrong == 0


@kernel
def _numbers(found: Float64, least: float) -> bool:
    wrong = 0
    for n in range(found.size):
        wrong |= not least <= found[n] <= MOST
    return wrong == 0


@kernel
def _counts(found: Int64, most: int) -> bool:
    wrong = 0
    for n in range(found.size):
        wrong |= not 0 <= found[n] <= most
    return wrong == 0


def check_ids(ids: Packed, what: str, most: int = ID_BYTES) -> int:
    """Count ids, each UTF-8 of 1 to so many bytes; raise Unsound if they are no such ids."""
    if not len(ids.ends) and not len(ids.blob):
        return 0
    blob, ends = column(ids.blob, np.uint8), column(ids.ends, np.int64)
    if not _ids(blob, ends, most):
        raise Unsound(f"its ids of {what} are no ids of 1 to {most} bytes")
    try:
        blob.tobytes().decode()
    except UnicodeDecodeError:
        raise Unsound(f"its ids of {what} are not UTF-8") from None
    return len(ends)


def check_lesson(models: Models, lesson: Lesson) -> None:
    """Raise Unsound if these models cannot fold the whole lesson; nothing is changed."""
    users, items = check_ids(lesson.user_ids, "users"), check_ids(lesson.item_ids, "items")
    check_ids(lesson.types, "types")
    forgotten = check_ids(lesson.forgotten, "who is forgotten")
    _check(len(lesson.forgotten_at) == forgotten and _counted(lesson.forgotten_at, MOST_AT), "its wishes are of no place")
    _check(lesson.events <= COUNTED and lesson.judged <= COUNTED, "it counts more events than there are")
    _check(len(lesson.user_segments) == users, "users and their segments differ in number")
    _check_segments(lesson.user_segments, models)
    _equal("visits", lesson.users, lesson.items, lesson.weights, lesson.times, lesson.kinds)
    columns = column(lesson.users, np.int64), column(lesson.items, np.int64)
    inside = _visits(*columns, column(lesson.weights, np.float32), column(lesson.times, np.float64), users, items)
    _check(inside, "a visit is of nobody it names, of no time or no weight")
    _check_statistics(models, lesson)
    _check_blend(models, lesson)
    _check(len(lesson.hits) == len(SOURCES) + 2, "its hits are of other sources")
    _check(_counted(lesson.hits, COUNTED), "its hits are no counts")
    _check(not len(lesson.origins) or (lesson.origins.shape[1] == 2 and lesson.origins.min() >= 0), "its origins are no places")


def _check_statistics(models: Models, lesson: Lesson) -> None:
    """Look at what it teaches the segments."""
    dimensions, capacity = models.catalog.content.shape[1], models.segments.capacity
    rows = len(lesson.sample)
    _check(not rows or lesson.sample.shape[1] == dimensions, "its sample has other dimensions")
    if models.solver is None:
        _check(not len(lesson.segments), "it sums up segments, which are found in another way")
        _check(len(lesson.counts) == rows, "rows and their weights differ in number")
    else:
        _equal("segments", lesson.segments, lesson.counts, lesson.sums, lesson.sse)
    places = lesson.segments.tolist()
    _check(len(set(places)) == len(places) and all(0 <= k < capacity for k in places), "its segments are none, or not distinct")
    _check(not places or lesson.sums.shape[1] == dimensions, "its sums have other dimensions")
    _check_numbers("segments", 0.0, lesson.counts, lesson.sse)
    _check_numbers("segments", -MOST, lesson.sums, lesson.sample)


def _check_blend(models: Models, lesson: Lesson) -> None:
    """Look at what it teaches the blend."""
    _equal("segments of the blend", lesson.blend_segments, lesson.blend_events, lesson.gradient)
    if not len(lesson.blend_segments):
        return
    _check_segments(lesson.blend_segments, models)
    wide = models.blend.hidden.taught_size
    _check(lesson.gradient.shape[1] == 2 * FEATURES, "its gradient is of other features")
    _check(len(lesson.hidden) <= 1 and lesson.hidden.shape[1] in {0, wide}, "its hidden layer has another size")
    _check(not len(lesson.hidden) or lesson.hidden.shape[1] == wide, "its hidden layer has another size")
    _check(_counted(lesson.blend_events, COUNTED), "its blend's events are no counts")
    _check_numbers("blend", -MOST, lesson.gradient, lesson.hidden)
    # What is summed here are squares: below 0 a root of them would be no number.
    _check_numbers("blend", 0.0, lesson.gradient[:, FEATURES:], lesson.hidden[:, models.blend.hidden.size :])


def check_catalog(change: CatalogChange) -> None:
    """Raise Unsound if models cannot fold the whole change."""
    entries, tokens = check_ids(change.item_ids, "items"), check_ids(change.tokens, "tokens")
    _equal("entries", change.offsets, change.gone, change.available, np.empty(entries))
    starts = change.token_starts
    kept = len(change.gone) - int(np.count_nonzero(change.gone))
    _check(len(starts) == kept + 1, "its entries and their tokens differ in number")
    ascending = starts[0] == 0 and starts[-1] == tokens and (np.diff(starts) >= 0).all()
    _check(bool(ascending), "its tokens are of no entries")
    _check(not entries or (change.offsets.min() >= 0 and change.available.max() <= 1), "an entry has no place")


def check_centers(models: Models, generation: int, at: float, centers: Float64) -> None:
    """Raise Unsound if these models cannot take the centers up; nothing is changed."""
    _check(generation < GENERATIONS and 0 <= at < END_OF_TIME, "its centers are of no time")
    if not len(centers) or models.solver is None:
        return
    _check(centers.shape == (models.segments.capacity, models.catalog.content.shape[1]), "its centers are others in number")
    free = np.isposinf(centers).all(axis=1) & (models.solver.k == "auto")
    _check(not free.all() and _numbers(column(centers[~free].ravel(), np.float64), -MOST), "its centers are no places")


def _check(good: object, why: str) -> None:
    if not good:
        raise Unsound(why)


def _counted(found: Int64, most: int) -> bool:
    return not found.size or _counts(column(found, np.int64), most)


def _equal(what: str, first: Array, *others: Array) -> None:
    count = len(first)
    for other in others:
        if len(other) != count:
            raise Unsound(f"its columns of {what} differ in length")


def _check_segments(found: ArrayLike, models: Models) -> None:
    _check(_segments(column(found, np.int16), len(models.members.sizes)), "a segment is none")


def _check_numbers(what: str, least: float, *found: Array) -> None:
    for numbers in found:
        # In their own type: some that are no numbers say so when they become wider.
        if numbers.size and not _numbers(column(numbers.reshape(-1), numbers.dtype.type), least):
            raise Unsound(f"a number of its {what} is none")
