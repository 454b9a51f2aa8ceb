"""Forgetting: what the owner of events partition 0 does after the models forgot a user, so that no trace of the user is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from state import snapshots
from state.connection import Client
from state.forgetting import delete_older, sweep
from state.keys import Keys
from streams.follower import Fold, Forgotten
from streams.settings import Settings

__all__ = ["Forgetting"]

log = logging.getLogger(__name__)

# A worker that was taken for dead may still write what it had in hand: within so many times the silence that Kafka allows.
_LATE = 2.0


@dataclass(slots=True)
class _Waiting:
    """A user who was forgotten, and when a last look is due (monotonic seconds); ``done`` once nothing is left for now."""

    user: Forgotten
    due: float
    done: bool = False


class Forgetting:
    """Cleans up after the users whom the log made forget; all workers take note, so that whoever owns partition 0 knows."""

    def __init__(
        self,
        settings: Settings,
        fold: Fold,
        redis: Client,
        renew: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fold = fold
        self._redis = redis
        self._keys = Keys(settings.prefix)
        self._renew = renew
        self._clock = clock
        self._late = _LATE * settings.intake.session_timeout_ms / 1000
        self._waiting: list[_Waiting] = []

    async def tick(self, *, owner: bool) -> None:
        """Take note of who was forgotten; the owner of partition 0 clears away what is left of them, now and when all is late."""
        now = self._clock()
        self._waiting += [_Waiting(user, now + self._late) for user in self._fold.forgotten]
        self._fold.forgotten.clear()
        due = [one for one in self._waiting if one.due <= now]
        if owner:
            fresh = [one for one in self._waiting if not one.done]
            if fresh or due:
                await self._clear(fresh, due)
        self._waiting = [one for one in self._waiting if one not in due]

    async def _clear(self, fresh: list[_Waiting], due: list[_Waiting]) -> None:
        """Renew the snapshots and let the log go, then look through all keys once, for all who wait."""
        begun, users = self._clock(), [one.user for one in (*fresh, *due)]
        below = max(user.logged for user in users) + 1
        await delete_older(self._redis, self._keys, [(user.user_id, user.partition, user.offset) for user in users])
        current = await snapshots.pointer(self._redis, self._keys)
        if any(one is None or one.offset < below for one in (current.newest, current.previous)):
            await self._renew()
        swept = await sweep(self._redis, self._keys, {user.user_id for user in users}, below)
        for one in fresh:
            one.done = True
        if fresh:
            said = "forgot %d users: looked at %d keys, mended %d profiles, in %.1f s"
            log.info(said, len(fresh), swept.keys, swept.mended, self._clock() - begun)
