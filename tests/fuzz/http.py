"""The HTTP API by raw bytes: every answer has a documented status, never a fault, and the next request is served."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from random import Random

from aiohttp import web

from streams.embedded import RedisServer
from streams.settings import Settings
from streams.web.app import Server
from tests.fuzz import seeds
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target

__all__ = ["Requests"]

# Not 500: "this request met a fault". 503 is what it says of valid events here, where no broker runs.
DOCUMENTED = {200, 202, 304, 400, 401, 404, 405, 411, 413, 415, 417, 422, 429, 431, 501, 503}
PATIENCE = 20.0  # s until an answer counts as one that never comes
ANSWER = 0.1  # s after which the server is taken to wait for the rest of a request that was cut
HEALTHY = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Requests(Target):
    """A server of its own, with a Redis of its own and no broker."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        redis = self._stack.enter_context(RedisServer())
        self._settings = Settings(redis=redis.url, serve={"rate": 1e6, "body_bytes": 4096})  # type: ignore[arg-type]
        self._tried = 0
        logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it tells of every request that is none
        logging.getLogger("streams.web.problems").setLevel(logging.ERROR)  # and of every client that left
        self._loop = asyncio.new_event_loop()
        self._port = self._loop.run_until_complete(self._start())

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.REQUESTS)

    def run(self, data: bytes) -> bool:
        status = self.ask(data)
        assert status is None or status in DOCUMENTED, status
        self._tried += 1
        if self._tried % 100 == 0:
            assert self.ask(HEALTHY, PATIENCE) == 200
        return status in {200, 503}

    def ask(self, data: bytes, patience: float = ANSWER) -> int | None:
        """Send bytes; give the status of the first answer, None where the server waits for more or lets go."""
        return self._loop.run_until_complete(asyncio.wait_for(self._ask(data, patience), PATIENCE))

    def close(self) -> None:
        """Stop the server and its Redis."""
        self._loop.run_until_complete(self._stop())
        self._loop.close()
        self._stack.close()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._server._redis.aclose()

    async def _start(self) -> int:
        server = Server(self._settings)
        self._server = server
        self._runner = web.AppRunner(server._app(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]

    async def _ask(self, data: bytes, patience: float) -> int | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(data)
            line = await asyncio.wait_for(reader.readline(), patience)
            return int(line.split(b" ", 2)[1]) if line.startswith(b"HTTP/1.") else None
        except (ConnectionError, TimeoutError):
            return None
        finally:
            writer.close()
