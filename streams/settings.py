"""All settings in one object: a TOML file, then the environment (UPWELL_*), then options; the last wins.

Only this module reads the environment; everything else is handed what it needs.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pydantic_settings
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from streams.knobs.fields import RedisURL, address, addresses, brief, exclusion
from streams.knobs.models import Consent, Identity, ModelKnobs, Publish, Rerank, Segments, Weights
from streams.knobs.servers import Intake, Kafka, Log, PseudonymKnobs, Serve, Snapshot, Topics
from streams.pseudonyms import BadKey, Pseudonyms

__all__ = ["PREFIX", "Settings", "SettingsError", "load", "settings_table"]

PREFIX = "UPWELL_"
FILE = "upwell.toml"

# Variables under our prefix that are no settings: where the file is, what tests and their broker are told, and what
# Kubernetes puts into every container beside a Service of our name.
_NO_SETTING = re.compile(
    r"UPWELL_(CONFIG|KAFKA_JARS|TEST_\w+)=.*"
    r"|UPWELL_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?=.*|PORT(_\d+_(TCP|UDP|SCTP))?=\w+://.*|PORT_\d+_(TCP|UDP|SCTP)_\w+=.*)",
    re.DOTALL,
)
_SECRET = re.compile("(pass|secret|token|key)(?!.*_file$)", re.IGNORECASE)


class SettingsError(Exception):
    """A wrong setting: one line with its name, its value and the fix."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Settings(BaseModel):
    """All settings; made directly it knows its arguments only, :func:`load` reads the file and the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    brokers: Annotated[str, AfterValidator(addresses)] = "127.0.0.1:9092"
    """Kafka's brokers, host:port with commas between; a few of them are enough, the others are found."""
    redis: RedisURL = RedisURL("redis://127.0.0.1:6379/0")
    """Redis, as a URL: redis://user:password@host:port/database; rediss:// for TLS; redis+cluster://host:port,host:port for a
    cluster, of which some nodes are enough, rediss+cluster:// with TLS. Its password is never shown."""
    redis_password_file: str | None = None
    """A file that holds the password of Redis and nothing else; the user's name, if there is one, stays in the URL."""
    redis_ca_file: str | None = None
    """The certificates (PEM) that Redis' is to be signed by; without it, those that the system trusts."""
    redis_cert_file: str | None = None
    """The client's own certificate (PEM), for a Redis that asks for one (mutual TLS)."""
    redis_key_file: str | None = None
    """The key (PEM) of the client's certificate, not encrypted."""
    group: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")] = "upwell"
    """Consumer group; workers of one group share the work."""
    prefix: Annotated[str, Field(pattern=r"^[\w.:-]{1,64}$")] = "upwell:"
    """What every key in Redis begins with, so that others can live beside Upwell."""
    http: Annotated[str, AfterValidator(address)] = "127.0.0.1:6066"
    """Where a worker serves /health, /ready and /metrics; 0.0.0.0 shows them to other machines."""
    partitions: Annotated[int, Field(ge=1, le=1_024)] = 8
    """Partitions of topics that are created: at most so many workers share the work. Existing topics keep theirs."""
    exclude: Annotated[str, AfterValidator(exclusion)] = "dislike,return"
    """What is not recommended again: `none`, `seen` (all that a user touched), or event types as `purchase,dislike`."""
    log: Log = Log()
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    intake: Intake = Intake()
    consent: Consent = Consent()
    identity: Identity = Identity()
    publish: Publish = Publish()
    rerank: Rerank = Rerank()
    snapshot: Snapshot = Snapshot()
    serve: Serve = Serve()
    models: ModelKnobs = ModelKnobs()
    segments: Segments = Segments()
    weights: Weights = Weights()
    pseudonyms: PseudonymKnobs = PseudonymKnobs()

    @property
    def pseudonymize(self) -> Pseudonyms | None:
        """The pseudonyms of the key file, read at first use; None without one. SettingsError if it is no key."""
        return _pseudonyms(self.pseudonyms.key_file) if self.pseudonyms.key_file else None

    @cached_property
    def _excluded(self) -> frozenset[str]:
        return frozenset() if self.exclude == "none" else frozenset(self.exclude.split(","))

    def excludes(self, kind: str) -> bool:
        """Tell whether an item that met this type of event is not recommended to its user again."""
        return self.exclude == "seen" or kind in self._excluded

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Give the keyword parameters of the models, by model."""
        knobs = self.models
        limits = {"limits": knobs.limits()} if knobs.limits() else {}
        # No model's, but as theirs it must be the same wherever the log is folded.
        key = {"pseudonyms": {"key": self.pseudonymize.fingerprint}} if self.pseudonymize else {}
        return (
            limits
            | key
            | {
                "visits": {"visitors": knobs.visitors, "length": knobs.length},
                "popularity": {"short": knobs.short, "long": knobs.long},
                "catalog": {
                    "dimensions": knobs.dimensions,
                    "tokens_per_item": knobs.tokens_per_item,
                    "posting": knobs.posting,
                },
                "segments": self.segments.model_dump(exclude=self.segments.unused()),
                "habits": {"half_life": knobs.long},
                "blend": {"rate": knobs.rate, "shrink": knobs.shrink, "seed": knobs.seed},
            }
        )


# Kept by its name, and not with the settings: a copy of them that names another file must not have this key.
@functools.lru_cache(maxsize=8)
def _pseudonyms(file: str) -> Pseudonyms:
    try:
        return Pseudonyms.read(Path(file))
    except BadKey as error:
        raise SettingsError(f"pseudonyms.key_file is {_shown(file)}, but {error}") from None


def load(config: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load the settings; ``overrides`` are options, nested or dotted: {"segments": {"k": 12}}, {"segments.k": "12"}."""
    file = _file(config)
    sources: dict[str, dict[str, Any]] = {
        str(file): _read(file) if file else {},
        "the environment": _environment(),
        "the options": _nested(overrides or {}),
    }
    try:
        return Settings(**functools.reduce(_merged, sources.values()))
    except ValidationError as error:
        raise _wrong(error.errors(include_url=False), sources) from None


