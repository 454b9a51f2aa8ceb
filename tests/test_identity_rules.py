"""Devices of a person: in any history of crashes, zombies and lost writes each event counts once, for the person."""

# ruff: noqa: ARG001, ARG005 - what is broken takes the arguments of what is whole

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streams.decode
from state.profiles import Profile
from streams.identity import Identity
from streams.knobs.servers import PseudonymKnobs
from streams.learned import Teacher
from streams.links import Hidden
from streams.pipeline import Answer
from streams.positions import Positions
from tests.identity_world import IdentityWorld
from tests.rules_history import KINDS, WORKERS, Step
from tests.rules_worker import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from state.keys import Keys
    from streams.decode import Homes
    from streams.settings import Settings

HISTORIES = 60
KINDS_HERE = [kind for kind, often in (KINDS | {"identify": 14}).items() for _ in range(often)]

step = st.builds(
    Step,
    st.sampled_from(KINDS_HERE),
    st.integers(0, WORKERS - 1),
    st.integers(0, 2),
    st.integers(1, 7),
    st.integers(0, (1 << 16) - 1),
)


def steps(random: Random) -> list[Step]:
    return [
        Step(
            random.choice(KINDS_HERE),
            random.randrange(WORKERS),
            random.randrange(3),
            random.randint(1, 7),
            random.getrandbits(16),
        )
        for _ in range(random.randint(20, 150))
    ]


async def live(redis: Redis, keys: Keys, history: int, knobs: Settings = SETTINGS) -> None:
    """Live through the history of a seed."""
    await redis.flushdb()
    random = Random(history)
    await IdentityWorld(redis, keys, random.randint(1, 3), knobs).run(steps(random))


async def live_all(redis: Redis, keys: Keys, knobs: Settings = SETTINGS) -> None:
    for history in range(HISTORIES):
        await live(redis, keys, history, knobs)


@pytest.fixture
def hidden(tmp_path: Path) -> Settings:
    """The same settings with a key of pseudonyms."""
    file = tmp_path / "key"
    file.write_bytes(b"k" * 32)
    file.chmod(0o600)
    return SETTINGS.model_copy(update={"pseudonyms": PseudonymKnobs(key_file=str(file))})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(1, 3), st.lists(step, max_size=100))
async def test_each_event_counts_once_and_for_the_person_in_any_history(
    redis: Redis, keys: Keys, partitions: int, history: list[Step]
) -> None:
    await redis.flushdb()
    await IdentityWorld(redis, keys, partitions).run(history)


# In this one profiles are read that Redis lost, before anything else tells that it lost some.
LOST = 1043


@pytest.mark.parametrize("history", [*range(HISTORIES), LOST])
async def test_each_event_counts_once_and_for_the_person_in_these_histories(redis: Redis, keys: Keys, history: int) -> None:
    await live(redis, keys, history)


@pytest.mark.parametrize("history", range(0, HISTORIES, 3))
async def test_so_it_does_where_ids_are_stored_as_pseudonyms(redis: Redis, keys: Keys, hidden: Settings, history: int) -> None:
    await live(redis, keys, history, hidden)


def by_its_hash(users: Sequence[str], names: Mapping[str, str], partitions: int, homes: Homes) -> dict[str, int]:
    """Look for a pseudonym where an id that is spelled so would be."""
    return found_by_name(users, dict(zip(users, users, strict=True)) | names, partitions, homes)


found_by_name = streams.decode._found
BROKEN_WITH_A_KEY = {
    "a person is sought on partition 0": (Profile, "alias_home", property(lambda self: 0, lambda self, value: None)),
    "a pseudonym is at home where its hash says": (streams.decode, "_found", by_its_hash),
    "a person is answered under the pseudonym": (
        streams.decode.Placed,
        "user_id",
        property(lambda self: self.sender or self.event.user_id),
    ),
    "what a worker sends tells nobody whose pseudonyms it names": (Hidden, "mark", property(lambda self: b"")),
}


@pytest.mark.parametrize("rule", BROKEN_WITH_A_KEY)
async def test_a_broken_rule_of_pseudonyms_shows(
    redis: Redis, keys: Keys, hidden: Settings, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*BROKEN_WITH_A_KEY[rule])
    with pytest.raises(AssertionError):
        await live_all(redis, keys, hidden)


def of_a_partition(self: Profile, alias: str, offset: int) -> None:
    """Fence devices as re-keyed events are fenced, by the partition that they come from."""
    self.person = True
    self.aliases[alias] = -1


BROKEN = {
    "what came from a device has no fence": (Profile, "heard", lambda self, alias, offset: False),
    "the fence of a device does not move": (Profile, "hear", of_a_partition),
    "events of an alias stay where they are": (Identity, "_pass_on", lambda *_: None),
    "what goes to other owners goes in any order": (
        Answer,
        "sent_on",
        lambda self: [*self.linked[::-1], *self.rekeyed],
    ),
    "what came from a device is taught each time": (Teacher, "fresh", lambda self, partition, origin, offset: True),
    "a person may be merged away": (Profile, "person", property(lambda self: False, lambda self, value: None)),
}


@pytest.mark.parametrize("rule", BROKEN)
async def test_a_broken_rule_shows(redis: Redis, keys: Keys, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BROKEN[rule])
    with pytest.raises(AssertionError):
        await live_all(redis, keys)


async def test_profiles_that_redis_lost_would_teach_the_wrong_user(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Positions, "loaded", lambda *_: None)
    with pytest.raises(AssertionError):
        await live(redis, keys, LOST)
