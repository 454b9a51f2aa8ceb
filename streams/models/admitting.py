"""Admitting: users and items get their indexes; where newcomers find no room, those least recently active leave all models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streams.models.compile import Int32, Int64
    from streams.models.ids import Packed
    from streams.models.models import Models

__all__ = ["admit_items", "admit_users", "bare", "keep_users", "vacate_users"]


def admit_users(models: Models, ids: Packed) -> Int32:
    """Give the indexes of the users whom a record names, int32[n]; to have room for them others may leave first."""
    looked = models.users.look(ids)
    staying = models.active_users.staying(looked.found)
    if staying is None:
        users = models.users.add(ids, looked)
    else:
        keep_users(models, staying)
        users = models.users.add(ids)
    models.active_users.enter(users)
    return users


def admit_items(models: Models, ids: Packed) -> Int32:
    """Give the indexes of items, as :func:`admit_users`."""
    looked = models.items.look(ids)
    staying = models.active_items.staying(looked.found)
    if staying is None:
        items = models.items.add(ids, looked)
    else:
        _keep_items(models, staying)
        items = models.items.add(ids)
    models.active_items.enter(items)
    return items


def keep_users(models: Models, staying: Int64) -> None:
    """Close up the rows of these users, int64[n] ascending; all others leave all models."""
    models.reserve()
    models.users = models.users.only(staying)
    models.visits.keep_users(staying)
    models.catalog.keep_users(staying)
    models.members.keep(staying)
    models.active_users.keep(staying)


def vacate_users(models: Models, gone: Int64) -> None:
    """Empty the rows of these users, int64[n], whom nothing else names any more; the rows stay theirs."""
    models.visits.vacate(gone)
    models.catalog.vacate(gone)
    models.members.vacate(gone)


def _keep_items(models: Models, staying: Int64) -> None:
    models.reserve()
    models.items = models.items.only(staying)
    models.visits.keep_items(staying)
    models.catalog.keep_items(staying)
    models.popularity.keep(staying)
    models.active_items.keep(staying)


def bare(models: Models, since: int, most: int) -> tuple[list[bytes], int]:
    """List items without a catalogue entry that came as number ``since`` or later, at most so many; and where to go on.

    Only where items may leave.
    """
    numbers = models.active_items.numbers
    first = int(np.searchsorted(numbers, since))
    found = first + np.flatnonzero(models.catalog.offset[first : len(numbers)] < 0)
    more = len(found) > most
    return models.items.names(found[:most].tolist()), int(numbers[found[most]]) if more else models.active_items.given
