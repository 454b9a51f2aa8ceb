"""The catalogue of reasons: for each an example of the bytes that are refused so, and how to mend whoever sends them."""

from __future__ import annotations

from typing import Final, NamedTuple

from streams.fields import ID_BYTES, TYPE_BYTES
from streams.objects import DEPTH
from streams.schemas import REASONS

__all__ = ["CATALOGUE", "Known", "catalogue_table"]


class Known(NamedTuple):
    """A reason: bytes that show it (None: a record without a value), the role of their topic, and the fix."""

    example: bytes | None
    fix: str
    topic: str = "events"


_TEA = b'"user_id":"ada","item_id":"tea"'
_ID = (
    f"Send the id as it is, at most {ID_BYTES} bytes; a number as an integer or as a string, never 12.0. Leave it out if unknown."
)
_ONE = b'{"item_id":"tea",'
_TEXT = "Send one string of at most 4,096 bytes, or leave the field out."

CATALOGUE: Final[dict[str, Known]] = {
    "no_value": Known(None, "Send no tombstones to `events`; a user is forgotten in Redis, not by a null."),
    "not_utf8": Known(
        b'{"type":"view","user_id":"Ren\xe9","item_id":"tea"}',
        "Encode as UTF-8: the byte is Latin-1 or binary. Once the producer is mended, send these events anew from their source.",
    ),
    "not_json": Known(
        b'{"type":"view",' + _TEA,
        "Write events with a JSON library, never by pasting text together; look for cut messages, NaN, Avro, Protobuf or CSV.",
    ),
    "too_deep": Known(
        b'{"type":"view",' + _TEA + b',"properties":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
        f"Flatten `properties`: {DEPTH} nested brackets are allowed, and Upwell reads none of it.",
    ),
    "not_an_object": Known(b'[{"type":"view",' + _TEA + b"}]", "Send one object a record; split a list into records."),
    "missing_type": Known(b'{"event":"view",' + _TEA + b"}", "Add `type`; the message names a field that looks like it."),
    "missing_user_id": Known(b'{"type":"view","userId":"ada","item_id":"tea"}', "Add `user_id`, spelled so, or send no event."),
    "missing_item_id": Known(
        b'{"type":"view","user_id":"ada"}', "Add `item_id`, spelled so; a page without an item is no event."
    ),
    "missing_anonymous_id": Known(
        b'{"type":"identify","user_id":"ada","anonymousId":"c-7f3"}', "Send the id that the visitor had before as `anonymous_id`."
    ),
    "missing_value": Known(b'{"type":"rating",' + _TEA + b"}", "Send the rating as a number in `value`."),
    "missing_consent": Known(
        b'{"type":"consent","user_id":"ada"}', "Say which it is, `properties.consent` true or false; nobody's consent is guessed."
    ),
    "unwanted_item_id": Known(
        b'{"type":"forget",' + _TEA + b"}",
        "Leave out `item_id`: the event is about the whole user. For one item, send `dislike` or `return`.",
    ),
    "bad_type": Known(
        b'{"type":7,' + _TEA + b"}",
        f"Send a word such as `view`, of at most {TYPE_BYTES} bytes; details belong into `properties`.",
    ),
    "bad_user_id": Known(b'{"type":"view","user_id":12.0,"item_id":"tea"}', _ID),
    "bad_item_id": Known(b'{"type":"view","user_id":"ada","item_id":["tea"]}', _ID),
    "bad_event_id": Known(b'{"type":"view",' + _TEA + b',"event_id":""}', _ID),
    "bad_session_id": Known(b'{"type":"view",' + _TEA + b',"session_id":{}}', _ID),
    "bad_recommendation_id": Known(b'{"type":"view",' + _TEA + b',"recommendation_id":true}', _ID),
    "bad_timestamp": Known(
        b'{"type":"view",' + _TEA + b',"timestamp":"31/01/2026"}',
        "Send seconds, milliseconds or microseconds since 1970, or ISO 8601; without `timestamp` the record's own time counts.",
    ),
    "bad_consent": Known(b'{"type":"view",' + _TEA + b',"properties":{"consent":"yes"}}', "Send true or false, without quotes."),
    "bad_value": Known(b'{"type":"cart",' + _TEA + b',"value":"3,99"}', "Send a number without quotes, with a point."),
    "bad_anonymous_id": Known(
        b'{"type":"identify","user_id":"ada","anonymous_id":"ada"}',
        "Send the cookie's or device's id, never the person's; where `identity.anonymous` is set, only ids that match it.",
    ),
    "anonymous_user_id": Known(
        b'{"type":"identify","user_id":"c-7f3","anonymous_id":"c-81e"}',
        "Send the account's id as `user_id`; an id that matches `identity.anonymous` is nobody's account.",
    ),
    "identify_person": Known(
        b'{"type":"identify","user_id":"bob","anonymous_id":"ada"}',
        "Nothing to mend: an account is never merged into another. Look at who sends this; it may be an attempt to read `ada`.",
    ),
    "already_identified": Known(
        b'{"type":"identify","user_id":"bob","anonymous_id":"c-7f3"}',
        "Give the device a fresh anonymous id when a person logs out; one that belongs to somebody stays so.",
    ),
    "bad_merge": Known(
        b'{"type":"merge","user_id":"ada"}',
        "Only workers send messages with this header; find who copies them, and copy none with headers `upwell.…`.",
    ),
    "too_large_to_rekey": Known(
        b'{"type":"view",' + _TEA + b',"properties":"' + b"x" * 1_000_000 + b'"}',
        "Key events by the user's id with Java's partitioner (murmur2), or keep them below a megabyte.",
    ),
    "misplaced": Known(
        b'{"type":"view",' + _TEA + b"}",
        "Somebody copies re-keyed events with their header `upwell.rekeyed`; copy without it, or by the key. "
        "After a change of the key of pseudonyms leave it: an `identify` sends it anew.",
    ),
    "wrong_key": Known(_ONE + b'"name":"Tea"}', "Send the item's id as the key too.", "items"),
    "bad_name": Known(_ONE + b'"name":["Tea"]}', _TEXT, "items"),
    "bad_brand": Known(_ONE + b'"brand":{"id":7}}', _TEXT, "items"),
    "bad_url": Known(_ONE + b'"url":["https://shop.example"]}', _TEXT, "items"),
    "bad_image": Known(_ONE + b'"image":true}', _TEXT, "items"),
    "bad_category": Known(_ONE + b'"category":{"id":7}}', 'Send "grocery/drinks/tea" or ["grocery", "drinks", "tea"].', "items"),
    "bad_tags": Known(_ONE + b'"tags":"organic"}', 'Send a list: ["organic"].', "items"),
    "bad_price": Known(_ONE + b'"price":"3.99"}', "Send a number without quotes, 0 or more.", "items"),
    "bad_available": Known(_ONE + b'"available":1}', "Send true or false, without quotes.", "items"),
}
"""By the word on the header `upwell.error`."""

_SHOWN: Final = 90  # bytes of an example in the table


def catalogue_table() -> str:
    """Give the catalogue as a table in Markdown."""
    head = ["| `upwell.error` | what it says | such as | the fix |", "|---|---|---|---|"]
    rows = (
        f"| `{error}` | {REASONS[error].partition(': ')[2]} | {_example(known.example)} | {known.fix} |"
        for error, known in CATALOGUE.items()
    )
    return "\n".join([*head, *rows]) + "\n"


def _example(value: bytes | None) -> str:
    if value is None:
        return "no value"
    text = value.decode(errors="backslashreplace")
    return f"`{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"
