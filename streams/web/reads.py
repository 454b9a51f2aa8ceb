"""What is read: each answer from Redis as it is there, with an ETag."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from state import items, segments, trending
from state.connection import Client
from state.keys import Keys
from streams.pseudonyms import Pseudonyms, addressed
from streams.web.problems import Problem

__all__ = ["Reads"]

LISTED, MOST = 20, 100
DIGITS = 20  # more than any number needs, fewer than Python refuses to read


class Reads:
    """The handlers of everything that is read."""

    def __init__(self, redis: Client, prefix: str, pseudonyms: Pseudonyms | None = None) -> None:
        self._redis: Any = redis
        self._pseudonyms = pseudonyms
        self._keys = Keys(prefix)

    def routes(self) -> list[web.RouteDef]:
        """Say which path is whose."""
        return [
            web.get("/v1/users/{user_id}/recommendations", self.recommendations),
            web.get("/v1/items/{item_id}/similar", self.similar),
            web.get("/v1/segments", self.segments),
            web.get("/v1/trending", self.trending),
        ]

    async def recommendations(self, request: web.Request) -> web.Response:
        """Give the newest recommendation of a user, or of the person whose alias the id is: the message, byte for byte."""
        user_id = request.match_info["user_id"]
        known = self._pseudonyms.of(user_id) if self._pseudonyms else user_id
        found, person = await self._redis.hmget(self._keys.user(known), ["recommendations", "alias"])
        if person:
            known = person.decode()
            (found,) = await self._redis.hmget(self._keys.user(known), ["recommendations"])
        if not found:
            raise Problem(
                HTTPStatus.NOT_FOUND, f"nothing is known of user {user_id!r} yet; popular items for anybody are at /v1/trending"
            )
        return _answer(request, addressed(found, known, user_id) if self._pseudonyms else found)

    async def similar(self, request: web.Request) -> web.Response:
        """Give the items that are visited by the same users."""
        item_id = request.match_info["item_id"]
        item = await items.read(self._redis, self._keys, item_id)
        if item is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"nothing is known of item {item_id!r} yet")
        return _answer(request, msgspec.json.encode({"item_id": item_id, "similar": item.similar[: _top(request)]}))

    async def segments(self, request: web.Request) -> web.Response:
        """Give all segments of users."""
        return _answer(request, msgspec.json.encode({"segments": await segments.read(self._redis, self._keys)}))

    async def trending(self, request: web.Request) -> web.Response:
        """Give the items that are visited most these days."""
        found = await trending.read(self._redis, self._keys, _top(request))
        return _answer(request, msgspec.json.encode({"trending": found}))


def _top(request: web.Request) -> int:
    text = request.query.get("n", str(LISTED))
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and 1 <= int(text) <= MOST):
        raise Problem(HTTPStatus.BAD_REQUEST, f"n is {text[:20]!r}, but must be a whole number from 1 to {MOST}")
    return int(text)


def _answer(request: web.Request, body: bytes) -> web.Response:
    """Send a body, or only say that it is the one that the client has."""
    tag = f'"{zlib.crc32(body):08x}{len(body):x}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = request.headers.get("If-None-Match", "")
    if known == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
