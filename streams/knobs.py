"""The knobs by section, each with its bound and its reason; settings.py puts them together and loads them."""

from __future__ import annotations

import json
import math
import re
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from streams.models.sources import SOURCES

__all__ = ["Intake", "Kafka", "Log", "ModelKnobs", "PseudonymKnobs", "Publish", "RedisURL", "Rerank", "Segments", "Serve"]
__all__ += ["Snapshot", "Topics"]
__all__ += ["Weights", "address", "addresses", "exclusion"]

_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)"
_WEIGHT_LIMIT = 10.0
_DAY = 86_400.0


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


def address(text: str) -> str:
    """Check one host:port."""
    host, _, port = text.strip().rpartition(":")
    if re.fullmatch(_HOST, host) and port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535:
        return f"{host}:{port}"
    near = f"{text.strip()}:9092" if re.fullmatch(_HOST, text.strip()) and not text.strip().isdigit() else "127.0.0.1:9092"
    raise ValueError(f"{text.strip()!r} is no host:port; write it as {near}")


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
        f"{unknown[0]!r} is no source; write it as all, or as some of {','.join(SOURCES)}" if unknown else "name one"
    )


Count = Annotated[int, Field(ge=1, le=1000)]
# As text too: the environment and options have no numbers.
NoLimit = Annotated[Literal[0], BeforeValidator(lambda given: 0 if given == "0" else given)]
Share = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=60, le=3650 * _DAY)]
Quarters = Annotated[float, Field(ge=0, le=1, multiple_of=0.25)]
Places = Annotated[float, Field(gt=0, le=1000)]
Weight = Annotated[float, Field(ge=-_WEIGHT_LIMIT, le=_WEIGHT_LIMIT)]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Topics(_Section):
    """The names of the topics, and how new ones are kept."""

    events: TopicName = "events"
    """Events in."""
    items: TopicName = "items"
    """Catalogue entries in."""
    recommendations: TopicName = "recommendations"
    """Recommendations out."""
    segments: TopicName = "segments"
    """Who enters and leaves which segment, out."""
    dead: TopicName = "events.dead"
    """What is no event or item, with its bytes untouched."""
    redriven: TopicName = "events.dead.redriven"
    """Receipts of dead letters that were sent again, so that none is sent twice; made by the first `upwell dead redrive`."""
    learned: TopicName = "upwell.learned"
    """The learned log; workers that share it share their models."""
    replication: Annotated[int, Field(ge=-1, le=10)] = -1
    """Replicas of topics that are created; -1 takes the brokers' default, production wants 3."""
    min_insync: Annotated[int, Field(ge=-1, le=10)] = -1
    """Replicas that must hold a message that counts as written; -1 takes the brokers' default, production wants 2."""

    @model_validator(mode="after")
    def _consistent(self) -> Topics:
        names = [self.events, self.items, self.recommendations, self.segments, self.dead, self.redriven, self.learned]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two topics have the name {twice!r}; give each its own")
        if 0 in {self.replication, self.min_insync} or self.replication in range(self.min_insync):
            raise ValueError("min_insync exceeds replication, or one is 0; take 3 and 2, or -1 for the brokers' defaults")
        return self


