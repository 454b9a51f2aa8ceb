"""The HTTP API: it listens, connects to Redis and Kafka, and lets go of both in order."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import signal
from http import HTTPStatus

from aiohttp import web
from aiokafka import AIOKafkaProducer

from state.connection import Client, open_redis
from streams.failures import persist
from streams.logs import configuration
from streams.security import kafka_client, redis_url, token
from streams.settings import Settings
from streams.web.door import Door
from streams.web.events import Events
from streams.web.guard import Buckets, limited, with_token
from streams.web.openapi import document
from streams.web.problems import Problem, answered
from streams.web.reads import Reads

__all__ = ["run"]

log = logging.getLogger(__name__)

LINGER_MS = 2
GRACE = 5.0  # s for answers under way when it is stopped
IDLE = 75.0  # s an idle connection is kept


class Server:
    """One process of the API."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = token(settings.serve)
        self._redis: Client = open_redis(redis_url(settings))
        self._producer = AIOKafkaProducer(**kafka_client(settings), acks="all", linger_ms=LINGER_MS)
        self._events = Events(self._producer, settings)

    async def run(self) -> None:
        """Serve until a signal; Kafka may come later, reads do not wait for it."""
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        host, _, port = self._settings.serve.http.rpartition(":")
        runner = web.AppRunner(self._app(), shutdown_timeout=GRACE)
        await runner.setup()
        listening = await asyncio.get_running_loop().create_server(self._door(runner), host.strip("[]"), int(port))
        kafka = asyncio.create_task(self._connect())
        try:
            log.info("serving http://%s; the document is at /openapi.json", self._settings.serve.http)
            await stopped.wait()
        finally:
            kafka.cancel()
            listening.close()
            await runner.cleanup()
            await asyncio.gather(kafka, return_exceptions=True)
            await self._producer.stop()
            await self._redis.aclose()

    def _door(self, runner: web.AppRunner) -> Door:
        serve = self._settings.serve
        if runner.server is None:
            raise RuntimeError("aiohttp's runner made no server")
        return Door(runner.server, serve.connections, serve.header_seconds, access_log=None, keepalive_timeout=IDLE)

    async def _connect(self) -> None:
        await persist("the broker", self._producer.start)
        self._events.started = True

    def _app(self) -> web.Application:
        serve = self._settings.serve
        guards = [limited(Buckets(serve.rate))] + ([with_token(self._token)] if self._token else [])
        app = web.Application(middlewares=[answered, *guards], client_max_size=serve.body_bytes)
        app.on_response_prepare.append(_plain)
        app.add_routes([*Reads(self._redis, self._settings.prefix, self._settings.pseudonymize).routes(), *self._events.routes()])
        app.add_routes([web.get("/health", _health), web.get("/ready", self._ready), web.get("/openapi.json", _openapi)])
        return app

    async def _ready(self, _request: web.Request) -> web.Response:
        await self._redis.ping()
        if not self._events.started:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Kafka does not answer yet; reads are served")
        return web.json_response({"ready": True})


_HEADERS = {
    "Server": "upwell",  # not which version of what
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


async def _plain(_request: web.Request, response: web.StreamResponse) -> None:
    """Say that an answer is data, whatever is in it, and nothing of what made it."""
    response.headers.update(_HEADERS)


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _openapi(_request: web.Request) -> web.Response:
    return web.Response(body=document(), content_type="application/json")


async def _serve(settings: Settings) -> None:
    await Server(settings).run()


def run(settings: Settings) -> None:
    """Serve until Ctrl-C."""
    logging.config.dictConfig(configuration(settings.log))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asyncio.run(_serve(settings))
