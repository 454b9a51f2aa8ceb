"""A link between a client and a server that tests cut, hang, delay and throttle; all links run in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self

from streams.watched import HOST, free_port

CHUNK = 1 << 14


class Link:
    """Listens on ``port`` and passes bytes on to ``server``, both ways.

    While it is *hung*, bytes and new connections wait, as where packets are dropped: what a client sent before it died arrives
    when the link is whole again. While it is *cut*, connections are reset.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.server = 0
        self.delay = 0.0
        self.rate = 0.0  # bytes a second each way and connection; 0: no limit
        self.open = asyncio.Event()
        self.open.set()
        self.cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Host and port for the client."""
        return f"{HOST}:{self.port}"

    async def listen(self) -> None:
        """Begin to take connections."""
        self._listening = await asyncio.start_server(self._connected, HOST, self.port)

    async def close(self) -> None:
        """End all."""
        assert self._listening is not None
        self._listening.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.open.wait()
        if self.cut:
            return
        from_server, to_server = await asyncio.open_connection(HOST, self.server)
        self._writers.add(to_server)
        try:
            await asyncio.gather(self._pump(reader, to_server), self._pump(from_server, writer))
        finally:
            self._writers.discard(to_server)
            to_server.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self.open.wait()
            wait = self.delay + (len(data) / self.rate if self.rate else 0.0)
            if wait:
                await asyncio.sleep(wait)
            writer.write(data)
            await writer.drain()
        await self.open.wait()
        if writer.can_write_eof():
            writer.write_eof()


class Network:
    """All links and the thread they run in."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._links: list[Link] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            self._run(link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def link(self, name: str, server: int = 0) -> Link:
        """Open a link to a server's port."""
        link = Link(name)
        link.server = server
        self._run(link.listen())
        self._links.append(link)
        return link

    def lead(self, link: Link, server: int) -> None:
        """Lead a link to another server: its connections are reset."""
        self._run(_lead(link, server))

    @contextmanager
    def hung(self, *links: Link) -> Iterator[None]:
        """Nothing passes for a while, and nobody is told."""
        self._run(_hang(links, hang=True))
        try:
            yield
        finally:
            self._run(_hang(links, hang=False))

    @contextmanager
    def cut(self, *links: Link) -> Iterator[None]:
        """Connections are reset for a while, and so are new ones."""
        self._run(_cut(links, cut=True))
        try:
            yield
        finally:
            self._run(_cut(links, cut=False))

    @contextmanager
    def slow(self, *links: Link, delay: float = 0.0, rate: float = 0.0) -> Iterator[None]:
        """Every piece takes ``delay`` seconds longer, or a connection carries only ``rate`` bytes a second."""
        for link in links:
            link.delay, link.rate = delay, rate
        try:
            yield
        finally:
            for link in links:
                link.delay = link.rate = 0.0

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _lead(link: Link, server: int) -> None:
    link.server = server
    link.reset()


async def _hang(links: tuple[Link, ...], *, hang: bool) -> None:
    for link in links:
        if hang:
            link.open.clear()
        else:
            link.open.set()


async def _cut(links: tuple[Link, ...], *, cut: bool) -> None:
    for link in links:
        link.cut = cut
        link.reset()
