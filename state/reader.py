"""The public way to read what Upwell knows: synchronous, typed, one call per question."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from redis import Redis, RedisCluster, exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from state import items, model, segments, trending
from state.cluster import named_nodes
from state.connection import CONNECT_TIMEOUT, TIMEOUT, address, is_cluster_url
from state.keys import SEGMENTS, Keys
from state.profiles import Entry, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from state.items import Item
    from state.model import Model
    from state.segments import Segment
    from state.trending import Trending

__all__ = ["Neighbor", "Reader", "Reason", "Recommendation", "Recommended", "StateUnavailable", "Trigger", "User"]


_AWAY: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
)


class StateUnavailable(RuntimeError):
    """Redis cannot be read; the message says where and what to do."""


class Reason(msgspec.Struct, frozen=True):
    """Why an item is recommended: a source, its share of the score, and the user's items it rests on."""

    source: str
    share: float
    because: list[str] = []


class Recommended(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recommended item; one that was drawn tells the chance with which it was, its propensity."""

    item_id: str
    score: float
    reasons: list[Reason] = []
    propensity: float | None = None


class Trigger(msgspec.Struct, frozen=True):
    """The event that caused a recommendation."""

    partition: int
    offset: int
    event_id: str | None = None


class Recommendation(msgspec.Struct, frozen=True):
    """A message of the recommendations topic."""

    recommendation_id: str
    user_id: str
    generated_at: float | str
    trigger: Trigger
    items: list[Recommended]
    segment: int | None = None
    model_version: int | None = None
    latency_ms: float | None = None


class Neighbor(msgspec.Struct, frozen=True):
    """A user of similar taste."""

    user_id: str
    similarity: float


class User(msgspec.Struct, frozen=True):
    """A user's profile; ``at`` maps a partition of the events topic to the last offset folded in.

    ``consent`` is what the user last said of it, None for nothing; of one who refused there is nothing else. ``aliases`` are the
    ids of devices and browsers that turned out to be the user's; each of them reads as the user.
    """

    user_id: str
    at: dict[int, int]
    events: int
    updated_at: float
    segment: int | None
    history: list[Entry]
    interests: dict[str, float]
    neighbors: list[Neighbor]
    recommendations: Recommendation | None
    consent: bool | None = None
    aliases: list[str] = []


def _user(stored: Stored) -> User:
    profile, message = stored.profile, stored.recommendations
    return User(
        user_id=profile.user_id,
        at=profile.at,
        events=profile.events,
        updated_at=profile.updated_at,
        segment=profile.segment,
        history=stored.history,
        interests=profile.interests,
        neighbors=msgspec.json.decode(stored.neighbors, type=list[Neighbor]),
        recommendations=_recommendation(profile.user_id, message) if message else None,
        consent=profile.consent,
        aliases=[*profile.aliases],
    )


def _recommendation(user_id: str, message: bytes) -> Recommendation:
    """Decode a stored message, which may have a pseudonym for the user's id."""
    return msgspec.structs.replace(msgspec.json.decode(message, type=Recommendation), user_id=user_id)


def _cluster(url: str, **options: Any) -> RedisCluster:  # noqa: ANN401 - redis-py's
    nodes, own = named_nodes(url)
    tls: Any = {"ssl": True} if own.pop("tls") else {}
    node: Any = ClusterNode
    return RedisCluster(startup_nodes=[node(*one) for one in nodes], **(options | own | tls))


class Reader:
    """Reads users, items, segments, trending items and the model's figures from Redis.

    ``Reader().recommendations("alice")`` gives the newest recommendation of a user, or None for an unknown one.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379/0",
        prefix: str = "upwell:",
        *,
        cluster: bool = False,
        pseudonym: Callable[[str], str] = str,
    ) -> None:
        """Take the address of Redis and the prefix of the keys.

        ``redis+cluster://host:port,host:port`` names some nodes of a Redis Cluster; ``cluster=True`` says so of any URL.
        ``pseudonym`` gives what a user's id is stored as, where workers store pseudonyms.
        """
        self._address = address(url)
        self._keys = Keys(prefix)
        self._pseudonym = pseudonym
        # A reader may be idle for hours; one more attempt on a fresh connection is invisible to it.
        options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT, "retry": Retry(NoBackoff(), 1)}
        with self._reachable():
            self._redis: Any = (_cluster if cluster or is_cluster_url(url) else Redis.from_url)(url, **options, protocol=2)

    def user(self, user_id: str) -> User | None:
        """Read the profile of a user, or of the person whom an anonymous id turned out to be; None: unknown."""
        stored = self._hash(self._user_key(user_id))
        if person := stored.get(b"alias", b"").decode():
            user_id, stored = person, self._hash(self._keys.user(person))
        return _user(Stored.from_hash(user_id, stored)) if stored else None

    def recommendations(self, user_id: str) -> Recommendation | None:
        """Read a user's newest recommendation; None: unknown."""
        found = self._of_user(user_id, "recommendations")
        if not found:
            return None
        told = msgspec.json.decode(found, type=Recommendation)
        # Under the id that was asked for, where ids are stored as pseudonyms; else the person's, where it is an alias.
        return told if self._pseudonym(user_id) == user_id else msgspec.structs.replace(told, user_id=user_id)

    def history(self, user_id: str) -> list[Entry] | None:
        """Read a user's last events, newest first; None: unknown."""
        found = self._of_user(user_id, "history")
        return msgspec.json.decode(found, type=list[Entry]) if found else None

    def neighbors(self, user_id: str) -> list[Neighbor] | None:
        """Read the most similar users, most similar first; None: unknown."""
        found = self._of_user(user_id, "neighbors")
        return msgspec.json.decode(found, type=list[Neighbor]) if found else None

    def item(self, item_id: str) -> Item | None:
        """Read an item; None: unknown."""
        return items.decode(item_id, self._hash(self._keys.item(item_id)))

    def segments(self) -> list[Segment]:
        """Read all segments by id."""
        with self._reachable(), self._redis.pipeline(transaction=False) as pipeline:
            for k in range(SEGMENTS):
                pipeline.hgetall(self._keys.segment(k))
            stored = pipeline.execute()
        found = (segments.decode(k, fields) for k, fields in enumerate(stored))
        return [segment for segment in found if segment]

    def trending(self, n: int = 20) -> list[Trending]:
        """Read the n items that are visited most these days."""
        if n <= 0:
            return []
        with self._reachable():
            return trending.decode(self._redis.zrevrange(self._keys.trending, 0, n - 1, withscores=True))

    def model(self) -> Model | None:
        """Read how far the models learned and how well they do; None: nothing was published yet."""
        return model.decode(self._hash(self._keys.model))

    def applied(self) -> dict[int, int]:
        """Read the next offset of every partition of the events topic."""
        return {int(partition): int(offset) for partition, offset in self._hash(self._keys.applied).items()}

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def _user_key(self, user_id: str) -> bytes:
        return self._keys.user(self._pseudonym(user_id))

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        with self._reachable():
            stored: dict[bytes, bytes] = self._redis.hgetall(key)
            return stored

    def _of_user(self, user_id: str, name: str) -> bytes | None:
        """Read a field of a user, or of the person whose alias the id is."""
        with self._reachable():
            stored: bytes | None
            stored, alias = self._redis.hmget(self._user_key(user_id), [name, "alias"])
            if alias:
                (stored,) = self._redis.hmget(self._keys.user(alias.decode()), [name])
            return stored

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            reason = str(error).rstrip(".")
            fix = "start it there, or give the URL of the Redis that Upwell writes to (UPWELL_REDIS)"
            raise StateUnavailable(f"Redis at {self._address} cannot be read ({reason}); {fix}.") from error