def _file(config: str | Path | None) -> Path | None:
    chosen = config or os.environ.get(PREFIX + "CONFIG")
    if chosen:
        return Path(chosen)
    return Path(FILE) if Path(FILE).exists() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        found = f"config is {str(file)!r}, which cannot be read ({error.strerror})"
        raise SettingsError(f"{found}; name an existing file") from None
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise SettingsError(f"config is {str(file)!r}, which is no TOML ({error}); mend that place") from None


def _environment() -> dict[str, Any]:
    known = {_variable(name): name for name, _ in _knobs()}
    for variable, value in os.environ.items():
        name = variable.upper()
        if name.startswith(PREFIX) and name not in known and not _NO_SETTING.fullmatch(f"{name}={value}"):
            raise _unknown(variable, value, "the environment", known)
    source = EnvSettingsSource(
        Settings,  # type: ignore[arg-type]  # it needs the fields only
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
    )
    # Or it would take a variable that is no setting for one of a section: UPWELL_KAFKA_JARS.
    source.env_vars = {
        name: value for name, value in source.env_vars.items() if not _NO_SETTING.fullmatch(f"{name.upper()}={value}")
    }
    try:
        return source()
    except pydantic_settings.SettingsError:
        raise _no_json() from None


# Settings that are tables, with an example of each: in the environment they are JSON.
_TABLES = {"weights.custom": '{"wish": 2}', "rerank.boosts": '{"brand:acme": 0.5}', "rerank.pins": '{"1": "sku-9"}'}