class Kafka(_Section):
    """How connections to Kafka are secured; names and values are those of Kafka's own clients."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """`SSL` encrypts and checks who the broker is, `SASL_` logs in; what `SASL_PLAINTEXT` sends can be read on the way."""
    ca_file: str | None = None
    """The certificates (PEM) that a broker's is to be signed by; without it, those that the system trusts."""
    cert_file: str | None = None
    """The client's own certificate (PEM), for brokers that ask for one (mutual TLS); the key may be in the same file."""
    key_file: str | None = None
    """The key (PEM) of the client's certificate."""
    key_password: SecretStr | None = None
    """What the key is encrypted with; it is never shown, and best set as `UPWELL_KAFKA_KEY_PASSWORD`."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How it logs in; `PLAIN` shows the password to the broker, and without TLS to anybody on the way."""
    username: str | None = None
    """Who logs in."""
    password: SecretStr | None = None
    """The password; it is never shown, and best set as `UPWELL_KAFKA_PASSWORD` or in a file."""
    password_file: str | None = None
    """A file that holds the password and nothing else, as Docker and Kubernetes mount secrets."""

    @property
    def encrypted(self) -> bool:
        """Whether the connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def login(self) -> bool:
        """Whether the client logs in."""
        return self.security_protocol.startswith("SASL")

    @model_validator(mode="after")
    def _consistent(self) -> Kafka:
        login = {"username": self.username, "password": self.password, "password_file": self.password_file}
        files = {"ca_file": self.ca_file, "cert_file": self.cert_file, "key_file": self.key_file}
        for names, used, wish in ((login, self.login, "SASL_SSL"), (files, self.encrypted, "SSL or SASL_SSL")):
            idle = [] if used else [name for name, value in names.items() if value]
            if idle:
                said = f"{self.security_protocol} does not use kafka.{idle[0]}"
                raise ValueError(f"{said}; set kafka.security_protocol to {wish}")
        if self.login and not (self.username and (self.password or self.password_file)):
            raise ValueError(f"{self.security_protocol} needs kafka.username, and kafka.password or kafka.password_file")
        if self.password and self.password_file:
            raise ValueError("there are two passwords; set either kafka.password or kafka.password_file")
        if self.key_file and not self.cert_file:
            raise ValueError("kafka.key_file has no certificate; set kafka.cert_file")
        return self


class Intake(_Section):
    """How events are read."""

    batch_events: Annotated[int, Field(ge=1, le=100_000)] = 8_000
    """Most events of a micro-batch. Larger ones cost memory; who acts several times in one is answered once."""
    batch_bytes: Annotated[int, Field(ge=65_536, le=900_000)] = 800_000
    """Most bytes of a partition in a micro-batch: what they teach is one message, and brokers take a megabyte by default."""
    batch_ms: Annotated[int, Field(ge=1, le=10_000)] = 200
    """How long a micro-batch may take under load, in ms: batches adapt to it; five times as long where far more wait."""
    session_timeout_ms: Annotated[int, Field(ge=6_000, le=300_000)] = 10_000
    """Silence after which Kafka gives a worker's partitions to others, in ms; brokers allow no less than 6,000."""
    future_skew_s: Annotated[float, Field(ge=0, le=_DAY)] = 300.0
    """How far an event's time may lie after its record's, in seconds; what lies further would freeze decay."""
    rewind_s: Annotated[float, Field(ge=0, le=3_600)] = 5.0
    """How much log is applied again when a primary of a Redis Cluster was replaced, in s: more than its replica lags behind."""
    cached_users: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Profiles kept in a worker's memory, about 10 kB each; others are read from Redis when they act."""


class Consent(_Section):
    """Whose events are kept."""

    required: bool = False
    """Whether a user who has not said yes (`properties.consent`) counts as one who said no: answered, but not kept or learned."""


class Identity(_Section):
    """Which ids are people's, and which are those of browsers and devices that a person may turn out to have used."""

    anonymous: str = ""
    """A regular expression that every anonymous id matches as a whole, and no person's id; empty: any id may be either."""

    @field_validator("anonymous")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression ({error}); write one such as 'anon-.+'") from None
        return value


class Publish(_Section):
    """What is published."""

    size: Annotated[int, Field(ge=1, le=100)] = 10
    """Items of a recommendation."""


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
        raise ValueError(f"{name!r} is no brand, category, tag or item; write it as brand:acme or item:sku-1")
    return name


