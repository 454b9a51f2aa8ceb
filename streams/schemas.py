"""What travels on the wire: events and items in, recommendations and segment changes out; one decoder per topic.

The common event takes the typed path: one pass of msgspec that skips what is not asked for. Whatever that pass refuses
is looked at again, field by field, to take what is legal after all or to say in one sentence what is wrong.
"""

from __future__ import annotations

import difflib
import re
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from streams.failures import Poison
from streams.fields import (
    ID_BYTES,
    LARGEST_NUMBER,
    LIST_LENGTH,
    TEXT_BYTES,
    TYPE_BYTES,
    identifier,
    kind,
    moment,
    number,
    plain,
    quoted,
    shown,
    text,
    texts,
)
from streams.objects import DEPTH, bound_depth, fields, raw_fields, unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ABOUT_USERS",
    "CONSENT",
    "FORGET",
    "IDENTIFY",
    "REASONS",
    "BadEvent",
    "BadItem",
    "Deleted",
    "Event",
    "Item",
    "Reason",
    "Recommendation",
    "Recommended",
    "SegmentChange",
    "Trigger",
    "decode_event",
    "decode_item",
    "reasons_table",
]

FORGET: Final = "forget"
CONSENT: Final = "consent"
IDENTIFY: Final = "identify"
# Types of events about the whole user: they name no item, and nobody is given a list for them.
ABOUT_USERS: Final = (FORGET, CONSENT, IDENTIFY)

REASONS: Final = {
    "no_value": "decode: the record has no value; on `events` a null deletes nothing",
    "not_utf8": "decode: the bytes are not UTF-8",
    "not_json": "decode: the text is not JSON (NaN and Infinity are not either)",
    "too_deep": f"decode: more than {DEPTH} nested brackets",
    "not_an_object": "decode: JSON, but not one object",
    "missing_type": "validate: no `type`",
    "missing_user_id": "validate: no `user_id`",
    "missing_item_id": "validate: no `item_id`",
    "missing_value": "validate: a `rating` without `value`",
    "missing_consent": "validate: an event of the type `consent` without `properties.consent`",
    "missing_anonymous_id": "validate: an event of the type `identify` without `anonymous_id`",
    "unwanted_item_id": "validate: a `forget`, a `consent` or an `identify` with `item_id`; they are about the whole user",
    "bad_type": f"validate: `type` is not a string of 1 to {TYPE_BYTES} bytes",
    "bad_user_id": f"validate: `user_id` is not a string of 1 to {ID_BYTES} bytes or an integer",
    "bad_item_id": f"validate: `item_id` is not a string of 1 to {ID_BYTES} bytes or an integer",
    "bad_event_id": "validate: `event_id`, likewise",
    "bad_session_id": "validate: `session_id`, likewise",
    "bad_recommendation_id": "validate: `recommendation_id`, likewise",
    "bad_timestamp": "validate: `timestamp` is no time after 1970 and before the year 10000, in s, ms, µs or ISO 8601",
    "bad_consent": "validate: `properties.consent` is neither true nor false",
    "bad_anonymous_id": "validate: the `anonymous_id` of an `identify` is no such id, or is the `user_id`, or not as set",
    "anonymous_user_id": "validate: the `user_id` of an `identify` is an anonymous id, by the setting `identity.anonymous`",
    "bad_value": f"validate: `value` is not a number between {-LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}",
    "too_large_to_rekey": "place: an event on the wrong partition that is too large to be sent to its user's",
    "misplaced": "place: what was re-keyed once arrived on a wrong partition again, or is of another key of pseudonyms",
    "identify_person": "identify: the `anonymous_id` of an `identify` is a person: it was the `user_id` of one",
    "already_identified": "identify: the `anonymous_id` of an `identify` belongs to another person since before",
    "bad_merge": "identify: a message with the header `upwell.merge` that Upwell did not write",
    "wrong_key": "validate: an item's key is not its `item_id`, so compaction and deletion would miss it",
    "bad_name": f"validate: an item's `name` is not a string of at most {TEXT_BYTES} bytes",
    "bad_brand": "validate: `brand`, likewise",
    "bad_url": "validate: `url`, likewise",
    "bad_image": "validate: `image`, likewise",
    "bad_category": (
        f"validate: an item's `category` is neither such a string nor a list of them, or of more than {LIST_LENGTH} steps"
    ),
    "bad_tags": f"validate: an item's `tags` are not a list of at most {LIST_LENGTH} strings",
    "bad_price": "validate: an item's `price` is not a number of 0 or more",
    "bad_available": "validate: an item's `available` is neither true nor false",
}
"""Every reason on the header `upwell.error` of a dead letter: its stage and what it says."""


def reasons_table() -> str:
    """Give the reasons as a table in Markdown."""
    rows = (f"| `{error}` | {said.replace(': ', ' | ', 1)} |" for error, said in REASONS.items())
    return "\n".join(["| `upwell.error` | `upwell.stage` | what it says |", "|---|---|---|", *rows]) + "\n"


