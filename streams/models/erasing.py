"""Erasing: users whose every row goes from the models, as if a limit had made them leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streams.models.admitting import keep_users

if TYPE_CHECKING:
    from streams.models.compile import Int32
    from streams.models.ids import Packed
    from streams.models.models import Models

__all__ = ["erase"]


def erase(models: Models, user_ids: Packed) -> Int32:
    """Erase users from all models; those unknown are passed over.

    What belongs to no row stays: decayed counts of items, sums of the segments, the blend.

    Parameters
    ----------
    user_ids : Packed
        Whom; perhaps more than once.

    Returns
    -------
    int32[n]
        Indexes of the items that the users had visited, each once, ascending.
    """
    found = np.unique(models.users.find(user_ids))
    found = found[found >= 0]
    if not len(found):
        return np.zeros(0, np.int32)
    models.reserve()
    rings = models.visits.user_items[found]
    changed = np.unique(rings[rings >= 0]).astype(np.int32)
    keep_users(models, np.delete(np.arange(len(models.users)), found))
    return changed