def _each_once(pins: dict[int, str]) -> dict[int, str]:
    """Check that no item is pinned twice."""
    twice = [item for item in pins.values() if [*pins.values()].count(item) > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is pinned to two places; give it one")
    return pins


Boosts = Annotated[dict[Annotated[str, AfterValidator(_boosted)], Weight], BeforeValidator(_table)]
Pinned = Annotated[str, Field(min_length=1, max_length=512)]
Pins = Annotated[
    dict[Annotated[int, Field(ge=1, le=100)], Pinned],
    BeforeValidator(_table),
    AfterValidator(_each_once),
]


class Rerank(_Section):
    """What becomes of the blend's order before it is published; all of it is off by default."""

    boosts: Boosts = {}
    """Added to the score of a brand, category, tag or item, as {"brand:acme": 0.5, "item:sku-1": -1}, in standard deviations of
    the scores of the list's candidates: so it means the same whatever the blend has learned."""
    pins: Pins = {}
    """Which item stands at which place, as {"1": "sku-9"}, in every list for whose user it is available and not excluded."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much likeness to what stands above, in brand and categories, weighs against the score: 0 nothing, 1 everything."""
    explore: Annotated[int, Field(ge=0, le=100)] = 0
    """Last places of a list that are left to chance: what nobody is shown, nobody can like. What is drawn has a propensity."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of what is drawn; with the trigger of a list it says all, so that a list made again is the same."""


class Snapshot(_Section):
    """How a worker's models are saved for a fast restart."""

    seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """Time between snapshots; a restart folds at most about twice as much log."""
    part_bytes: Annotated[int, Field(ge=65_536, le=8 << 20)] = 8 << 20
    """Size of a snapshot's parts; Redis serves nobody else while it moves one, so no more than 8 MiB."""


class ModelKnobs(_Section):
    """The models; every worker of a group must have the same, for all fold the same log."""

    visitors: Annotated[int, Field(ge=8, le=4_096)] = 256
    """Last visitors kept of each item, 8 bytes each: where neighbors are looked for."""
    length: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Last visits kept of each user, 17.5 bytes each: what neighbors can offer."""
    short: Seconds = _DAY
    """Half-life of `trending`, in seconds."""
    long: Seconds = 30 * _DAY
    """Half-life of `popular` and `segment`, and of what segments are named by, in seconds."""
    dimensions: Annotated[int, Field(ge=8, le=256)] = 32
    """Length of item and user vectors; K-means and `content` cost in proportion."""
    tokens_per_item: Annotated[int, Field(ge=4, le=64)] = 16
    """Most tokens (brand, category, tags, price band, words) kept of a catalogue entry."""
    posting: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Last items kept of each token: where `content` looks for candidates."""
    max_users: NoLimit | Annotated[int, Field(ge=10_000, le=1 << 30)] = 0
    """Most users in the models, about 1.2 kB each; newcomers then take the place of the least recently active. 0: all stay."""
    max_items: NoLimit | Annotated[int, Field(ge=10_000, le=1 << 30)] = 0
    """Most items in the models, about 2.7 kB each, those of the catalogue too; as `models.max_users`."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the first weights of the blend's hidden layer."""
    rate: Share = 0.2
    """Step of the blend's Adagrad; larger follows change sooner and trembles more."""
    shrink: Annotated[float, Field(ge=1, le=1e6)] = 200.0
    """Judged events at which a segment's own weights count as much as everybody's."""
    sources: Annotated[str, AfterValidator(source_names)] = "all"
    """Sources that bring candidates and are heard by the blend: `all`, or some by name as `covisit,next,popular`."""
    per_source: Count = 20
    """Candidates that each source brings into the blend."""
    keep: Annotated[int, Field(ge=10, le=1000)] = 128
    """Candidates of a published list that are kept in memory, for the blend to learn from what the user does next."""
    judged: Annotated[int, Field(ge=10, le=1000)] = 10
    """Candidates that any source ranks this high are always kept, so that its hits among the first ten can be counted."""
    neighbors: Count = 30
    """Most similar users that are asked for items."""
    query_items: Annotated[int, Field(ge=1, le=62)] = 10
    """Last items of a user by which neighbors are looked for."""
    covisit_items: Count = 5
    """Last items of a user whose visitors are looked up for `covisit` and `next`."""
    content_items: Count = 3
    """Last items of a user whose tokens are looked up for `content`."""
    content_budget: Annotated[int, Field(ge=16, le=100_000)] = 256
    """Items compared for `content`."""
    window: Annotated[int, Field(ge=1, le=64)] = 5
    """Places before and after an item, in a visitor's history, that count as visited together with it."""
    measure: Literal["cosine", "pearson", "euclidean", "jaccard"] = "cosine"
    """Similarity of users."""
    query_half_life: Seconds = 7 * _DAY
    """Half-life of a user's own visits when neighbors are looked for, in seconds."""
    repeat_half_life: Seconds = 30 * _DAY
    """Half-life of `repeat`, in seconds."""
    path_half_life: Seconds = 14 * _DAY
    """Half-life of a neighbor's visits for `path`, in seconds."""
    new_half_life: Seconds = 7 * _DAY
    """Half-life of `new`, in seconds."""
    recent_half: Places = 1.0
    """Places among a user's last items at which a shared one counts half for `path`."""
    covisit_half: Places = 1.0
    """Places among a user's last items at which one counts half for `covisit` and `next`."""
    apart_half: Places = 1.0
    """Places between two visits of a neighbor at which the later counts half for `path`."""
    covisit_damping: Quarters = 0.5
    """Exponent of an item's visits by which `covisit` is divided: 0 favors popular items, 0.5 is the cosine; in quarters."""
    next_damping: Quarters = 0.0
    """The same for `next`."""

    def recommender(self) -> dict[str, Any]:
        """Give the keyword parameters of the recommender, but for the size of its lists."""
        return self.model_dump(exclude=_LEARNED_KNOBS) | {"sources": self.heard()}

    def heard(self) -> tuple[str, ...]:
        """Give the sources that are heard, in the order of all."""
        return tuple(name for name in SOURCES if self.sources == "all" or name in self.sources.split(","))

    def limits(self) -> dict[str, int]:
        """Give the most users and items; nothing where neither is limited, as in logs older than these settings."""
        return {"users": self.max_users, "items": self.max_items} if self.max_users or self.max_items else {}


_LEARNED_KNOBS = {"visitors", "length", "short", "long", "dimensions", "tokens_per_item", "posting", "seed", "rate", "shrink"}
_LEARNED_KNOBS |= {"max_users", "max_items"}


class Serve(_Section):
    """The HTTP API of `upwell serve`."""

    http: Annotated[str, AfterValidator(address)] = "127.0.0.1:6067"
    """Where it listens; beyond this machine only with a token."""
    token: SecretStr | None = None
    """What a client must send as `Authorization: Bearer …`; it is never shown, and best set as `UPWELL_SERVE_TOKEN`."""
    token_file: str | None = None
    """A file that holds the token and nothing else, as Docker and Kubernetes mount secrets."""
    rate: Annotated[float, Field(ge=1, le=1e6)] = 10_000.0
    """Requests a second from one address, in bursts of a second's worth; more get 429."""
    body_bytes: Annotated[int, Field(ge=1 << 10, le=64 << 20)] = 1 << 20
    """The largest body of a request; a longer one gets 413."""
    header_seconds: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    """How long a request's first line and headers may take; a slower client is hung up on."""
    body_seconds: Annotated[float, Field(ge=0.1, le=600)] = 30.0
    """How long a request's body may take; a slower one gets 408."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    """Most connections at once; more are hung up on, before they cost anything."""


class Log(_Section):
    """What is written to the log, on standard error."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    """What is written to the log."""
    format: Literal["console", "json"] = "console"
    """Lines for people, or JSON objects for programs: `time`, `level`, `logger`, `message` and what else is known."""
    user_ids: bool = False
    """Whether the log may name users, in the field `user_id`; without it, that is left out."""


class PseudonymKnobs(_Section):
    """What stands for users' ids in all that Upwell stores; every worker of a group, and who reads by id, needs the same."""

    key_file: str = ""
    """A file of 32 to 4,096 random bytes that not everybody may read: with it users' ids are replaced by pseudonyms before
    anything is stored; empty: they are stored as they come in. See docs/pseudonyms.md."""


class Segments(_Section):
    """The segments of users; every worker of a group must have the same."""

    k: Annotated[int, Field(ge=2, le=64)] | Literal["auto"] = 8
    """How many segments, but for `dbstream`; more than a person can name are of no use in a campaign, and 64 is what is held.
    With `auto` `kmeans` finds it, from 4 to 64, and the number may change."""
    method: Literal["kmeans", "dbstream", "som"] = "kmeans"
    """How users are grouped: `dbstream` finds how many groups there are, without bots and outliers; `som` makes a map of them."""
    half_life: Annotated[float, Field(ge=100)] | None = None
    """Users' vectors after which an old one counts half; without it `kmeans` counts all alike, and the others take 4,096."""
    radius: Annotated[float, Field(gt=0, le=2)] | None = None
    """Distance within which `dbstream` counts users' vectors, of length 1, as near; without it, it is found from the first."""
    min_share: Annotated[float, Field(gt=0, le=0.5)] = 1 / 64
    """Share of all users that makes a segment of `dbstream`; a smaller crowd is bots or outliers, and gets none."""
    buffer: Annotated[int, Field(ge=8, le=2_048)] = 256
    """Users' vectors gathered before the first centers are solved; fewer give segments sooner, and rougher ones."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Seed of the first centers."""
    utc_offset_hours: Annotated[float, Field(ge=-12, le=14, multiple_of=0.25)] = 0.0
    """Local time of most users, in hours after UTC: by it segments are named `evening` or `weekend`."""

    @model_validator(mode="after")
    def _countable(self) -> Segments:
        if self.k == "auto" and self.method == "som":
            raise ValueError("`auto` is for kmeans; a map needs a number of nodes: set segments.k, as to 16")
        return self

    def unused(self) -> set[str]:
        """Name the settings that the method does not take."""
        own = {"k"} if self.method == "dbstream" else {"radius", "min_share"}
        return own | {"utc_offset_hours"}


class Weights(_Section):
    """How much an event says: positive ones teach, negative ones lower an item for their user, 0 says nothing."""

    view: Weight = 1.0
    """Weight of a view."""
    click: Weight = 1.0
    """Weight of a click."""
    cart: Weight = 2.0
    """Weight of putting into the cart."""
    purchase: Weight = 3.0
    """Weight of a purchase."""
    favorite: Weight = 3.0
    """Weight of a favorite."""
    rating: Literal["value"] | Weight = "value"
    """Weight of a rating; `value` takes the event's own, held between -10 and 10 lest one event outweigh all others."""
    low_rating: Annotated[float, Field(ge=-_WEIGHT_LIMIT, le=_WEIGHT_LIMIT)] = 2.5
    """A rating below this pushes away as a dislike does, the lower the more; the default suits one to five stars."""
    return_: Annotated[Weight, Field(alias="return")] = -1.0
    """Weight of a return."""
    dislike: Weight = -1.0
    """Weight of a dislike."""
    impression: Weight = 0.0
    """Weight of an impression: of weight 0, it lowers what was shown in vain and says nothing else of the user."""
    other: Weight = 1.0
    """Weight of every other type, and of a rating whose value is no longer known."""
    custom: dict[str, Weight] = {}
    """Weights of types of your own, as {"wish": 2}."""

    @cached_property
    def _fixed(self) -> dict[str, float]:
        named = {**self.model_dump(by_alias=True, exclude={"other", "custom", "low_rating"}), **self.custom}
        return {kind: weight for kind, weight in named.items() if weight != "value"}

    def of(self, kind: str, value: float | None) -> float:
        """Give the weight of an event of this type and value."""
        fixed = self._fixed.get(kind)
        if fixed is not None:
            return fixed
        if kind != "rating" or value is None or math.isnan(value):
            return self.other
        held = min(max(value, -_WEIGHT_LIMIT), _WEIGHT_LIMIT)
        return held if held >= self.low_rating else max(held - self.low_rating, -_WEIGHT_LIMIT)
