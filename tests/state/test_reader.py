"""The public reader gives typed answers, None for the unknown, and one sentence when Redis is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from state import Reader, StateUnavailable
from state.profiles import Profile
from state.store import Applied, Store
from streams.embedded import free_port
from tests.state.strategies import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from state.keys import Keys
    from streams.embedded import RedisServer


def message(user_id: str) -> bytes:
    reason = {"source": "next", "share": 0.5, "because": [user_id]}
    return msgspec.json.encode(
        {
            "recommendation_id": "0-1",
            "user_id": user_id,
            "generated_at": 1.5,
            "trigger": {"partition": 0, "offset": 1, "event_id": None},
            "segment": None,
            "model_version": 3,
            "items": [{"item_id": user_id, "score": 0.25, "reasons": [reason]}],
            "latency_ms": 2.0,
            "of_a_later_version": True,
        }
    )


@pytest.fixture
def reader(redis_server: RedisServer, keys: Keys) -> Iterator[Reader]:
    with Reader(redis_server.url, keys.prefix.decode()) as opened:
        yield opened


@pytest.fixture
async def users(redis: Redis, keys: Keys) -> list[str]:
    writes = []
    for n, user_id in enumerate(HOSTILE):
        one = Profile(user_id, 0, {0: n}, events=1, updated_at=2.0, segment=n)
        one.interest(["brand:acme"], 1.0, 1.0)
        history = msgspec.json.encode([{"item_id": user_id, "type": "view", "at": 1.0}])
        neighbors = msgspec.json.encode([{"user_id": user_id, "similarity": 0.5}])
        writes.append(one.write(0, history, neighbors, message(user_id)))
    await Store(redis, keys).commit({0: writes}, {0: Applied(None, len(writes))})
    return HOSTILE


def test_users_come_back_whatever_their_ids_are(reader: Reader, users: list[str]) -> None:
    for n, user_id in enumerate(users):
        user = reader.user(user_id)
        assert user is not None
        assert user.recommendations is not None
        assert (user.user_id, user.segment, user.at, user.events) == (user_id, n, {0: n}, 1)
        assert user.interests == {"brand:acme": 1.0}
        assert user.recommendations.items[0].reasons[0].because == [user_id]
        assert reader.history(user_id) == user.history
        assert reader.neighbors(user_id) == user.neighbors
        assert reader.recommendations(user_id) == user.recommendations
        assert [user.history[0].item_id, user.neighbors[0].user_id, user.recommendations.user_id] == [user_id] * 3


@pytest.mark.usefixtures("users")
def test_the_unknown_is_none_or_empty(reader: Reader) -> None:
    assert reader.user("nobody") is None
    assert reader.recommendations("nobody") is None
    assert reader.history("nobody") is None
    assert reader.neighbors("nobody") is None
    assert reader.item("nothing") is None
    assert reader.model() is None
    assert (reader.segments(), reader.trending(), reader.trending(0)) == ([], [], [])
    assert reader.applied() == {0: len(HOSTILE)}


def test_redis_away_is_one_sentence_with_the_address_and_the_fix() -> None:
    port = free_port()
    with Reader(f"redis://me:secret@127.0.0.1:{port}/0") as reader, pytest.raises(StateUnavailable) as raised:
        reader.user("alice")
    said = str(raised.value)
    assert f"Redis at redis://127.0.0.1:{port}/0 cannot be read" in said
    assert "start it there" in said
    assert "secret" not in said


def test_a_reader_survives_a_restart_of_redis(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    with Reader(server.url) as reader:
        assert reader.applied() == {}
        server.kill()
        server.start()
        assert reader.applied() == {}
