"""Erasing: the models as if a user had never acted, as far as the user's visits are remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streams.models.admitting import keep_users, vacate_users
from streams.models.compile import Float64, Int16, Int32, Int64, kernel
from streams.models.leaving import GONE
from streams.models.rings import rings
from streams.models.visits import UNTOLD, held, position_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streams.models.ids import Packed
    from streams.models.models import Models
    from streams.models.rings import Rings
    from streams.models.visits import Remembered, Visits

__all__ = ["erase"]


@kernel
def _close(
    user: int,
    items: Int32,
    positions: Int64,
    visited: Int32,
    walked: Rings,
    taken: Int64,
) -> None:
    """Take a user out of the rings of items, close them up and count back; ``taken`` int64[n]: by how many visits.

    ``positions`` and ``visited`` are what the user's ring holds. A ring that has gone on over others' visits cannot tell them any
    more: its oldest cells are empty then.
    """
    item_users, item_positions, visitors = walked.item_users, walked.item_positions, walked.item_users.shape[1]
    for n in range(items.size):
        item, count = items[n], walked.item_count[items[n]]
        used, first = min(count, visitors), np.int64(-1)
        taken[n] = 0
        for back in range(1, used + 1):
            cell = (count - back) % visitors
            if item_users[item, cell] == user:
                taken[n] += 1
                first = position_of(item_positions[item, cell], walked.user_count[user])
        for p in range(positions.size):
            taken[n] += visited[p] == item and (first < 0 or positions[p] < first)
        users, told, left = np.full(visitors, GONE, np.int32), np.full(visitors, 0, np.uint16), count - taken[n]
        to = left
        for back in range(1, used + 1):
            cell = (count - back) % visitors
            if item_users[item, cell] != user:
                to -= 1
                users[to % visitors] = item_users[item, cell]
                told[to % visitors] = item_positions[item, cell]
        item_users[item], item_positions[item] = users, told
        walked.item_count[item] = left


@kernel
def _look(items: Int32, walked: Rings, earliest: Float64, alone: NDArray[np.bool_]) -> None:
    """Find the earliest visit of each item, and whether no visitor visited any other item beside it.

    NaN, and false, where the rings do not hold all of its visits.
    """
    visitors, length, user_items = walked.item_users.shape[1], walked.user_items.shape[1], walked.user_items
    for n in range(items.size):
        item, count = items[n], walked.item_count[items[n]]
        earliest[n], alone[n] = np.inf if count <= visitors else np.nan, count <= visitors
        for cell in range(min(count, visitors)):
            user = walked.item_users[item, cell]
            position = position_of(walked.item_positions[item, cell], walked.user_count[max(user, 0)])
            if user < 0 or not held(walked.user_count, user, position, length):
                earliest[n], alone[n] = np.nan, False
                break
            earliest[n] = min(earliest[n], walked.user_times[user, position % length])
            before, after = position - 1, position + 1
            if before >= 0:
                alone[n] &= held(walked.user_count, user, before, length) and user_items[user, before % length] == item
            if after < walked.user_count[user]:
                alone[n] &= user_items[user, after % length] == item


def erase(models: Models, user_ids: Packed, *, close_up: bool = True) -> NDArray[np.int32]:
    """Erase users from the models; give the indexes of the items whose statistics changed, int32[n] ascending.

    The users' rows go, and those of later ones close up, so that users' indexes change where ``models.users`` is another object.
    Without ``close_up`` the rows stay, empty, as if the users had been named and never seen: that costs nothing per other user.
    Ids that the models do not know change nothing. A function of models and ids alone: equal on all workers.

    Equal to a run in which they never acted, by id and up to the rounding of sums: rings and counts of visits, all of popularity,
    segments' sizes, hours and types of events. That holds while a user had no more visits than a user's ring holds, and no item
    of theirs more than an item's ring; what is older is said in docs/models.md, as is what nothing can be taken from.
    """
    found = models.users.find(user_ids)
    users = list(dict.fromkeys(found[found >= 0].tolist()))
    if not users:
        return np.zeros(0, np.int32)
    models.reserve()
    told = [models.visits.of(user) for user in users]
    items = np.unique(np.concatenate([_take_back(models, *one) for one in zip(users, told, strict=True)]))
    _settle(models, items, np.unique(np.concatenate([one.segments for one in told])))
    if close_up:
        models.active_users.never(np.array(users, np.int64))
        keep_users(models, np.delete(np.arange(len(models.users)), users))
    else:
        vacate_users(models, np.array(users, np.int64))
    return items


def _take_back(models: Models, user: int, told: Remembered) -> Int32:
    """Let a user's visits not count; the row is still there. Give the items, each once."""
    visits, numbers = models.visits, models.active_items.numbers
    models.catalog.take_back(visits, user, told, numbers if models.active_items.limit else None)
    items = _items(visits, user, told)
    taken = np.zeros(len(items), np.int64)
    _close(user, items, told.positions, told.items, rings(visits), taken)
    visits.population -= int(len(told.items) > 0)
    in_a_row = told.items[1:][told.items[1:] == told.items[:-1]]
    taken -= np.count_nonzero(in_a_row == items[:, None], axis=1)
    models.catalog.count_back(items, taken, visits.item_count[items])
    models.popularity.take_back(told.items, told.weights, told.times, told.segments)
    models.habits.take_back(told.segments, told.times, told.kinds, UNTOLD)
    models.members.take_back(user)
    return items


def _settle(models: Models, items: Int32, segments: Int16) -> None:
    """Put right what follows from all the visits that are left of these items."""
    earliest, alone = np.zeros(len(items)), np.zeros(len(items), np.bool_)
    walked = rings(models.visits)
    _look(items, walked, earliest, alone)
    models.popularity.settle(items, segments[segments >= 0], earliest, walked, models.visits.user_segments)
    # Nobody visited another item beside these, so what remains in their vectors is rounding.
    models.catalog.context[items[alone]] = 0


def _items(visits: Visits, user: int, told: Remembered) -> Int32:
    """List the items in whose rings the user is, or that are in the user's."""
    items = told.items[told.items >= 0]
    if len(told.positions) and told.positions[0] > 0:  # there were visits before those
        items = np.concatenate([items, np.flatnonzero((visits.item_users == user).any(axis=1)).astype(np.int32)])
    return np.unique(items)
