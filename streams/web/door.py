"""Who comes in: so many connections at once, each of which must say what it wants before its time is up."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

__all__ = ["Door"]


class Door:
    """Makes the protocol of each connection; give it to ``create_server``."""

    def __init__(self, server: web.Server, most: int, seconds: float, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        self._server, self._most, self._seconds, self._options = server, most, seconds, options

    def __call__(self) -> asyncio.BaseProtocol:
        """Let a connection in, or hang up."""
        if len(self._server.connections) >= self._most:
            return _Full()
        loop = asyncio.get_running_loop()
        return _Patient(self._server, self._seconds, loop=loop, **self._options)


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Patient(web.RequestHandler):
    """A connection whose first line and headers may take so long, from their first byte, or from the beginning.

    aiohttp bounds only how long a connection is idle: a client that sends a byte now and then would stay for ever.
    """

    __slots__ = ("_seconds", "_timer")

    def __init__(self, server: web.Server, seconds: float, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(server, **options)
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        known = self._request_count
        super().data_received(data)
        if self._request_count > known:
            self._end()
        elif self._timer is None and self._current_request is None:
            self._begin()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self.force_close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
