"""What workers send one another on `events` so that the ids of one person become one: the headers, and what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from state.profiles import HISTORY, Entry
from streams.fields import END_OF_TIME, ID_BYTES, LARGEST_NUMBER, TYPE_BYTES, quoted
from streams.schemas import FORGET, BadEvent, Event, decode_event

if TYPE_CHECKING:
    from streams.pseudonyms import Pseudonyms
    from streams.settings import Settings

__all__ = [
    "COPY",
    "MERGE",
    "PASSED_ON",
    "PSEUDONYMS",
    "REKEYED",
    "UNLINK",
    "Hidden",
    "Link",
    "Linked",
    "Merge",
    "NamedMerge",
    "check_ids",
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
# Header that says whose pseudonyms the ids in a message of a worker are: of which key, and of how many partitions.
PSEUDONYMS: Final = "upwell.pseudonyms"

_OURS: Final = "upwell."
_ORIGIN: Final = re.compile(rb"(\d{1,9}):(\d{1,18})")
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
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


class NamedMerge(Merge, tag_field="type", tag="merge"):
    """The same of pseudonyms, with the ids under which the two are answered; nobody knows that of a person it does not name."""

    person: str = ""
    device: str = ""


class Link(NamedTuple):
    """What a message of a worker is: its kind, by the header, and the other id, the person's or the alias's.

    ``name`` is that id as it came in, where ids are pseudonyms and the message tells it.
    """

    kind: str
    other: str
    merge: Merge | None = None
    name: str = ""


class Linked(NamedTuple):
    """A message of a worker: the event for the user that it counts for, its origin, what it is, and the user's id as it came in.

    ``sender`` is None where ids are no pseudonyms, and empty where of the user only the pseudonym is known.
    """

    event: Event
    origin: tuple[int, int]
    link: Link
    sender: str | None = None


class Hidden(NamedTuple):
    """Pseudonyms as workers send them one another: only those of one key, and of one count of partitions, mean the same."""

    pseudonyms: Pseudonyms
    partitions: int

    @property
    def mark(self) -> bytes:
        """What the header says."""
        return b"%b:%d" % (self.pseudonyms.fingerprint.encode(), self.partitions)


_merge: Final = msgspec.json.Decoder(Merge)
_named_merge: Final = msgspec.json.Decoder(NamedMerge)


def origin_of(headers: Sequence[tuple[str, bytes]], kind: str = REKEYED) -> tuple[int, int] | None:
    """Give where a message came from by the header of this kind; a header that no worker wrote is not believed."""
    for name, value in headers:
        if name == kind and (match := _ORIGIN.fullmatch(value)):
            return int(match[1]), int(match[2])
    return None


def decode_linked(
    value: bytes | None, headers: Sequence[tuple[str, bytes]], *, received: float, skew: float, hidden: Hidden | None = None
) -> Linked | None:
    """Decode a message that a worker sent to join ids; with ``hidden`` the ids in what workers say are pseudonyms.

    None where the headers do not say that it is one. Raises BadEvent.
    """
    ours = [one for one in headers if one[0].startswith(_OURS)]
    kind = next((kind for kind in (MERGE, COPY, UNLINK, REKEYED) if origin_of(ours, kind)), None)
    origin, user = origin_of(ours, kind) if kind else None, _user(ours)
    if not kind or not origin or not (user or kind == MERGE) or not _of_one_key(kind, ours, hidden):
        return None
    if hidden and not (origin[0] < hidden.partitions and (kind == MERGE or _PSEUDONYM.fullmatch(user or ""))):
        return None
    if kind == MERGE:
        return _merged(value, origin, received, skew, hidden)
    event = decode_event(value, received=received, skew=skew)
    return _linked(kind, event, origin, user or "", hidden.pseudonyms if hidden else None)


def _of_one_key(kind: str, ours: Sequence[tuple[str, bytes]], hidden: Hidden | None) -> bool:
    """Tell whether a message is to be believed; raise BadEvent on one whose ids mean nobody here, or somebody else."""
    marks = [value for name, value in ours if name == PSEUDONYMS]
    if marks == ([hidden.mark] if hidden else []):
        return True
    if kind == UNLINK and not marks:
        return False  # from before there was a key: to its own id it says what any `forget` does
    said = "A message between workers is of another key of pseudonyms, or of another count of partitions, and means nobody here."
    raise BadEvent("place", "misplaced", said)


def _linked(kind: str, event: Event, origin: tuple[int, int], user: str, pseudonyms: Pseudonyms | None) -> Linked | None:
    known = pseudonyms.of if pseudonyms else str
    nobody, name = ("", event.user_id) if pseudonyms else (None, "")
    if kind == REKEYED:
        link = Link(PASSED_ON, known(event.user_id), None, name)
        return Linked(msgspec.structs.replace(event, user_id=user), origin, link, nobody)
    if kind == UNLINK and event.type == FORGET and (not pseudonyms or _PSEUDONYM.fullmatch(event.user_id)):
        return Linked(event, origin, Link(UNLINK, user), nobody)
    if kind == COPY and event.anonymous_id:
        # One that an alias sent names the alias, not the person.
        link = Link(COPY, user, None, name if known(event.user_id) == user else "")
        alias = msgspec.structs.replace(event, user_id=known(event.anonymous_id))
        return Linked(alias, origin, link, event.anonymous_id if pseudonyms else None)
    return None


def _merged(value: bytes | None, origin: tuple[int, int], received: float, skew: float, hidden: Hidden | None) -> Linked:
    try:
        merge = (_named_merge if hidden else _merge).decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = str(error)[:_SAID]  # it may quote the message, and must fit into a header
        raise BadEvent("identify", "bad_merge", f"A merge must be as a worker writes it, but {found}; send none.") from None
    if not _as_written(merge) or (hidden and not _of_pseudonyms(merge, hidden.pseudonyms)):
        said = "A merge must be as a worker writes it, but an id, a type, a time or a number of it is none; send none."
        raise BadEvent("identify", "bad_merge", said)
    time = min(merge.timestamp, received + skew) if received > 0 else merge.timestamp
    event = Event("merge", merge.user_id, "", merge.timestamp, time)
    person, device = (merge.person, merge.device) if isinstance(merge, NamedMerge) else (None, "")
    return Linked(event, origin, Link(MERGE, merge.anonymous_id, merge, device), person)


def _of_pseudonyms(merge: Merge, pseudonyms: Pseudonyms) -> bool:
    """Tell whether a merge names pseudonyms, and ids whose pseudonyms they are; where it names none, of the person."""
    return (
        isinstance(merge, NamedMerge)
        and bool(_PSEUDONYM.fullmatch(merge.user_id))
        and pseudonyms.of(merge.device) == merge.anonymous_id
        and (not merge.person or pseudonyms.of(merge.person) == merge.user_id)
    )


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
