import asyncio
import logging
import pickle
import random

import aiokafka.errors as kafka
import pytest
import redis.exceptions as redis
from aiokafka import AIOKafkaConsumer

from streams.dead_letters import partitions_of
from streams.embedded import Broker
from streams.failures import Poison, Refusal, Transient, is_transient, persist


class Clock:
    """Counts the seconds that were slept, without sleeping."""

    def __init__(self):
        self.pauses = []

    async def sleep(self, seconds):
        self.pauses.append(seconds)


class Flaky:
    """Fails as often as told, then gives its answer."""

    def __init__(self, times, error):
        self.times, self.error, self.calls = times, error, 0

    async def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.mark.parametrize(
    "error",
    [
        Transient("later"),
        TimeoutError(),
        ConnectionRefusedError(),
        OSError(113, "No route to host"),
        kafka.KafkaConnectionError(),
        kafka.KafkaTimeoutError(),
        kafka.NotLeaderForPartitionError(),
        kafka.NotEnoughReplicasError(),
        kafka.GroupCoordinatorNotAvailableError(),
        redis.ConnectionError(),
        redis.TimeoutError(),
        redis.BusyLoadingError(),
        redis.ReadOnlyError("You can't write against a read only replica."),
        redis.ClusterDownError("CLUSTERDOWN The cluster is down"),
        redis.TryAgainError("TRYAGAIN"),
        redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_absent_full_or_moving_server_is_waited_for(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        Poison("decode", "not_json", "no"),
        Refusal("no", fix="do"),
        PermissionError(),
        FileNotFoundError(),
        kafka.TopicAuthorizationFailedError(),
        kafka.AuthenticationFailedError(),
        kafka.MessageSizeTooLargeError(),
        kafka.IllegalStateError(),
        redis.AuthenticationError(),
        redis.NoPermissionError("NOPERM"),
        redis.ResponseError("WRONGTYPE Operation against a key"),
        redis.NoScriptError(),
        redis.DataError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_waiting_cannot_mend_is_not_waited_for(error):
    assert not is_transient(error)


async def test_persist_tries_until_it_succeeds_and_says_so_once(caplog):
    caplog.set_level(logging.INFO, "streams.failures")
    clock, flaky = Clock(), Flaky(5, redis.ConnectionError("Connection refused"))
    assert await persist("Redis", flaky, sleep=clock.sleep) == "answer"
    assert flaky.calls == 6
    assert [record.getMessage() for record in caplog.records] == [
        "Redis: Connection refused; waiting and trying again, nothing is lost",
        "Redis: works again after 5 more tries",
    ]


async def test_persist_says_nothing_of_what_works_at_once(caplog):
    assert await persist("Redis", Flaky(0, ValueError())) == "answer"
    assert not caplog.records


async def test_persist_waits_longer_each_time_up_to_five_seconds_and_never_in_step():
    one, other = Clock(), Clock()
    for seed, clock in enumerate((one, other)):
        await persist("Kafka", Flaky(40, Transient("away")), sleep=clock.sleep, chance=random.Random(seed))
    wholes = [min(5.0, 0.1 * 2**tries) for tries in range(40)]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(one.pauses, wholes, strict=True))
    assert one.pauses != other.pauses


async def test_persist_raises_what_is_not_transient_at_once():
    flaky = Flaky(1, redis.AuthenticationError("invalid password"))
    with pytest.raises(redis.AuthenticationError):
        await persist("Redis", flaky, sleep=Clock().sleep)
    assert flaky.calls == 1


async def test_persist_may_be_told_which_failures_pass():
    assert await persist("a key", Flaky(2, KeyError("k")), transient=(KeyError,), sleep=Clock().sleep) == "answer"
    with pytest.raises(redis.ConnectionError):
        await persist("a key", Flaky(1, redis.ConnectionError()), transient=(KeyError,), sleep=Clock().sleep)


def test_a_refusal_carries_the_command_that_mends_it():
    refusal = Refusal("The events topic was recreated.", fix="upwell reset")
    assert str(refusal) == "The events topic was recreated. To mend it: upwell reset"
    assert refusal.fix == "upwell reset"


def test_poison_survives_a_process_boundary():
    poison = pickle.loads(pickle.dumps(Poison("decode", "not_json", "no")))  # noqa: S301 - our own bytes
    assert (poison.stage, poison.error, poison.message) == ("decode", "not_json", "no")


async def test_a_request_that_the_client_cancelled_itself_is_tried_again():
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    answers = [cancelled, asyncio.sleep(0, "served")]

    async def attempt():
        return await answers.pop(0)

    assert await persist("the broker", attempt, sleep=lambda _: asyncio.sleep(0)) == "served"


async def test_a_task_that_is_cancelled_stops_trying():
    trying = asyncio.ensure_future(persist("the broker", asyncio.Event().wait))
    await asyncio.sleep(0)
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying


async def test_a_broker_that_goes_while_topics_are_asked_for_is_waited_for():
    """As a worker may find it that starts while its broker ends; the client raises the class of all its errors."""
    with Broker() as broker:
        async with AIOKafkaConsumer(bootstrap_servers=broker.address) as consumer:
            assert await partitions_of(consumer, "events") == set()
            broker.kill()
            with pytest.raises(kafka.KafkaConnectionError) as caught:
                await partitions_of(consumer, "events")
    assert is_transient(caught.value)
