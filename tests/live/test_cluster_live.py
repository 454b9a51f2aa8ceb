"""The same promise on a Redis Cluster: slots move, a primary dies with writes that its replica never got, and all count once."""

from __future__ import annotations

import contextlib
import random
import shutil

import pytest
import redis
from redis.exceptions import RedisClusterException

from tests.live.conftest import assert_everything, assert_taught, shopping
from tests.outside import assert_exact, event, wish
from tests.shards import Shards
from tests.waiting import wait_until_sync

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SEED = 20_261_128

OF_ALL = ("applied", "safe", "model")


@pytest.fixture
def redis_server():
    """Three shards of this test's own."""
    with Shards(shutil.which("redis-server")) as shards:
        yield shards


@pytest.fixture
def prefix(name, redis_server):
    """One with which a shard has none of the keys of all: else, of five, one has them on three shards."""
    tried = (name(f"test-{number}") + ":" for number in range(100))
    return next(one for one in tried if len(owners(redis_server, one)) < len(redis_server.primaries))


def owners(shards, prefix):
    """The shards that have a key of all."""
    return {shards.owner(slot).port for slot in shards.slots_of(f"{prefix}{key}".encode() for key in OF_ALL)}


def busiest(outside, events, count):
    """The keys of the users who act most, beside those of all."""
    acts = [str(one["user_id"]) for one in events]
    users = sorted(set(acts), key=acts.count, reverse=True)[:count]
    return [f"{outside.prefix}{key}".encode() for key in (*OF_ALL, *(f"user:{user}" for user in users))]


def test_every_event_counts_once_while_slots_move(crew, outside, load, redis_server):
    chance = random.Random(SEED)
    events = shopping(SEED, 3_000, users=300)
    workers = crew(2, snapshot={"seconds": 2})
    slots = redis_server.slots_of(busiest(outside, events, 50))
    with load(events, speed=1_000) as sending:
        for number, slot in enumerate(chance.sample(slots, len(slots))):
            to = chance.choice([node for node in redis_server.primaries if node is not redis_server.owner(slot)])
            with redis_server.moving(slot, to):
                # While it is on its way its users act on.
                sending.reaches(400 + 50 * number)
    assert_everything(outside, events, sending.places)
    assert all(one.alive for one in workers)
    # A moved slot has lost nothing: nobody had to go back.
    assert not any("going back" in one.words() for one in workers)


def test_every_event_counts_once_when_a_primary_and_a_worker_die_with_writes_that_no_replica_got(
    crew, outside, load, redis_server
):
    events = shopping(SEED + 1, 4_500, users=300)
    workers = crew(2, snapshot={"seconds": 2})
    taken = {redis_server.owner(slot).port for slot in redis_server.slots_of(busiest(outside, events, 0)[:2])}
    # Not the one that has `applied`, where less than was acknowledged would be seen.
    victim = next(node for node in redis_server.primaries if node.port not in taken)
    with load(events, speed=1_000) as sending:
        sending.reaches(3_000)
        heir = redis_server.cut_off(victim)
        before = victim.written
        sending.reaches(3_500)
        assert victim.written > before
        # One worker has no time to notice, and its partitions are taken up by the other or by the next.
        workers[0].kill()
        redis_server.fail_over(victim)
        workers[0].launch()
    assert heir.primary
    assert_everything(outside, events, sending.places)
    assert workers[1].alive
    assert went_back(workers)
    # Once more, and no event follows that would have to do with that shard.
    victim.start()
    wait_until_sync(redis_server.whole, what="the cluster is whole again")
    redis_server.cut_off(heir)
    outside.push(*events[:300])
    outside.settle()
    before = went_back(workers)
    redis_server.fail_over(heir)
    wait_until_sync(lambda: went_back(workers) > before, what="a worker noticed")
    wait_until_sync(lambda: is_exact(outside, [*events, *events[:300]]), within=60, what="all is applied again")
    outside.settle()
    assert_taught(outside, len(events) + 300)


def test_who_is_forgotten_is_gone_though_a_replica_that_never_heard_of_it_took_over(crew, outside, load, redis_server):
    events = shopping(SEED + 2, 3_000, users=300)
    workers = crew(2, snapshot={"seconds": 2})
    ada, slot = lonely(outside, events, redis_server, owners(redis_server, outside.prefix))
    victim = redis_server.owner(slot)
    with load(events, speed=500) as sending:
        outside.push(*(event(ada, f"i{n}") for n in range(20)))
        sending.reaches(1_000)
        wait_until_sync(lambda: outside.user(ada).get("events") == 20, within=60, what="the user is known")
        heir = redis_server.cut_off(victim)
        outside.push(wish(ada))
        wait_until_sync(lambda: not count(victim, slot), within=60, what="the primary has forgotten the user")
        assert count(heir, slot) == 1
        redis_server.fail_over(victim)
    assert heir.primary
    outside.settle(within=120)
    wait_until_sync(lambda: nowhere(outside, ada), within=90, what=f"{ada} is named nowhere", every=0.2)
    assert_exact(outside, events)
    assert_taught(outside, len(events) + 20)
    assert all(one.alive for one in workers)


def lonely(outside, events, shards, taken):
    """A user whose slot has no other user's key, on a shard that has none of the keys of all."""
    others = set(shards.slots_of(busiest(outside, events, 300)))
    for number in range(1_000):
        user = f"ada-7d3e{number}"
        (slot,) = shards.slots_of([f"{outside.prefix}user:{user}".encode()])
        if slot not in others and shards.owner(slot).port not in taken:
            return user, slot
    raise AssertionError("every shard has keys of all")


def count(node, slot):
    """How many keys of a slot a node has, a replica too."""
    return int(node.ask("CLUSTER COUNTKEYSINSLOT", slot))


def nowhere(outside, user):
    """Whether neither Redis, with its snapshots, nor the learned log names a user; a client may find out late who is primary."""
    with contextlib.suppress(redis.RedisError, RedisClusterException):
        return not outside.named(user) and not outside.named_in_log(user)
    return False


def is_exact(outside, events):
    """Whether all is exact by now: each worker notices in its own time."""
    with contextlib.suppress(AssertionError):
        assert_exact(outside, events)
        return True
    return False


def went_back(workers):
    """How often partitions were applied again."""
    return sum(one.words().count("applying again from") for one in workers)
