"""Identity: an anonymous id becomes another name of a person, exactly once, whatever partitions the two belong to.

An `identify` is sent on to the owner of the anonymous id; that owner sends what it knows of it to the owner of the person, and
from then on every event of the id. ARCHITECTURE.md says why each arrives once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from state.profiles import ALIASES, HISTORY, Entry, Profile
from streams.decode import LARGEST_REKEYED, DeadLetter, Placed, Rekeyed
from streams.items import ItemNumbers
from streams.knobs.models import Weights
from streams.links import COPY, MERGE, REKEYED, UNLINK, Hidden, Merge, NamedMerge
from streams.models.lesson import MERGED_AWAY
from streams.partition import partition_for
from streams.profiles import Profiles
from streams.schemas import FORGET, IDENTIFY, BadEvent

if TYPE_CHECKING:
    from streams.observed import Observed, Teaching
    from streams.pseudonyms import Pseudonyms

__all__ = ["Identity", "folded_in"]

Untaught = Callable[["Teaching", int, tuple[int, int] | None], bool]


def folded_in(profile: Profile, partition: int, placed: Placed) -> bool:
    """The fence: an event not above the offset that its user's hash carries is in the profile already.

    What came from an alias has the alias's own fence: it may come from the very partition that it goes to.
    """
    if profile.seen(partition, placed.offset):
        return True
    if placed.origin is None:
        return False
    return profile.heard(placed.link.other, placed.origin[1]) if placed.link else profile.seen(*placed.origin)


class Identity:
    """The part of observing that joins ids; all that it sends leaves before the profile that says so is written (rule 5).

    So an event that its profile covers has nothing to send any more.
    """

    def __init__(
        self,
        profiles: Profiles,
        items: ItemNumbers,
        weights: Weights,
        *,
        refuses: Callable[[Profile], bool],
        untaught: Untaught,
        pseudonyms: Pseudonyms | None,
    ) -> None:
        self._profiles, self._items, self._weights, self._pseudonyms = profiles, items, weights, pseudonyms
        self._refuses, self._untaught = refuses, untaught

    def take(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> bool:
        """Take a message about who is whose alias, or any event of an alias; tell whether that was all of it."""
        kind = placed.link.kind if placed.link else ""
        if kind == COPY:
            self._merge_away(observed, teaching, profile, partition, placed)
        elif kind == UNLINK:
            self._unlink(observed, teaching, profile, partition, placed)
        elif profile.alias:
            self._pass_on(observed, profile, partition, placed)
        elif kind == MERGE:
            self._merge(observed, teaching, profile, partition, placed)
        else:
            return False
        profile.at[partition] = max(placed.offset, profile.at.get(partition, -1))
        return True

    def finish(self, observed: Observed, profile: Profile, partition: int, placed: Placed, *, folded: bool) -> None:
        """After an event counted for a person: introduce the person to a device, and remember what came from one."""
        event, link = placed.event, placed.link
        if event.type == IDENTIFY and event.anonymous_id and not folded:
            profile.person = True
            observed.wishes[profile.user_id] = partition, profile
            self._send(observed, partition, placed, COPY, event.anonymous_id, event.user_id)
        if link and event.type != FORGET:
            self._hear(observed, profile, partition, placed)
            if event.item_id:
                observed.devices.setdefault(profile.user_id, set()).add(link.name or link.other)
            elif not folded:
                observed.wishes[profile.user_id] = partition, profile

    def part(self, observed: Observed, profile: Profile, partition: int, placed: Placed) -> None:
        """Let the aliases of a person who is to be forgotten go, each at its own owner."""
        for alias in profile.aliases:
            self._let_go(observed, alias, profile, partition, placed)
        profile.part()
        observed.devices.pop(profile.user_id, None)

    def _merge_away(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        """Make an id the alias of a person, unless it is a person or another's; send all that it is to the person's owner."""
        person = placed.link.other if placed.link else ""
        if profile.seen(partition, placed.offset):
            if profile.alias_from == placed.offset and placed.offset >= teaching.start:
                teaching.forget(profile.user_id, MERGED_AWAY)
            return
        if profile.person or profile.user_id == person:
            _refuse(observed, partition, placed, "identify_person", f"{placed.user_id!r} is a person; nothing is merged.")
        elif profile.alias and profile.alias != person:
            sentence = f"{placed.user_id!r} belongs to another person since before; give a device a new id when a person leaves."
            _refuse(observed, partition, placed, "already_identified", sentence)
        elif not profile.alias:
            self._become(observed, teaching, profile, partition, placed, person)
        if profile.alias or profile.stands:
            observed.wishes[profile.user_id] = partition, profile

    def _become(
        self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed, person: str
    ) -> None:
        name, home = (placed.link.name if placed.link else ""), placed.origin[0] if placed.origin else -1
        merge = Merge(person, profile.user_id, placed.event.timestamp)
        if self._pseudonyms:
            merge = NamedMerge(person, profile.user_id, placed.event.timestamp, person=name, device=placed.user_id)
        if not self._refuses(profile):
            self._profiles.push(observed.take_pushes())
            merge.events, merge.history = profile.events, self._profiles.entries(profile.slot)
            merge.interests, merge.interests_at = profile.interests, profile.interests_at
        self._send(observed, partition, placed, MERGE, name or person, home=home, value=msgspec.json.encode(merge))
        profile.forget()
        profile.alias, profile.alias_from = person, placed.offset
        if self._pseudonyms:
            profile.alias_home = home
        self._leave(observed, profile)
        observed.merged[profile.user_id] = placed.user_id
        if placed.offset >= teaching.start:
            teaching.forget(profile.user_id, MERGED_AWAY)

    def _unlink(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        """Let an alias go, unless it became another's, or somebody anew, meanwhile."""
        mine = profile.alias == (placed.link.other if placed.link else "")
        if placed.offset >= teaching.start and (mine or not (profile.alias or profile.events)):
            teaching.forget(profile.user_id, placed.offset)
        if mine and not profile.seen(partition, placed.offset):
            profile.forget()
            profile.part()
            self._leave(observed, profile)
            observed.anew.add(profile.user_id)
            observed.forgotten[profile.user_id] = placed.user_id
            observed.wishes[profile.user_id] = partition, profile

    def _leave(self, observed: Observed, profile: Profile) -> None:
        """Drop what the batch has of an id so far."""
        self._profiles.clear(profile.slot)
        observed.clear(profile.slot)
        observed.triggers.pop(profile.user_id, None)
        observed.blank.pop(profile.user_id, None)

    def _pass_on(self, observed: Observed, profile: Profile, partition: int, placed: Placed) -> None:
        """Send an event of an alias to the person, once; what was sent here by another alias goes no further."""
        if not folded_in(profile, partition, placed):
            if placed.link:
                who, whom = placed.link.name or placed.link.other, repr(placed.user_id) if placed.user_id else "an id"
                sentence = f"An event of {who!r} was passed on to {whom}, which is an alias itself."
                _refuse(observed, partition, placed, "misplaced", sentence, "place")
            else:
                self._send(observed, partition, placed, REKEYED, profile.alias, profile.alias, home=profile.alias_home)
            observed.wishes[profile.user_id] = partition, profile
        if placed.origin and not placed.link:
            origin, offset = placed.origin
            profile.at[origin] = max(offset, profile.at.get(origin, -1))

    def _merge(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        """Fold what was known of an alias into the person: visits by their time, interests and the count of events."""
        merge = placed.link.merge if placed.link else None
        if placed.link is None or merge is None:
            return
        folded, seen = folded_in(profile, partition, placed), profile.seen(partition, placed.offset)
        kept = not self._refuses(profile) and not (seen and placed.offset < profile.consent_from)
        if placed.offset >= teaching.start and self._untaught(teaching, partition, placed.origin) and kept:
            self._teach(teaching, profile, merge, placed.received)
        if not folded:
            self._hear(observed, profile, partition, placed)
            if kept:
                self._fold(observed, profile, merge, placed.received)
            observed.wishes[profile.user_id] = partition, profile
        if kept:
            observed.triggers[profile.user_id] = partition, placed
            observed.devices.setdefault(profile.user_id, set()).add(placed.link.name or merge.anonymous_id)

    def _teach(self, teaching: Teaching, profile: Profile, merge: Merge, received: float) -> None:
        for entry in reversed(merge.history):
            weight = self._weights.of(entry.type, None)
            if weight > 0:
                number, time = self._items.number(entry.item_id), self._profiles.latest(entry.at, received)
                teaching.visit(profile.user_id, number, weight, entry.type, time)

    def _fold(self, observed: Observed, profile: Profile, merge: Merge, received: float) -> None:
        self._profiles.push(observed.take_pushes())
        history = _by_time(self._profiles.entries(profile.slot), merge.history)
        self._profiles.fill(profile, history[:HISTORY], received)
        profile.events += merge.events
        if merge.interests:
            profile.join(merge.interests, merge.interests_at)

    def _hear(self, observed: Observed, profile: Profile, partition: int, placed: Placed) -> None:
        """Move an alias to the end of those of its person; the one at the beginning goes where there are too many."""
        if placed.link and placed.origin:
            profile.hear(placed.link.other, placed.origin[1])
            if self._pseudonyms:
                profile.homes[placed.link.other] = placed.origin[0]
        if len(profile.aliases) > ALIASES:
            oldest = next(iter(profile.aliases))
            self._let_go(observed, oldest, profile, partition, placed)
            del profile.aliases[oldest]
            profile.homes.pop(oldest, None)

    def _let_go(self, observed: Observed, alias: str, profile: Profile, partition: int, placed: Placed) -> None:
        value, home = msgspec.json.encode({"type": FORGET, "user_id": alias}), profile.homes.get(alias, -1)
        self._send(observed, partition, placed, UNLINK, alias, profile.user_id, home=home, value=value)

    def _send(
        self,
        observed: Observed,
        partition: int,
        placed: Placed,
        kind: str,
        to: str,
        user: str = "",
        *,
        home: int | None = None,
        value: bytes | None = None,
    ) -> None:
        """Have a message sent to the owner of an id, by default the bytes at hand with their headers.

        Of a pseudonym nobody can tell where it is at ``home``; that was kept beside it.
        """
        message = placed.message
        headers = message.headers if message and value is None else ()
        value = (message.value if message else None) if value is None else value
        whom = "another of its person's ids" if self._pseudonyms else repr(to)  # or the letter would tell whose it is
        if len(value or b"") > LARGEST_REKEYED:
            _refuse(observed, partition, placed, "too_large_to_rekey", f"The event is too large to be sent to {whom}.", "place")
            return
        mark, stamp = b"", message.timestamp if message else None
        if self._pseudonyms:
            mark = Hidden(self._pseudonyms, observed.partitions).mark
        if home is None or not self._pseudonyms:
            home = partition_for(to.encode(), observed.partitions)
        elif not 0 <= home < observed.partitions:
            _refuse(observed, partition, placed, "misplaced", f"The owner of {whom} is not known: a profile is damaged.", "place")
            return
        origin = partition, placed.offset
        observed.linked.append(Rekeyed(to.encode(), value or b"", home, stamp, origin, headers or (), kind, user, mark))


def _by_time(own: list[Entry], other: list[Entry]) -> list[Entry]:
    """Merge two histories, newest first; each keeps its order, and of equals the person's own is the newer."""
    merged, rest = [], list(reversed(other))
    for entry in own:
        while rest and rest[-1].at > entry.at:
            merged.append(rest.pop())
        merged.append(entry)
    return merged + rest[::-1]


def _refuse(observed: Observed, partition: int, placed: Placed, error: str, sentence: str, stage: str = "identify") -> None:
    message = placed.message
    if message is not None:
        reason = BadEvent(stage, error, sentence)
        letter = DeadLetter(message.key, message.value, partition, placed.offset, reason, message.headers or ())
        observed.dead.append(letter)