class BadEvent(Poison):
    """A message on `events` that is no event."""


class BadItem(Poison):
    """A message on `items` that is no item."""


class Event(Struct, gc=False, frozen=True):
    """What a user did to an item, or with an empty ``item_id`` what is to hold for the user: forgotten, consenting, identified.

    ``timestamp`` is the time in seconds as sent, by default the record's; ``time`` is what decay reckons with: the
    timestamp, but never later than the record's time and the allowed skew.
    """

    type: str
    user_id: str
    item_id: str
    timestamp: float
    time: float
    value: float | None = None
    event_id: str | None = None
    session_id: str | None = None
    recommendation_id: str | None = None
    consent: bool | None = None
    anonymous_id: str | None = None


class Item(Struct, frozen=True):
    """A catalogue entry; ``category`` is the path from the root, whether it was sent as a path or as one string."""

    item_id: str
    name: str | None = None
    brand: str | None = None
    category: tuple[str, ...] = ()
    price: float | None = None
    tags: tuple[str, ...] = ()
    available: bool = True
    url: str | None = None
    image: str | None = None


class Deleted(Struct, frozen=True):
    """An item taken out of the catalogue by a null value."""

    item_id: str


class Reason(Struct, frozen=True):
    """Why an item is recommended: a source, its share of the score, and the user's own items that led there."""

    source: str
    share: float
    because: tuple[str, ...] = ()


class Recommended(Struct, frozen=True, omit_defaults=True):
    """One item of a recommendation; one that was drawn tells the chance with which it was, its propensity."""

    item_id: str
    score: float
    reasons: tuple[Reason, ...] = ()
    propensity: float | None = None


class Trigger(Struct, frozen=True):
    """The event that a recommendation answers: the user's last one in the micro-batch."""

    partition: int
    offset: int
    event_id: str | None = None


class Recommendation(Struct, frozen=True):
    """A message on `recommendations`, as a reader decodes it: ``msgspec.json.decode(value, type=Recommendation)``."""

    recommendation_id: str
    user_id: str
    generated_at: float
    trigger: Trigger
    segment: int | None
    model_version: int
    items: tuple[Recommended, ...]
    latency_ms: float


class SegmentChange(Struct, frozen=True):
    """A message on `segments`: a user entered ``segment`` and left ``previous``; without a segment, only left."""

    user_id: str
    segment: int | None
    previous: int | None
    name: str | None
    at: float


_Id: TypeAlias = str | int | float | None


class _Properties(Struct, gc=False):
    """The one property that counts."""

    consent: bool | None = None


class _Sent(Struct, gc=False):
    """An event's fields as they were sent; all others are skipped, yet must be JSON."""

    type: str | None = None
    user_id: _Id = None
    item_id: _Id = None
    timestamp: _Id = None
    value: float | None = None
    event_id: _Id = None
    session_id: _Id = None
    recommendation_id: _Id = None
    properties: _Properties | None = None
    anonymous_id: _Id = None


_TYPED: Final = msgspec.json.Decoder(_Sent).decode
_PROPERTIES: Final = msgspec.json.Decoder(dict[str, Raw]).decode
# Names among which a misspelling is looked for; a record may have a hundred thousand.
_LOOKED_AT: Final = 64
_STEP: Final = re.compile(r"[/>]")


def decode_event(value: bytes | None, *, received: float, skew: float) -> Event:
    """Decode a message on `events`; ``received`` is the record's time, ``skew`` how many s an event may lie after it.

    Raises BadEvent, and nothing else, on anything that is no event.
    """
    sent = _read(value)
    timestamp = moment(sent.timestamp, received, BadEvent)
    event_id, session_id, recommendation_id = sent.event_id, sent.session_id, sent.recommendation_id
    properties = sent.properties
    return Event(
        kind(sent.type, BadEvent),
        identifier("user_id", sent.user_id, BadEvent),
        "" if sent.item_id is None else identifier("item_id", sent.item_id, BadEvent),
        timestamp,
        min(timestamp, received + skew) if received > 0 else timestamp,
        None if sent.value is None else number("value", sent.value, -LARGEST_NUMBER, BadEvent),
        None if event_id is None else identifier("event_id", event_id, BadEvent),
        None if session_id is None else identifier("session_id", session_id, BadEvent),
        None if recommendation_id is None else identifier("recommendation_id", recommendation_id, BadEvent),
        None if properties is None else _consent(properties),
        # On events of other types it is the sender's own affair.
        identifier("anonymous_id", sent.anonymous_id, BadEvent) if sent.type == IDENTIFY else None,
    )


def decode_item(key: bytes | None, value: bytes | None) -> Item | Deleted:
    """Decode a message on `items`; raises BadItem, and nothing else, on anything that is no item."""
    keyed = None if key is None else identifier("item_id", unicode(key, "key", BadItem), BadItem)
    if value is None:
        return Deleted(_same(keyed, None))
    sent = fields(value, Item.__struct_fields__, BadItem)
    named = None if sent["item_id"] is None else identifier("item_id", sent["item_id"], BadItem)
    return Item(
        _same(keyed, named),
        text("name", sent["name"], BadItem),
        text("brand", sent["brand"], BadItem),
        _path(sent["category"]),
        None if sent["price"] is None else number("price", sent["price"], 0.0, BadItem),
        texts("tags", sent["tags"], BadItem),
        _available(sent["available"]),
        text("url", sent["url"], BadItem),
        text("image", sent["image"], BadItem),
    )


