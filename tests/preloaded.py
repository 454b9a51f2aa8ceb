"""What all workers of the tests share: the process that forks them imports this first."""

from __future__ import annotations

import asyncio
import gc

import streams.app
import streams.cli
from streams.settings import Settings
from streams.warm import warm

__all__ = ["streams"]

asyncio.run(warm(Settings()))
asyncio.set_event_loop_policy(None)  # as if nobody had asked for a loop yet
gc.collect()
gc.freeze()
