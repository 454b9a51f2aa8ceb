"""From what a partition's events showed to the lesson that the learned log carries."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from streams.items import ItemNumbers
from streams.models.clusterers import say
from streams.models.compile import Bool, Float32, Float64, Int64, UInt32, lean
from streams.models.content import speaks
from streams.models.habits import UNNAMED
from streams.models.ids import pack
from streams.models.lesson import Lesson
from streams.observed import Teaching
from streams.scoring import Scored

__all__ = ["lesson_of"]

# Numbers that Python sorts sooner than numpy begins to.
_FEW = 32


def lesson_of(partition: int, teaching: Teaching, scored: Scored, numbers: ItemNumbers) -> Lesson:
    """Make the lesson of one partition's share of a micro-batch."""
    table = np.array(teaching.visits, np.float64).reshape(-1, 5)
    items, places = _distinct(table[:, 1].astype(np.int64))
    users = [*teaching.users, *_moved(teaching, scored)]
    rows = np.array([scored.rows[user_id] for user_id in users], np.int64)
    lesson = Lesson(
        events=teaching.events,
        user_ids=pack([user_id.encode() for user_id in users]),
        user_segments=np.array([scored.segments[row] for row in rows], np.int16),
        item_ids=pack([numbers.ids[item] for item in items]),
        users=table[:, 0].astype(np.uint32),
        items=places.astype(np.uint32),
        weights=table[:, 2].astype(np.float32),
        times=table[:, 3],
        types=pack([kind.encode() for kind in list(teaching.types)[:UNNAMED]]),
        kinds=np.minimum(table[:, 4], UNNAMED).astype(np.uint8),
        origins=np.array(list(teaching.origins.items()), np.int64).reshape(-1, 2),
        forgotten=pack([user_id.encode() for user_id in teaching.forgotten]),
        forgotten_at=np.array([offset for _, _, offset in teaching.forgotten.values()], np.int64),
    )
    _segments(lesson, scored, rows)
    _blend(lesson, scored, partition)
    return lesson


def _moved(teaching: Teaching, scored: Scored) -> Iterator[str]:
    """Find those without a visit whose segment changed all the same: a dislike turns a user's interest away."""
    for user_id, profile in teaching.others.items():
        before = -1 if profile.segment is None else profile.segment
        if user_id not in teaching.users and scored.segments[scored.rows[user_id]] != before:
            yield user_id


def _distinct(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each number once, ascending, and the place of each among them."""
    if len(numbers) > _FEW:
        return np.unique(numbers, return_inverse=True)
    held = numbers.tolist()
    distinct = sorted(set(held))
    place = {number: at for at, number in enumerate(distinct)}
    return np.array(distinct, np.int64), np.array([place[number] for number in held], np.int64)


def _segments(lesson: Lesson, scored: Scored, rows: NDArray[np.int64]) -> None:
    """Add what the vectors of the users of whom something is known teach the segments."""
    visits, known = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
    if len(lesson.users) and _known(scored.vectors, rows, lesson.users, visits, known):
        events = [scored.events[row] for row in rows[known]]
        say(scored.models.segments, lesson, scored.vectors[rows[known]], visits[known], events)


@lean
def _known(vectors: Float32, rows: Int64, users: UInt32, visits: Float64, known: Bool) -> int:
    """Count each user's visits, and who of those who have some has a vector that says something."""
    count = 0
    for place in users:
        visits[place] += 1.0
    for place in range(rows.shape[0]):
        known[place] = visits[place] > 0.0 and speaks(vectors[rows[place]])
        count += known[place]
    return count


def _blend(lesson: Lesson, scored: Scored, partition: int) -> None:
    """Add the blend's gradient and the hits of each source, from the lists that were published before these events."""
    judged = scored.judged
    lesson.judged = int(judged.counts[partition]) if partition < len(judged.counts) else 0
    mine = np.flatnonzero(judged.partitions == partition)
    if len(mine):
        delta = scored.models.blend.summed(judged.gradients[mine], judged.segments[mine])
        lesson.blend_segments, lesson.blend_events, lesson.gradient = delta.segment, delta.events, delta.gradient
        lesson.hidden = delta.hidden.astype(np.float32)
        lesson.hits = judged.hits[mine].sum(axis=0)
