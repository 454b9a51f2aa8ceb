"""The document of the API (OpenAPI 3.1): schemas come from the very types that are read."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from state.items import Similar
from state.reader import Recommendation
from state.segments import Segment
from state.trending import Trending
from streams.web.reads import LISTED, MOST

__all__ = ["document"]


class SimilarItems(msgspec.Struct):
    """What is visited by the same users."""

    item_id: str
    similar: list[Similar]


class Segments(msgspec.Struct):
    """All segments of users."""

    segments: list[Segment]


class TrendingItems(msgspec.Struct):
    """What is visited most these days."""

    trending: list[Trending]


class SentEvent(msgspec.Struct):
    """What a user did to an item; more fields may come along, as ``properties``. A ``forget`` and a ``consent`` name no item."""

    user_id: str
    type: str
    item_id: str | None = None
    timestamp: float | str | None = None
    value: float | None = None
    session_id: str | None = None
    event_id: str | None = None
    recommendation_id: str | None = None
    anonymous_id: str | None = None
    properties: dict[str, Any] | None = None


class Place(msgspec.Struct):
    """Where Kafka has an event."""

    partition: int
    offset: int


class Sent(msgspec.Struct):
    """Where Kafka has the events, in their order."""

    events: list[Place]


class Told(msgspec.Struct):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


_KINDS = (Recommendation, SimilarItems, Segments, TrendingItems, SentEvent, Sent, Told)


@cache
def document() -> bytes:
    """Write the document."""
    _, schemas = msgspec.json.schema_components(_KINDS, ref_template="#/components/schemas/{name}")
    n = _parameter("n", "query", {"type": "integer", "minimum": 1, "maximum": MOST, "default": LISTED})
    paths = {
        "/v1/users/{user_id}/recommendations": _get("A user's newest recommendation", "Recommendation", _id("user_id")),
        "/v1/items/{item_id}/similar": _get("What is visited by the same users", "SimilarItems", _id("item_id"), n),
        "/v1/segments": _get("The segments of users", "Segments"),
        "/v1/trending": _get("What is visited most these days", "TrendingItems", n),
        "/v1/events": {"post": _post()},
    }
    found = {
        "openapi": "3.1.0",
        "info": {"title": "Upwell", "version": "1", "description": "Reads from Redis, events to Kafka; it holds no state."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
    }
    return msgspec.json.encode(found)


def _get(summary: str, kind: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    answers = {"200": _answer(summary, kind), "304": {"description": "what If-None-Match names is still so"}}
    return {
        "get": {"summary": summary, "parameters": list(parameters), "responses": answers | _problems("404" if parameters else "")}
    }


def _post() -> dict[str, Any]:
    one = {"$ref": "#/components/schemas/SentEvent"}
    schema = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 1000}]}
    answers = {"202": _answer("Kafka has them", "Sent")} | _problems("408", "413", "422")
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": "Send events; all or none", "requestBody": body, "responses": answers}


def _problems(*own: str) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Told"}}}
    return {
        status: {"description": "a problem", "content": problem} for status in ("400", "401", *filter(None, own), "429", "503")
    }


def _answer(summary: str, kind: str) -> dict[str, Any]:
    return {"description": summary, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind}"}}}}


def _id(name: str) -> dict[str, Any]:
    return _parameter(name, "path", {"type": "string"}) | {"required": True}


def _parameter(name: str, where: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": schema}