def _read(value: bytes | None) -> _Sent:
    """Give an event's fields: in one pass if they are of the common types, else each as it is."""
    if value is None:
        raise BadEvent("decode", "no_value", "An event must be a JSON object, found a record without a value; send one.")
    try:
        sent = _TYPED(value)
        value.isascii() or value.decode()  # what was skipped must be UTF-8 too
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        sent = _Sent(**fields(value, _Sent.__struct_fields__, BadEvent))  # type: ignore[arg-type]
    if sent.type in ABOUT_USERS:
        _check_about_user(sent, value)
    elif (sent.value is None and sent.type == "rating") or sent.type is None or sent.user_id is None or sent.item_id is None:
        raise _missing(sent, raw_fields(value, BadEvent))
    bound_depth(value, BadEvent)
    return sent


def _check_about_user(sent: _Sent, value: bytes) -> None:
    """Refuse what may be meant otherwise: nobody is forgotten or merged, and nobody's consent is taken, on a guess."""
    if sent.user_id is None or (sent.type == IDENTIFY and sent.anonymous_id is None):
        raise _missing(sent, raw_fields(value, BadEvent))
    if sent.item_id is not None:
        mend = "leave `item_id` out" if sent.type != CONSENT else "leave it out, or send the item's event with the property"
        found = f"`item_id`, {shown(sent.item_id)}"
        raise BadEvent("validate", "unwanted_item_id", f"`{sent.type}` is about the whole user, found {found}; {mend}.")
    if sent.type == CONSENT and (sent.properties is None or _consent(sent.properties) is None):
        needs = 'A `consent` needs `"properties": {"consent": true}` or false'
        raise BadEvent("validate", "missing_consent", f"{needs}, found none; add it.")


def _consent(properties: object) -> bool | None:
    """Give what an event says of its user's consent; properties that are no object say nothing."""
    if type(properties) is _Properties:
        return properties.consent
    if type(properties) is not Raw or bytes(properties)[:1] != b"{":
        return None
    raw = _PROPERTIES(properties).get("consent")
    found = None if raw is None else plain(raw)
    if found is None or type(found) is bool:
        return found
    needs = "`properties.consent` must be true or false"
    raise BadEvent("validate", "bad_consent", f"{needs}, found {shown(found)}; send it without quotes.")


def _missing(sent: _Sent, raws: Mapping[str, Raw]) -> BadEvent:
    """Name the field that is missing, what is there instead, and the likely misspelling."""
    needed = ("type", "user_id", *(("anonymous_id",) if sent.type == IDENTIFY else ("item_id", "value")))
    field = next(name for name in needed if getattr(sent, name) is None)
    names = {name.replace("_", "").lower(): name for name in islice(raws, _LOOKED_AT) if name != field}
    near = difflib.get_close_matches(field.replace("_", ""), names, n=1, cutoff=0.7)
    found = "null" if field in raws else f"only {', '.join(map(quoted, list(raws)[:8]))}" if raws else "an empty object"
    mend = f"rename {quoted(names[near[0]])} to `{field}`" if near else f"add `{field}`"
    needs = "A rating needs a number `value`" if field == "value" else f"An event needs `{field}`"
    return BadEvent("validate", f"missing_{field}", f"{needs}, found {found}; {mend}.")


def _same(keyed: str | None, named: str | None) -> str:
    """Give an item's id, which its key and its value must agree on."""
    if keyed is None and named is None:
        raise BadItem("validate", "missing_item_id", "An item needs `item_id`, found none and no key; send it as both.")
    if keyed is not None and named is not None and keyed != named:
        found = f"the key {quoted(keyed)} and the `item_id` {quoted(named)}"
        raise BadItem("validate", "wrong_key", f"An item's key must be its `item_id`, found {found}; send the id as both.")
    return named or keyed or ""


def _path(found: object) -> tuple[str, ...]:
    """Take a category as a list of steps, or as one string with the steps between slashes or angles."""
    whole = text("category", found, BadItem) if isinstance(found, str) else None
    if whole is None:
        return texts("category", found or None, BadItem)
    steps = tuple(step.strip() for step in _STEP.split(whole) if step.strip())
    if len(steps) > LIST_LENGTH:
        many = f"`category` must have at most {LIST_LENGTH} steps, found {len(steps)}; leave some out."
        raise BadItem("validate", "bad_category", many)
    return steps


def _available(found: object) -> bool:
    if found is None or isinstance(found, bool):
        return found is not False
    needs = "`available` must be true or false"
    raise BadItem("validate", "bad_available", f"{needs}, found {shown(found)}; send it without quotes.")
