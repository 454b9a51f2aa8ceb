"""The first look at a micro-batch: events, those that sit on the wrong partition, and those that are no events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace

from streams.failures import Poison
from streams.links import PASSED_ON, PSEUDONYMS, REKEYED, Hidden, Link, check_ids, decode_linked, origin_of
from streams.partition import partitions_for
from streams.schemas import IDENTIFY, BadEvent, Event, decode_event
from streams.settings import Settings

__all__ = [
    "LARGEST_REKEYED",
    "REKEYED",
    "Batch",
    "DeadLetter",
    "Decoded",
    "Homes",
    "Message",
    "Placed",
    "Rekeyed",
    "decode_batch",
]

# With its key and header a re-published event must stay below the megabyte that brokers take by default.
LARGEST_REKEYED = 1_000_000


class Message(Protocol):
    """What the pipeline needs of a consumed Kafka record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Homes(Protocol):
    """Whoever knows which partition a user's events are read from."""

    def home(self, user_id: str) -> int | None:
        """Give a user's partition, None where it is not known."""
        ...


@dataclass(slots=True)
class Batch:
    """The messages of one micro-batch; each partition's, in order, were read from ``begins`` on."""

    messages: Mapping[int, Sequence[Message]]
    begins: Mapping[int, int]

    def ends(self) -> dict[int, int]:
        """Give the offset after each partition's last message."""
        return {partition: messages[-1].offset + 1 for partition, messages in self.messages.items()}


@dataclass(slots=True)
class Placed:
    """An event with its place in the events topic and, if it was re-keyed, the place it came from.

    ``sender`` is the user's id as it came in, where the event has a pseudonym for it; empty where it came to a pseudonym.
    ``link`` says what it is where a worker sent it to join ids; ``message`` is the record as it came.
    """

    event: Event
    offset: int
    received: float
    origin: tuple[int, int] | None
    link: Link | None = None
    message: Message | None = None
    sender: str | None = None

    @property
    def user_id(self) -> str:
        """The id under which the user is answered; empty where nobody can tell it."""
        return self.event.user_id if self.sender is None else self.sender


@dataclass(slots=True)
class DeadLetter:
    """A message that is no event, with its bytes and headers untouched and the reason."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    reason: Poison
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class Rekeyed:
    """An event to be re-published under its user's key (rule 8), or what else a worker sends to the owner of a user.

    ``kind`` is the header that tells the origin, ``user`` the person for whom it counts, ``mark`` whose pseudonyms it names.
    """

    key: bytes
    value: bytes
    partition: int
    timestamp: int | None
    origin: tuple[int, int]
    headers: Sequence[tuple[str, bytes]] = ()
    kind: str = REKEYED
    user: str = ""
    mark: bytes = b""

    def own(self) -> list[tuple[str, bytes]]:
        """Give the headers that are ours."""
        said = [(PASSED_ON, self.user.encode()), (PSEUDONYMS, self.mark)]
        return [(self.kind, b"%d:%d" % self.origin), *(one for one in said if one[1])]


@dataclass(slots=True)
class Decoded:
    """A micro-batch after the first look; ``names`` are the ids by which its users are answered, so far as it tells them."""

    events: dict[int, list[Placed]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    rekeyed: list[Rekeyed] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    partitions: int = 1

    def homes(self) -> dict[str, int]:
        """Map each user to the partition that its events are read from, in order of appearance."""
        return {placed.event.user_id: partition for partition, events in self.events.items() for placed in events}


def decode_batch(batch: Batch, settings: Settings, partitions: int, homes: Homes) -> Decoded:
    """Decode every message; ``homes`` knows the partition of some users, which saves hashing their ids."""
    decoded, pseudonyms = Decoded(partitions=partitions), settings.pseudonymize
    hidden = Hidden(pseudonyms, partitions) if pseudonyms else None
    for partition, messages in batch.messages.items():
        events = [placed for message in messages if (placed := _decode(decoded, partition, message, settings, hidden))]
        names = {placed.event.user_id: placed.user_id for placed, _ in events if placed.user_id}
        nameless = [placed.event.user_id for placed, _ in events if not placed.user_id] if hidden else []
        found = _found([*names, *nameless], names, partitions, homes)
        if hidden:
            decoded.names |= names
        # Where a user is at home of whom only the pseudonym is known, the worker that sent it here knew.
        decoded.events[partition] = [
            placed
            for placed, message in events
            if _at_home(decoded, partition, placed, message, found.get(placed.event.user_id, partition))
        ]
    return decoded


def _found(users: Collection[str], names: Mapping[str, str], partitions: int, homes: Homes) -> dict[str, int]:
    """Give users' partitions, which are found by the ids that came in, for that is what their keys are made of."""
    found = {user_id: home for user_id in users if (home := homes.home(user_id)) is not None}
    unknown = [user_id for user_id in users if user_id not in found and user_id in names]
    hashed = partitions_for([names[user_id].encode() for user_id in unknown], partitions)
    return found | dict(zip(unknown, hashed.tolist(), strict=True))


def _decode(
    decoded: Decoded, partition: int, message: Message, settings: Settings, hidden: Hidden | None
) -> tuple[Placed, Message] | None:
    try:
        return _read(message, settings, hidden), message
    except BadEvent as reason:
        decoded.dead.append(DeadLetter(message.key, message.value, partition, message.offset, reason, message.headers))
        return None


def _read(message: Message, settings: Settings, hidden: Hidden | None) -> Placed:
    received, skew, headers = message.timestamp / 1000, settings.intake.future_skew_s, message.headers
    linked = decode_linked(message.value, headers, received=received, skew=skew, hidden=hidden) if headers else None
    if linked:
        event, origin, link, sender = linked
        return Placed(event, message.offset, received, origin, link, message, sender)
    event, sender = decode_event(message.value, received=received, skew=skew), None
    if event.type == IDENTIFY:
        check_ids(event, settings)
    if hidden:
        event, sender = replace(event, user_id=hidden.pseudonyms.of(event.user_id)), event.user_id
    return Placed(event, message.offset, received, origin_of(headers or ()), None, message, sender)


def _at_home(decoded: Decoded, partition: int, placed: Placed, message: Message, home: int) -> bool:
    """Rule 8: keep an event on its user's partition; send any other there, once, with a header that says so."""
    if home == partition:
        return True
    if placed.origin or len(message.value or b"") > LARGEST_REKEYED:
        reason = _misplaced(placed, partition, home)
        decoded.dead.append(DeadLetter(message.key, message.value, partition, message.offset, reason, message.headers))
    else:
        key = placed.user_id.encode()
        origin = partition, message.offset
        decoded.rekeyed.append(Rekeyed(key, message.value or b"", home, message.timestamp, origin, message.headers or ()))
    return False


def _misplaced(placed: Placed, partition: int, home: int) -> BadEvent:
    if placed.origin:
        return BadEvent("place", "misplaced", f"A re-keyed event arrived on partition {partition}, its user belongs to {home}.")
    sentence = f"The event sits on partition {partition}, its user belongs to {home}, and it is too large to be sent there."
    return BadEvent("place", "too_large_to_rekey", sentence)
