"""Forgetting a person on request: the events that ask for it, the wait until no trace is left, and the certificate of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from aiokafka.structs import RecordMetadata

from state.connection import Client
from state.keys import Keys
from state.store import Store
from streams.schemas import FORGET
from streams.servers import producing
from streams.settings import Settings
from streams.traces import Held, Traces, held, look

__all__ = ["certificate", "sent", "settled", "until_gone"]

# Looking costs a pass over all of Redis, so what is not gone yet is given a moment.
_AGAIN_SECONDS = 0.5
_LOOK_SECONDS = 0.05


async def sent(settings: Settings, user_ids: Sequence[str]) -> list[tuple[int, int]]:
    """Send the events that make forget; give where each is: partition and offset."""
    async with producing(settings) as producer:
        events = [(user_id.encode(), msgspec.json.encode({"type": FORGET, "user_id": user_id})) for user_id in user_ids]
        topic = settings.topics.events
        waiting = [await producer.send(topic, key=key, value=value) for key, value in events]
        places: list[RecordMetadata] = await asyncio.gather(*waiting)
    return [(place.partition, place.offset) for place in places]


async def settled(settings: Settings, redis: Client, places: Sequence[tuple[int, int]], deadline: float) -> bool:
    """Wait until the workers have applied the events at these places, or until the deadline (monotonic seconds): False then."""
    store = Store(redis, Keys(settings.prefix))
    while True:
        applied = await store.applied()
        if all(applied.get(partition, 0) > offset for partition, offset in places):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_SECONDS)


async def until_gone(
    settings: Settings,
    redis: Client,
    user_id: str,
    deadline: float,
    tick: Callable[[Traces], None] = lambda _: None,
    others: Collection[str] = (),
) -> Traces:
    """Look until no trace of a user is left, or until the deadline (monotonic seconds); ``tick`` is told of each look.

    ``others`` are pseudonyms of the same person, looked for as well.
    """
    while True:
        traces = await look(settings, redis, user_id, others)
        tick(traces)
        if not traces.found or time.monotonic() > deadline:
            return traces
        await asyncio.sleep(_AGAIN_SECONDS)


async def certificate(
    settings: Settings, user_id: str, traces: Traces, place: tuple[int, int] | None, others: int = 0
) -> dict[str, Any]:
    """Write down what was looked at and what was found, in Upwell's own places and in the operator's topics.

    ``others`` says for how many more pseudonyms of the same person it speaks; it names none of them.
    """
    rest: list[Held] = await held(settings, user_id)
    return {
        "user": user_id,
        "others": others,
        "at": round(time.time(), 3),
        "version": _version(),
        "event": None if place is None else {"partition": place[0], "offset": place[1]},
        "searched": traces.searched,
        "traces": msgspec.to_builtins(traces.found),
        "refusal": traces.refusal,
        "operator": msgspec.to_builtins(rest),
        "verdict": "traces are left" if traces.found else "no trace is left",
    }


def _version() -> str:
    try:
        return version("upwell")
    except PackageNotFoundError:
        return "not installed"
