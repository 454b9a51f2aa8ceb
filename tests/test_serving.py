"""A part of the data plane that ends takes the worker with it, also where a client said that it was cancelled."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from streams.failures import Transient
from streams.metrics import Metrics
from streams.serving import Serving
from streams.settings import Settings


class Parts(Serving):
    """The data plane with parts that go on for ever, but for the follower, which is told that it was cancelled."""

    def __init__(self):
        super().__init__(Settings(), Metrics(CollectorRegistry()))
        self.intake = SimpleNamespace(run=asyncio.Event().wait)
        self._ticks = self._snapshots = asyncio.Event().wait
        self.answer = asyncio.get_running_loop().create_future()

    async def _open(self):
        return asyncio.ensure_future(self._follow())

    async def _follow(self):
        await self.answer


@pytest.fixture
def killed(monkeypatch):
    """What the process sent itself."""
    sent: list[int] = []
    monkeypatch.setattr("streams.serving.os.kill", lambda _, number: sent.append(number))
    return sent


async def test_a_part_that_a_client_cancelled_ends_the_worker(killed):
    parts = Parts()
    parts.answer.cancel()
    await Serving._serve(parts)
    assert isinstance(parts.failure, Transient)
    assert killed == [signal.SIGTERM]


async def test_a_worker_that_is_stopped_has_not_failed(killed):
    parts = Parts()
    serving = asyncio.ensure_future(Serving._serve(parts))
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert parts.failure is None
    assert not killed


async def test_what_a_client_cancelled_is_left_to_the_next_tick():
    parts = Parts()
    parts.answer.cancel()
    await parts._attempt(parts._follow)
    assert not await parts._answers(parts._follow)
