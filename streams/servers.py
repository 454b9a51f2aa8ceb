"""Connections to Kafka and to Redis for commands: what is away is one sentence with its address and the fix."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from redis import exceptions

from streams.knobs import RedisURL

PATIENCE = 20_000  # ms a request may take before the broker counts as away; long enough for a leader election
LINGER = 5  # ms a message waits for company


class Away(Exception):
    """A server does not answer; the message says which, where, and what helps."""


@contextmanager
def kafka_or_failed(brokers: str) -> Iterator[None]:
    """Tells the errors of Kafka's client in one sentence."""
    # The client logs each failed attempt; the sentence below says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        yield
    except KafkaConnectionError as error:
        raise Away(
            f"no Kafka broker answers at {brokers}; start one (docker compose up -d) or name yours with "
            "--brokers HOST:PORT or UPWELL_BROKERS"
        ) from error
    except KafkaError as error:
        raise Away(f"the Kafka broker at {brokers} failed: {error}; try again, or see upwell doctor") from error


@contextmanager
def redis_or_failed(url: RedisURL) -> Iterator[None]:
    """Tells the errors of Redis' client in one sentence."""
    try:
        yield
    except exceptions.AuthenticationError as error:
        raise Away(f"Redis at {url.masked} refuses the password: {error}; put it in the URL of --redis") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
        raise Away(
            f"no Redis answers at {url.masked}; start one (docker compose up -d) or name yours with "
            "--redis redis://HOST:PORT/0 or UPWELL_REDIS"
        ) from error
    except exceptions.RedisError as error:
        raise Away(f"Redis at {url.masked} failed: {error}") from error


@asynccontextmanager
async def producing(brokers: str, **settings: object) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer that awaits all replicas and finds partitions as Java's does."""
    options: dict[str, Any] = {"acks": "all", "linger_ms": LINGER, "request_timeout_ms": PATIENCE, "max_batch_size": 1 << 18}
    producer = AIOKafkaProducer(bootstrap_servers=brokers, **(options | settings))
    with kafka_or_failed(brokers):
        try:
            await producer.start()
            yield producer
        finally:
            await asyncio.shield(producer.stop())


@asynccontextmanager
async def consuming(brokers: str, **settings: object) -> AsyncIterator[AIOKafkaConsumer]:
    """As ``reading``, for commands: what is away is one sentence."""
    with kafka_or_failed(brokers):
        async with reading(brokers, **settings) as consumer:
            yield consumer


@asynccontextmanager
async def reading(brokers: str, **settings: object) -> AsyncIterator[AIOKafkaConsumer]:
    """A started consumer without automatic commits, whose errors are Kafka's own: a worker waits out those that pass."""
    options: dict[str, Any] = {"enable_auto_commit": False, "request_timeout_ms": PATIENCE, "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, **(options | settings))
    try:
        await consumer.start()
        yield consumer
    finally:
        await asyncio.shield(consumer.stop())
