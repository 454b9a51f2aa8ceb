"""Connections to Kafka and to Redis for commands: what is away is one sentence with its address and the fix."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from redis import exceptions

from streams.admission import kafka_refusal, refusal
from streams.failures import Refusal
from streams.security import kafka_client
from streams.settings import Settings

PATIENCE = 20_000  # ms a request may take before the broker counts as away; long enough for a leader election
LINGER = 5  # ms a message waits for company


class Away(Exception):
    """A server does not answer; the message says which, where, and what helps."""


class Refused(Away):
    """A server answers, and does not let us in or not do what we ask."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(str(why))
        self.why = why


@contextmanager
def kafka_or_failed(settings: Settings) -> Iterator[None]:
    """Tells the errors of Kafka's client in one sentence."""
    # The client logs each failed attempt; the sentence below says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        yield
    except KafkaConnectionError as error:
        # In a thread, for some commands have a loop that runs here; they end with it anyway.
        with ThreadPoolExecutor(1) as thread:
            refused = thread.submit(asyncio.run, kafka_refusal(settings)).result()
        if refused is not None:
            raise Refused(refused) from error
        raise Away(
            f"no Kafka broker answers at {settings.brokers}; start one (docker compose up -d) or name yours with "
            "--brokers HOST:PORT or UPWELL_BROKERS"
        ) from error
    except KafkaError as error:
        if (refused := refusal(error)) is not None:
            raise Refused(refused) from error
        raise Away(f"the Kafka broker at {settings.brokers} failed: {error}; try again, or see upwell doctor") from error


@contextmanager
def redis_or_failed(settings: Settings) -> Iterator[None]:
    """Tells the errors of Redis' client in one sentence."""
    url = settings.redis
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        if (refused := refusal(error)) is not None:
            raise Refused(refused) from error
        raise Away(
            f"no Redis answers at {url.masked}; start one (docker compose up -d) or name yours with "
            "--redis redis://HOST:PORT/0 (rediss:// where it speaks TLS) or UPWELL_REDIS"
        ) from error
    except exceptions.RedisError as error:
        if (refused := refusal(error)) is not None:
            raise Refused(refused) from error
        raise Away(f"Redis at {url.masked} failed: {error}") from error


@asynccontextmanager
async def producing(settings: Settings, **over: object) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer that awaits all replicas and finds partitions as Java's does."""
    options: dict[str, Any] = {"acks": "all", "linger_ms": LINGER, "request_timeout_ms": PATIENCE, "max_batch_size": 1 << 18}
    producer = AIOKafkaProducer(**(kafka_client(settings) | options | over))
    with kafka_or_failed(settings):
        try:
            await producer.start()
            yield producer
        finally:
            await asyncio.shield(producer.stop())


@asynccontextmanager
async def consuming(settings: Settings, **over: object) -> AsyncIterator[AIOKafkaConsumer]:
    """As ``reading``, for commands: what is away is one sentence."""
    with kafka_or_failed(settings):
        async with reading(settings, **over) as consumer:
            yield consumer


@asynccontextmanager
async def reading(settings: Settings, **over: object) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without automatic commits, whose errors are Kafka's own: a worker waits out those that pass."""
    options: dict[str, Any] = {"enable_auto_commit": False, "request_timeout_ms": PATIENCE, "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(**(kafka_client(settings) | options | over))
    try:
        await consumer.start()
        yield consumer
    finally:
        await asyncio.shield(consumer.stop())
