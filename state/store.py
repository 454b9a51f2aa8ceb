"""The profiles and the applied offsets in Redis: one round trip to load users, one to commit a micro-batch."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from state.cluster import Cluster
from state.connection import Client, Command, script, send
from state.keys import USER_TTL, Keys
from state.profiles import Stored, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["CHUNK", "Applied", "Store"]

# One script call holds Redis for about 2 ms at this size; larger calls leave the processor's cache and are slower.
CHUNK: Final = 100
NOTHING: Final = -1


class Applied(NamedTuple):
    """How far a commit brings a partition: from ``expected`` (None: not known) to ``end``, the next offset."""

    expected: int | None
    end: int


class Store:
    """Users and applied offsets on one Redis, or on a Redis Cluster."""

    def __init__(self, redis: Client, keys: Keys, *, chunk: int = CHUNK, ttl: int = USER_TTL) -> None:
        """Take the client, the key names, the users per script call and the seconds a user is kept."""
        self._redis = redis
        self._keys = keys
        self.cluster = isinstance(redis, Cluster)
        self._chunk = 1 if self.cluster else chunk
        self._ttl = ttl
        self._read = script("read_users")
        # EVAL, not EVALSHA: it cannot fail with NOSCRIPT half-way through a commit, and the text is 0.5 % of a call.
        self._write = script("write_users")
        self._advance = script("advance_applied")
        self._seen: dict[int, int] | None = None

    async def load(self, user_ids: Sequence[str]) -> list[Stored | None]:
        """Read users in one round trip; None: unknown. The caller never loads a user whose commit is under way.

        The applied offsets come along, after the users: where those are as expected, none of these users was lost (`seen`).
        """
        applied: Command = ("HGETALL", self._keys.applied)
        if self.cluster:
            *found, stored = await self._send([*(("HGETALL", self._keys.user(user_id)) for user_id in user_ids), applied])
        else:
            *replies, stored = await self._send([*self._read_commands(user_ids), applied])
            found = [dict(zip(flat[::2], flat[1::2], strict=True)) for reply in replies for flat in reply]
        self._seen = _offsets(stored)
        return [Stored.from_hash(u, stored) if stored else None for u, stored in zip(user_ids, found, strict=True)]

    def seen(self) -> dict[int, int] | None:
        """Give the next offset of every partition as the last load found it, once; None where nothing was loaded since."""
        found, self._seen = self._seen, None
        return found

    async def applied(self) -> dict[int, int]:
        """Read the next offset of every partition."""
        (stored,) = await send(self._redis, [("HGETALL", self._keys.applied)], steady=True)
        return _offsets(stored)

    async def verify(self) -> dict[int, int]:
        """Read the same, and raise where a primary of a cluster is not the server it was, or does not answer."""
        if isinstance(self._redis, Cluster):
            await self._redis.verify()
        return await self.applied()

    async def revive(self) -> None:
        """Take the servers as they are now, after a failure and before anything is read again (rule 6)."""
        if isinstance(self._redis, Cluster):
            await self._redis.learn_primaries()
        await self.applied()

    async def doubtful(self, reached: Mapping[int, int]) -> dict[int, int]:
        """Of these partitions, give those that other primaries than these were seen to hold, and up to where each is safe.

        What was never seen before is taken for safe up to what is ``reached``.
        """
        if not isinstance(self._redis, Cluster):
            return {}
        (stored,) = await send(self._redis, [("HGETALL", self._keys.safe)], steady=True)
        noted = {int(partition): value.decode().split() for partition, value in stored.items()}
        await self.keep_safe({partition: at for partition, at in reached.items() if partition not in noted})
        now = self._redis.primaries
        return {partition: int(noted[partition][0]) for partition in reached if noted.get(partition, ("", now))[1] != now}

    async def keep_safe(self, offsets: Mapping[int, int]) -> None:
        """Note for whoever reads these partitions next: below these offsets all is safe, and these primaries have the rest."""
        if isinstance(self._redis, Cluster) and offsets:
            noted = [word for partition, at in offsets.items() for word in (partition, f"{at} {self._redis.primaries}")]
            await send(self._redis, [("HSET", self._keys.safe, *noted)], steady=True)

    async def set_back(self, offsets: Mapping[int, int]) -> None:
        """Take less for applied, so that whoever takes over while it is applied again does not begin behind it."""
        if offsets:
            words = [word for pair in offsets.items() for word in pair]
            await send(self._redis, [("HSET", self._keys.applied, *words)], steady=True)

    async def commit(self, writes: Mapping[int, Sequence[Write]], applied: Mapping[int, Applied]) -> dict[int, int | None]:
        """Write users, then the applied offsets, by partition; give the offsets stored before (None: none).

        An offset below the expected one means that Redis lost writes: nothing of that partition was written (on a
        cluster its users were), and the caller follows rule 6. Commits of one partition are sent in order.
        """
        users: list[Command] = []
        advances: dict[int, Command] = {}
        for partition in writes.keys() | applied.keys():
            goal = applied.get(partition)
            chunks = list(self._chunks(writes.get(partition, ())))
            users += [self._write_command(partition, goal, chunk) for chunk in chunks]
            if goal is not None:
                advances[partition] = self._advance_command(partition, goal, chunks)
        if self.cluster:
            # Witnesses live in other slots there, so the offsets wait until the users are acknowledged.
            await self._send(users)
            before = await self._send(advances.values())
        else:
            before = (await self._send([*users, *advances.values()]))[len(users) :]
        return {p: None if value == NOTHING else int(value) for p, value in zip(advances, before, strict=True)}

    def _read_commands(self, user_ids: Sequence[str]) -> Iterator[Command]:
        for first in range(0, len(user_ids), self._chunk):
            keys = [self._keys.user(user_id) for user_id in user_ids[first : first + self._chunk]]
            yield ("EVAL", self._read, len(keys), *keys)

    def _chunks(self, writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
        for first in range(0, len(writes), self._chunk):
            yield writes[first : first + self._chunk]

    def _write_command(self, partition: int, goal: Applied | None, chunk: Sequence[Write]) -> Command:
        keys = [self._keys.user(write.user_id) for write in chunk]
        expected = end = NOTHING
        if goal is not None and not self.cluster:
            expected, end = NOTHING if goal.expected is None else goal.expected, goal.end
            keys.append(self._keys.applied)
        values = chain.from_iterable([write.values for write in chunk])
        return ("EVAL", self._write, len(keys), *keys, partition, self._ttl, expected, end, *values)

    def _advance_command(self, partition: int, goal: Applied, chunks: Sequence[Sequence[Write]]) -> Command:
        witnesses = [] if self.cluster else [chunk[-1] for chunk in chunks]
        keys = [self._keys.applied, *(self._keys.user(write.user_id) for write in witnesses)]
        expected = NOTHING if goal.expected is None else goal.expected
        offsets = [-1 - write.at if write.gone else write.at for write in witnesses]
        return ("EVAL", self._advance, len(keys), *keys, partition, expected, goal.end, *offsets)

    async def _send(self, commands: Iterable[Command]) -> list[Any]:
        return await send(self._redis, commands, steady=True)


def _offsets(stored: Mapping[bytes, bytes]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in stored.items()}
