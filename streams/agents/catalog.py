"""The catalog agent: entries of the items topic go to the learned log, for the models, and to Redis, for readers."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import faust

from streams.admission import refusal
from streams.agents.stock import AT_ONCE
from streams.failures import REFUSED, persist
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.serving import Serving

__all__ = ["mount"]

log = logging.getLogger(__name__)

FAILED = 1  # what a traceback gives
_WITHIN = 0.1


def mount(app: faust.App, settings: Settings, serving: Serving) -> None:
    """Put the agent on the items topic; it takes entries in groups, and a group is acknowledged when all of it is kept."""
    topic = app.topic(settings.topics.items, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(topic)
    async def catalog(stream: Any) -> None:
        await serving.opened.wait()
        async for events in stream.take_events(AT_ONCE, within=_WITHIN):
            # Faust acknowledges an event whose agent raised: so this one must not end before it has succeeded.
            try:
                await persist("the catalogue", partial(serving.stock.keep, [event.message for event in events]))
            except Exception as error:  # noqa: BLE001 - told, and the end
                _end_at_once(error)


def _end_at_once(error: Exception) -> NoReturn:
    """End the process: in order would not do, for Faust waits for what is in hand, and acknowledges it when the agent is gone."""
    refused = refusal(error)
    if refused is None:
        log.error("the worker ends at once, Kafka keeps what it has not done", exc_info=error)
        os._exit(FAILED)
    sys.stderr.write(f"upwell: {refused}\n")
    os._exit(REFUSED)
