"""Problems: what went wrong, as JSON that a program can read (RFC 9457), and never more than it may know."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

__all__ = ["Handler", "Problem", "answered"]

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MEDIA = "application/problem+json"


class Problem(Exception):
    """A request that cannot be answered: status, what is wrong and the fix, and what else there is to say."""

    def __init__(self, status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or {}, more

    def response(self) -> web.Response:
        """Write it down."""
        body = {"type": "about:blank", "title": self.status.phrase, "status": self.status.value, "detail": self.detail}
        text = msgspec.json.encode(body | self.more)
        return web.Response(body=text, status=self.status, content_type=MEDIA, headers=self.headers)


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into a problem; what nobody foresaw is told to the log alone."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return Problem(HTTPStatus(error.status), error.text or error.reason, headers=_kept(error)).response()
    except web.RequestPayloadError:
        return Problem(HTTPStatus.BAD_REQUEST, "the body is not what its Content-Encoding says").response()
    except (RedisError, KafkaError, OSError) as error:
        log.warning("%s %s: %s", request.method, _route(request), error)
        away = "a server behind this one does not answer; try again"
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, away, headers={"Retry-After": "1"}).response()
    except Exception:
        log.exception("%s %s failed", request.method, _route(request))
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this request met a fault; its trace is in the log").response()


def _route(request: web.Request) -> str:
    """Name what was asked for without whom it is about: logs hold no user's id."""
    resource = request.match_info.route.resource
    return "a path of nobody" if resource is None else resource.canonical


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
