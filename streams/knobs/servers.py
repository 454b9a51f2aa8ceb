"""Knobs of the servers and of how they are talked to: topics, connections, intake, snapshots, the HTTP API, secrets, the log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from streams.knobs.fields import DAY, Section, TopicName, address

__all__ = ["Intake", "Kafka", "Log", "PseudonymKnobs", "Serve", "Snapshot", "Topics"]


class Topics(Section):
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


class Kafka(Section):
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


class Intake(Section):
    """How events are read."""

    batch_events: Annotated[int, Field(ge=1, le=100_000)] = 8_000
    """Most events of a micro-batch. Larger ones cost memory; who acts several times in one is answered once."""
    batch_bytes: Annotated[int, Field(ge=65_536, le=900_000)] = 800_000
    """Most bytes of a partition in a micro-batch: what they teach is one message, and brokers take a megabyte by default."""
    batch_ms: Annotated[int, Field(ge=1, le=10_000)] = 200
    """How long a micro-batch may take under load, in ms: batches adapt to it; five times as long where far more wait."""
    session_timeout_ms: Annotated[int, Field(ge=6_000, le=300_000)] = 10_000
    """Silence after which Kafka gives a worker's partitions to others, in ms; brokers allow no less than 6,000."""
    future_skew_s: Annotated[float, Field(ge=0, le=DAY)] = 300.0
    """How far an event's time may lie after its record's, in seconds; what lies further would freeze decay."""
    rewind_s: Annotated[float, Field(ge=0, le=3_600)] = 5.0
    """How much log is applied again when a primary of a Redis Cluster was replaced, in s: more than its replica lags behind."""
    cached_users: Annotated[int, Field(ge=100, le=10_000_000)] = 100_000
    """Profiles kept in a worker's memory, about 10 kB each; others are read from Redis when they act."""


class Snapshot(Section):
    """How a worker's models are saved for a fast restart."""

    seconds: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """Time between snapshots; a restart folds at most about twice as much log."""
    part_bytes: Annotated[int, Field(ge=65_536, le=8 << 20)] = 8 << 20
    """Size of a snapshot's parts; Redis serves nobody else while it moves one, so no more than 8 MiB."""


class PseudonymKnobs(Section):
    """What stands for users' ids in all that Upwell stores; every worker of a group, and who reads by id, needs the same."""

    key_file: str = ""
    """A file of 32 to 4,096 random bytes that not everybody may read: with it users' ids are replaced by pseudonyms before
    anything is stored; empty: they are stored as they come in. See docs/pseudonyms.md."""


class Serve(Section):
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


class Log(Section):
    """What is written to the log, on standard error."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    """What is written to the log."""
    format: Literal["console", "json"] = "console"
    """Lines for people, or JSON objects for programs: `time`, `level`, `logger`, `message` and what else is known."""
    user_ids: bool = False
    """Whether the log may name users, in the field `user_id`; without it, that is left out."""