def _no_json() -> SettingsError:
    """Say which of the tables in the environment is not JSON."""
    for name, example in _TABLES.items():
        found = next((value for variable, value in os.environ.items() if variable.upper() == _variable(name)), "")
        try:
            msgspec.json.decode(found or "{}")
        except msgspec.DecodeError:
            return SettingsError(f"{_variable(name)} is {_shown(found)}, but must be JSON; write it as {example}")
    return SettingsError("a table in the environment is not JSON; write it in upwell.toml")


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Open dotted names into sections, and into tables, whose own names may have dots."""
    tree: dict[str, Any] = {}
    for name, value in overrides.items():
        inner = value
        for part in reversed(name.split(".", 2)):
            inner = {part: inner}
        tree = _merged(tree, inner)
    return tree


def _merged(lower: dict[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree over another."""
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _knobs() -> Iterator[tuple[str, FieldInfo]]:
    """Give every setting by its dotted name."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            for inner, inner_field in field.annotation.model_fields.items():
                yield f"{name}.{inner_field.alias or inner}", inner_field
        else:
            yield name, field


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "_").upper()


def _wrong(errors: list[ErrorDetails], sources: Mapping[str, Mapping[str, Any]]) -> SettingsError:
    """Say the first thing that is wrong, an unknown name before all else."""
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    knobs = dict(_knobs())
    parts = [str(part) for part in first["loc"]]
    path = parts[:2] if ".".join(parts[:2]) in knobs or first["type"] == "extra_forbidden" else parts[:1]
    name = ".".join(path)
    origin = next(source for source, tree in reversed([*sources.items()]) if _holds(tree, path))
    if first["type"] == "extra_forbidden":
        return _unknown(name, first["input"], origin, knobs)
    where = _variable(name) if origin == "the environment" else name
    found = "'***'" if name in knobs and SecretStr in get_args(knobs[name].annotation) else _shown(first["input"])
    return SettingsError(f"{where} (from {origin}) is {found}, but {_needs(first, knobs.get(name))}")


def _unknown(name: str, found: object, origin: str, known: Iterable[str]) -> SettingsError:
    value = "'***'" if _SECRET.search(name) else _shown(found)
    return SettingsError(f"{name} (from {origin}) is {value}, but no setting has this name; {_meant(name, list(known))}")


def _needs(error: ErrorDetails, field: FieldInfo | None) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if field is None:
        return "must be a section; write it as a table with names of its own"
    pattern = next((f" matching {one.pattern}" for one in field.metadata if getattr(one, "pattern", None)), "")
    return f"must be {_may_be(field)}{pattern}; set it to such a value, for example {_written(field.default)}"


def _holds(tree: Mapping[str, Any], path: Iterable[str]) -> bool:
    place: Any = tree
    for part in path:
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True


def _meant(name: str, known: list[str]) -> str:
    """Say the name that was likely meant, by its last part or by spelling."""
    near = [one for one in known if one.rpartition(".")[2] == name] or difflib.get_close_matches(name.upper(), known, 1)
    near = near or difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else "take it out, or see docs/settings.md for all names"


def _shown(found: object) -> str:
    return brief(_masked(found))


def _masked(found: object) -> object:
    """Hide what is secret by its name or by its place in a URL."""
    if isinstance(found, Mapping):
        return {name: "***" if _SECRET.search(str(name)) else _masked(value) for name, value in found.items()}
    return RedisURL(found) if isinstance(found, str) else found


def settings_table(*, top: bool = False) -> str:
    """Give all settings, or only those outside sections, as a table in Markdown."""
    rows = ["| setting | default | may be | what it does, and why |", "|---|---|---|---|"]
    for name, field in _knobs():
        if not (top and "." in name):
            default = f"{field.default:.12g}" if isinstance(field.default, float) else _written(field.default)
            meaning = " ".join((field.description or "").split())
            rows.append(f"| `{name}` | `{default}` | {_may_be(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_NAMES: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "`true` or `false`",
    RedisURL: "a URL",
    SecretStr: "a text",
    type(None): "nothing",
}


def _may_be(field: FieldInfo) -> str:
    return _words(field.annotation, field.metadata)


def _words(kind: object, bounds: Iterable[object]) -> str:
    """Describe a type and its bounds."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return _words(inner, [bound for one in metadata for bound in (one.metadata if isinstance(one, FieldInfo) else [one])])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in {Union, UnionType}:
        return ", or ".join(_words(one, []) for one in get_args(kind))
    if get_origin(kind) is dict:
        return "a table of texts" if _words(get_args(kind)[1], []) == "a text" else "a table of numbers"
    return _NAMES[kind] + _range(bounds)


def _range(bounds: Iterable[object]) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    found = [(word, getattr(bound, name)) for bound in bounds for name, word in words.items() if hasattr(bound, name)]
    return "".join(f" {word} {f'{bound:,}'.removesuffix('.0')}" for word, bound in found)
