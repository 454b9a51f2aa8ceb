"""Who may ask, and how much: the token, and requests a second for each address."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Middleware

from streams.web.problems import Handler, Problem

__all__ = ["Buckets", "limited", "with_token"]

OPEN = ("/health", "/ready", "/openapi.json")
KNOWN = 10_000  # addresses that are remembered


class Buckets:
    """A bucket of requests for each address: it holds a second's worth, and fills as time passes."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Take one; 0, or the seconds until there is one again."""
        now, most = self._clock(), max(self._rate, 1.0)
        left, at = self._left.pop(address, (most, now))
        left = min(left + (now - at) * self._rate, most)
        self._left[address] = (max(left - 1.0, 0.0) if left >= 1.0 else left, now)
        if len(self._left) > KNOWN:
            self._left.popitem(last=False)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate


def limited(buckets: Buckets) -> Middleware:
    """Refuse an address that asks too much."""

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        wait = buckets.take(_client(request.remote or ""))
        if wait:
            seconds = str(int(wait) + 1)
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests; wait a moment", headers={"Retry-After": seconds})
        return await handler(request)

    return limit


def _client(address: str) -> str:
    """Take all addresses of an IPv6 network of 64 bits for one: so many has every household."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


def with_token(token: str) -> Middleware:
    """Ask for the token wherever data is read or written."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        # The time that it takes says nothing of how much of the token was right.
        if request.path not in OPEN and not hmac.compare_digest(given, expected):
            told = {"WWW-Authenticate": "Bearer"}
            raise Problem(HTTPStatus.UNAUTHORIZED, "send the header Authorization: Bearer <serve.token>", headers=told)
        return await handler(request)

    return check
