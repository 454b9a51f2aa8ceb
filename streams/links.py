"""What workers send one another on `events` so that the ids of one person become one: the headers, and what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from state.profiles import HISTORY, Entry
from streams.fields import END_OF_TIME, ID_BYTES, LARGEST_NUMBER, TYPE_BYTES, quoted
from streams.schemas import FORGET, IDENTIFY, BadEvent, Event, decode_event

if TYPE_CHECKING:
    from streams.settings import Settings

__all__ = [
    "COPY",
    "MERGE",
    "PASSED_ON",
    "REKEYED",
    "UNLINK",
    "Link",
    "Merge",
    "check_ids",
    "check_pseudonymous",
    "decode_linked",
    "origin_of",
]

# Headers that say where a message came from, as "partition:offset": an event that was published again under the right key, an
# `identify` sent on to the anonymous id, what was known of that id, and the end of an alias.
REKEYED: Final = "upwell.rekeyed"
COPY: Final = "upwell.identify"
MERGE: Final = "upwell.merge"
UNLINK: Final = "upwell.unlink"
# Header that names the person for whom the message counts; with REKEYED it was passed on from an alias.
PASSED_ON: Final = "upwell.user"

_OURS: Final = "upwell."
_ORIGIN: Final = re.compile(rb"(\d{1,9}):(\d{1,18})")
_SAID: Final = 200


class Merge(msgspec.Struct, tag_field="type", tag="merge"):
    """All that was known of an anonymous id, sent to the person; the history is newest first."""

    user_id: str
    anonymous_id: str
    timestamp: float
    events: int = 0
    interests: dict[str, float] = {}
    interests_at: float = 0.0
    history: list[Entry] = []


class Link(NamedTuple):
    """What a message of a worker is: its kind, by the header, and the other id, the person's or the alias's."""

    kind: str
    other: str
    merge: Merge | None = None


_merge: Final = msgspec.json.Decoder(Merge)


def origin_of(headers: Sequence[tuple[str, bytes]], kind: str = REKEYED) -> tuple[int, int] | None:
    """Give where a message came from by the header of this kind; a header that no worker wrote is not believed."""
    for name, value in headers:
        if name == kind and (match := _ORIGIN.fullmatch(value)):
            return int(match[1]), int(match[2])
    return None


def decode_linked(
    value: bytes | None, headers: Sequence[tuple[str, bytes]], *, received: float, skew: float
) -> tuple[Event, tuple[int, int], Link] | None:
    """Decode a message by which workers join ids: the event under the id that it counts for, its origin, and what it is.

    None where the headers do not say that it is one. Raises BadEvent.
    """
    ours = [one for one in headers if one[0].startswith(_OURS)]
    kind = next((kind for kind in (MERGE, COPY, UNLINK, REKEYED) if origin_of(ours, kind)), None)
    origin, user = origin_of(ours, kind) if kind else None, _user(ours)
    if kind == MERGE and origin:
        return _merged(value, origin, received, skew)
    if not kind or not origin or not user:
        return None
    event = decode_event(value, received=received, skew=skew)
    if kind == REKEYED:
        return msgspec.structs.replace(event, user_id=user), origin, Link(PASSED_ON, event.user_id)
    if kind == UNLINK and event.type == FORGET:
        return event, origin, Link(UNLINK, user)
    if kind == COPY and event.anonymous_id:
        return msgspec.structs.replace(event, user_id=event.anonymous_id), origin, Link(COPY, user)
    return None


def _merged(value: bytes | None, origin: tuple[int, int], received: float, skew: float) -> tuple[Event, tuple[int, int], Link]:
    try:
        merge = _merge.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = str(error)[:_SAID]  # it may quote the message, and must fit into a header
        raise BadEvent("identify", "bad_merge", f"A merge must be as a worker writes it, but {found}; send none.") from None
    if not _as_written(merge):
        said = "A merge must be as a worker writes it, but an id, a type, a time or a number of it is none; send none."
        raise BadEvent("identify", "bad_merge", said)
    time = min(merge.timestamp, received + skew) if received > 0 else merge.timestamp
    return Event("merge", merge.user_id, "", merge.timestamp, time), origin, Link(MERGE, merge.anonymous_id, merge)


def _as_written(merge: Merge) -> bool:
    """Tell whether a worker may have written it: all of it is as of events, for it is taught without another look."""
    ids = merge.user_id, merge.anonymous_id, *(entry.item_id for entry in merge.history)
    times = merge.timestamp, *(entry.at for entry in merge.history)
    return (
        len(merge.history) <= HISTORY
        and all(0 < len(one.encode()) <= ID_BYTES for one in ids)
        and all(0 < len(entry.type.encode()) <= TYPE_BYTES for entry in merge.history)
        and all(0 < time < END_OF_TIME for time in times)
        and 0 <= merge.interests_at < END_OF_TIME
        and 0 <= merge.events <= LARGEST_NUMBER
        and all(weight >= 0 for weight in merge.interests.values())
    )


def _user(headers: Sequence[tuple[str, bytes]]) -> str | None:
    found = next((value for name, value in headers if name == PASSED_ON), b"")
    try:
        return found.decode() if 0 < len(found) <= ID_BYTES else None
    except UnicodeDecodeError:
        return None


def check_ids(event: Event, settings: Settings) -> None:
    """Refuse an `identify` of an id with itself, or of ids that by the settings cannot be a person and a device."""
    user, anonymous, pattern = event.user_id, event.anonymous_id or "", settings.identity.anonymous
    if anonymous == user:
        needs = "`anonymous_id` must be another id than `user_id`"
    elif pattern and not re.fullmatch(pattern, anonymous):
        needs = "`anonymous_id` must match the setting identity.anonymous"
    elif pattern and re.fullmatch(pattern, user):
        said = f"`user_id` must not match the setting identity.anonymous, found {quoted(user)}; send the person's id."
        raise BadEvent("validate", "anonymous_user_id", said)
    else:
        return
    raise BadEvent("validate", "bad_anonymous_id", f"{needs}, found {quoted(anonymous)}; send the id of the device or browser.")


def check_pseudonymous(event: Event) -> None:
    """Refuse an `identify` where ids are pseudonyms: of a person only the pseudonym is known, which tells no partition."""
    if event.type == IDENTIFY:
        said = "Ids are not joined where they are stored as pseudonyms; send the person's id with each event instead."
        raise BadEvent("validate", "bad_anonymous_id", said)
