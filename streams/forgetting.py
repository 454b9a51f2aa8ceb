"""Forgetting: what the owner of events partition 0 does after the models forgot a user, so that no trace of the user is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from state import snapshots
from state.connection import Client
from state.forgetting import delete_older, sweep
from state.keys import Keys
from state.store import Store
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
        lock: asyncio.Lock,
        redis: Client,
        renew: Callable[[], Awaitable[None]],
        retract: Callable[[Sequence[str]], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fold = fold
        self._lock = lock
        self._redis = redis
        self._store = Store(redis, Keys(settings.prefix))
        self._keys = Keys(settings.prefix)
        self._renew, self._retract = renew, retract
        self._clock = clock
        self._pseudonyms = bool(settings.pseudonyms.key_file)
        self._late = _LATE * settings.intake.session_timeout_ms / 1000
        self._waiting: list[_Waiting] = []
        self._cut = 0

    async def tick(self, *, owner: bool) -> None:
        """Take note of who was forgotten; the owner of partition 0 clears away what is left of them, now and when all is late."""
        now = self._clock()
        async with self._lock:  # or a fold may be adding some
            self._waiting += [_Waiting(user, now + self._late) for user in self._fold.forgotten]
            self._fold.forgotten.clear()
        due = [one for one in self._waiting if one.due <= now]
        if owner:
            fresh = [one for one in self._waiting if not one.done]
            if fresh or due:
                await self._clear(fresh, due)
            await self._cut_off()
        self._waiting = [one for one in self._waiting if one not in due]

    async def _clear(self, fresh: list[_Waiting], due: list[_Waiting]) -> None:
        """Renew the snapshots and let the log go, then look through all keys once, for all who wait."""
        begun, users = self._clock(), [one.user for one in (*fresh, *due)]
        below = max(user.logged for user in users) + 1
        await delete_older(self._redis, self._keys, [(user.user_id, user.partition, user.offset) for user in users])
        await self._cut_off()
        swept = await sweep(self._redis, self._keys, {user.user_id for user in users}, below)
        await self._say_again([one.user.user_id for one in due])
        for one in fresh:
            one.done = True
        if fresh:
            said = "forgot %d users: looked at %d keys, mended %d profiles, in %.1f s"
            log.info(said, len(fresh), swept.keys, swept.mended, self._clock() - begun)

    async def _cut_off(self) -> None:
        """Have the log begin behind all that names who is forgotten, which takes two snapshots of what is behind.

        For as long as somebody waits it is looked at again: Redis may have lost the snapshots, and has older ones then.
        """
        below = 1 + max([self._fold.stray, *(one.user.logged for one in self._waiting)])
        if not self._waiting and below <= self._cut:
            return
        current = await snapshots.pointer(self._redis, self._keys)
        if any(one is None or one.offset < below for one in (current.newest, current.previous)):
            await self._renew()
        self._cut = below

    async def _say_again(self, user_ids: Sequence[str]) -> None:
        """Retract once more what a late writer may have said on the topic of segments of users who have not come back."""
        if self._pseudonyms:
            return  # that topic is keyed by the ids that came in, which nobody can make of what the log says
        stored = await self._store.load(user_ids) if user_ids else []
        away = [user_id for user_id, one in zip(user_ids, stored, strict=True) if one is None or not one.profile.events]
        if away:
            await self._retract(away)
