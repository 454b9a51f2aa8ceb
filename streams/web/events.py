"""What is written: events, checked as a worker would check them, and acknowledged when Kafka did."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer

from streams.links import check_ids
from streams.schemas import IDENTIFY, BadEvent, Event, decode_event
from streams.settings import Settings
from streams.web.problems import Problem

__all__ = ["Events"]

AT_ONCE = 1_000
_many = msgspec.json.Decoder(list[msgspec.Raw])


class Events:
    """The handler of events, of one or of a list of them: all are sent, or none."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._settings = settings
        self._producer, self._topic, self._skew = producer, settings.topics.events, settings.intake.future_skew_s
        self._seconds = settings.serve.body_seconds
        self.started = False

    def routes(self) -> list[web.RouteDef]:
        """Say which path is whose."""
        return [web.post("/v1/events", self.post)]

    async def post(self, request: web.Request) -> web.Response:
        """Send events to Kafka; where each of them is, tells their order."""
        values = _split(await self._body(request))
        users = self._users(values)
        if not self.started:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Kafka does not answer yet; try again", headers={"Retry-After": "1"})
        sent = [await self._producer.send(self._topic, value, user.encode()) for value, user in zip(values, users, strict=True)]
        places = await asyncio.gather(*sent)
        told = {"events": [{"partition": place.partition, "offset": place.offset} for place in places]}
        return web.Response(body=msgspec.json.encode(told), status=HTTPStatus.ACCEPTED, content_type="application/json")

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await request.read()
        except TimeoutError:
            late = f"the body took longer than {self._seconds:g} s"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, late, headers={"Connection": "close"}) from None

    def _check(self, event: Event) -> None:
        """Refuse to make one id another's name where any id may be anybody's: who asks may be a browser."""
        if event.type == IDENTIFY:
            if not self._settings.identity.anonymous:
                needs = "`identify` is taken here only where the setting identity.anonymous says which ids are anonymous"
                raise BadEvent("validate", "bad_anonymous_id", f"{needs}; set it, or send the event to Kafka.")
            check_ids(event, self._settings)

    def _users(self, values: list[bytes]) -> list[str]:
        users, bad, now = [], [], time.time()
        for place, value in enumerate(values):
            try:
                event = decode_event(value, received=now, skew=self._skew)
                self._check(event)
                users.append(event.user_id)
            except BadEvent as error:
                bad.append({"index": place, "error": error.error, "message": error.message})
        if bad:
            said = f"{len(bad)} of {len(values)} are no events, so none was sent; mend them and send all again"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said, events=bad)
        return users


def _split(body: bytes) -> list[bytes]:
    """Give each event of the body as it was written."""
    if body.lstrip()[:1] != b"[":
        return [body]
    try:
        values = [bytes(value) for value in _many.decode(body)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None
    if not 1 <= len(values) <= AT_ONCE:
        raise Problem(HTTPStatus.BAD_REQUEST, f"the list holds {len(values)} events; send 1 to {AT_ONCE:,} at once")
    return values
