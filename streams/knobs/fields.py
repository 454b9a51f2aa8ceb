"""Kinds of values that knobs have, each with what it takes and what is said of the rest."""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from streams.models.sources import SOURCES

_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)"
_SHOWN = 80  # letters of a wrong value
WEIGHT_LIMIT = 10.0
DAY = 86_400.0

Count = Annotated[int, Field(ge=1, le=1000)]
# As text too: the environment and options have no numbers.
NoLimit = Annotated[Literal[0], BeforeValidator(lambda given: 0 if given == "0" else given)]
Share = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=60, le=3650 * DAY)]
Quarters = Annotated[float, Field(ge=0, le=1, multiple_of=0.25)]
Places = Annotated[float, Field(gt=0, le=1000)]
Weight = Annotated[float, Field(ge=-WEIGHT_LIMIT, le=WEIGHT_LIMIT)]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class Section(BaseModel):
    """Knobs that belong together; frozen, and of known names only."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RedisURL(str):
    """A Redis URL that hides its passwords wherever it is written; ``streams.security.redis_url`` is what a client gets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.masked)

    def __str__(self) -> str:
        return self.masked

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    @property
    def revealed(self) -> str:
        """The URL as it was given, for a client."""
        return self[:]

    @property
    def masked(self) -> str:
        """The URL without its passwords, for people and logs."""
        return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", re.sub(r"(//[^:/@]*):.*@", r"\1:***@", self[:]))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check it as a text, then as a URL."""
        written = core_schema.plain_serializer_function_ser_schema(lambda url: url.masked, when_used="json")
        return core_schema.no_info_after_validator_function(_redis_url, core_schema.str_schema(), serialization=written)


def brief(found: object) -> str:
    """Show what was given, cut to a line's length."""
    shown = repr(found)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def address(text: str) -> str:
    """Check one host:port."""
    host, _, port = text.strip().rpartition(":")
    if re.fullmatch(_HOST, host) and port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535:
        return f"{host}:{port}"
    bare = re.fullmatch(_HOST, text.strip()) and not text.strip().isdigit() and len(text) <= _SHOWN
    near = f"{text.strip()}:9092" if bare else "127.0.0.1:9092"
    raise ValueError(f"{brief(text.strip())} is no host:port; write it as {near}")


def addresses(text: str) -> str:
    """Check a list of host:port."""
    return ",".join(map(address, text.split(",")))


def _redis_url(text: str) -> RedisURL:
    scheme, _, _ = text.partition("://")
    cluster = scheme in {"redis+cluster", "rediss+cluster"}
    try:
        url = urlsplit(text)
        hosts = url.netloc.rpartition("@")[2].split(",")
        # A cluster has several nodes, and one database.
        legal = (
            re.fullmatch(r"/?0?" if cluster else r"/?\d*", url.path) and (cluster or len(hosts) == 1) and all(map(_node, hosts))
        )
    except ValueError:
        legal = False
    if (legal and (cluster or scheme in {"redis", "rediss"})) or text.startswith("unix:///"):
        return RedisURL(text)
    if cluster:
        raise ValueError(
            "it names no nodes of a Redis Cluster; write it as redis+cluster://HOST:PORT,HOST:PORT, with no database but 0"
        )
    raise ValueError("it is no Redis URL; write it as redis://127.0.0.1:6379/0, or rediss:// for TLS")


def _node(text: str) -> bool:
    """Tell whether a text is a host, with or without a port; raises ValueError for a port that is none."""
    node = urlsplit(f"//{text}")
    return bool(node.hostname) and node.port != 0 and node.netloc == text and not text.isspace()


def exclusion(text: str) -> str:
    """Check what is not recommended again."""
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    if not kinds or (len(kinds) > 1 and {"none", "seen"} & {*kinds}):
        raise ValueError("it is neither none, nor seen, nor event types; write it as purchase,dislike")
    return ",".join(kinds)


def source_names(text: str) -> str:
    """Check a choice of sources."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SOURCES]
    if names == ["all"] or (names and not unknown):
        return ",".join(names)
    raise ValueError(
        f"{brief(unknown[0])} is no source; write it as all, or as some of {','.join(SOURCES)}" if unknown else "name one"
    )


def _table(given: object) -> object:
    """Take a table that was written as JSON, as an option is."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        raise ValueError('it is no table; write it as {"brand:acme": 0.5}, or for pins as {"1": "sku-9"}') from None


def _boosted(name: str) -> str:
    """Check what a boost is for."""
    kind, _, rest = name.partition(":")
    if kind not in {"brand", "category", "tag", "item"} or not "".join(rest.split()).strip("./>|"):
        raise ValueError(f"{brief(name)} is no brand, category, tag or item; write it as brand:acme or item:sku-1")
    return name


def _each_once(pins: dict[int, str]) -> dict[int, str]:
    """Check that no item is pinned twice."""
    twice = [item for item in pins.values() if [*pins.values()].count(item) > 1]
    if twice:
        raise ValueError(f"{brief(twice[0])} is pinned to two places; give it one")
    return pins


Boosts = Annotated[dict[Annotated[str, AfterValidator(_boosted)], Weight], BeforeValidator(_table)]
Pinned = Annotated[str, Field(min_length=1, max_length=512)]
Pins = Annotated[
    dict[Annotated[int, Field(ge=1, le=100)], Pinned],
    BeforeValidator(_table),
    AfterValidator(_each_once),
]
