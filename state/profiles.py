"""What is known of a user: the part that every event changes, and the hash in Redis it is read from and written to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ALIASES",
    "ANEW",
    "FIELDS",
    "GONE",
    "HISTORY",
    "INTERESTS",
    "MODES",
    "ONLY_STANDING",
    "STANDING",
    "WHOLE",
    "DamagedProfile",
    "Entry",
    "Profile",
    "Stored",
    "Write",
]

HISTORY: Final = 100
# A person's devices and browsers that are remembered; each event of the person writes all of them.
ALIASES: Final = 100
INTERESTS: Final = 20
INTEREST_HALF_LIFE: Final = 30 * 86_400.0
# Interests decay in steps of a day: an event costs one addition, and rounding cannot swallow the decay of seconds.
INTEREST_STEP: Final = 86_400.0
# Memory and Redis hold the same rounded weight: a worker that reloads a profile goes on as the one that kept it.
INTEREST_DIGITS: Final = 4

# What write_users.lua takes for a user, in order; `others` are the offsets of further partitions, written "3=17 5=99", and
# `mode` is one of MODES.
FIELDS: Final = (
    *("at", "events", "updated_at", "segment", "history"),
    *("interests", "interests_at", "neighbors", "recommendations", "others"),
    *("consent", "consent_from", "person", "aliases", "alias", "alias_from", "alias_home", "mode"),
)
# How much is written: all; all, in place of what is there; the standing alone (consent, and who is whose alias); the standing
# alone, in place of what is there; nothing, in place of what is there.
WHOLE, ANEW, STANDING, ONLY_STANDING, GONE = MODES = ("", "anew", "standing", "only", "gone")


class Entry(msgspec.Struct, gc=False):
    """One applied event in a history; ``at`` is the event's time in seconds."""

    item_id: str
    type: str
    at: float


class DamagedProfile(ValueError):
    """A user hash that Upwell did not write."""


_history: Final = msgspec.json.Decoder(list[Entry])
_interests: Final = msgspec.json.Decoder(dict[str, float])
_aliases: Final = msgspec.json.Decoder(dict[str, int | tuple[int, int]])
_encode: Final = msgspec.json.Encoder().encode
_CONSENTS: Final = {None: b"", True: b"true", False: b"false"}
_CONSENT_OF: Final = {text: consent for consent, text in _CONSENTS.items()}


class Write(NamedTuple):
    """A profile as it was when it was taken to be written, fenced by the offset ``at`` of one partition.

    ``gone`` says that nothing is left of it: what is stored is deleted.
    """

    user_id: str
    at: int
    values: tuple[int | str | bytes, ...]
    gone: bool = False


@dataclass(slots=True)
class Profile:
    """One user's state; ``at`` maps a partition to the offset of the last event folded in.

    The weights of ``interests`` are as of ``interests_at``. ``consent`` is what the user last said, None for nothing; where the
    user had refused before, ``consent_from`` is the offset of the event that consented, and -1 otherwise.

    A ``person`` was named by an `identify`: its ``aliases`` map each id that was merged into it to the offset, in that id's own
    partition, of the last that came from there, least recently active first. An id that was merged into a person is an ``alias``
    of it since the event at ``alias_from``, and has nothing of its own any more.

    Where ids are pseudonyms, of which no partition can be told, ``homes`` are those of the aliases, and ``alias_home`` is that of
    the person.
    """

    user_id: str
    partition: int = -1
    at: dict[int, int] = field(default_factory=dict)
    events: int = 0
    updated_at: float = 0.0
    segment: int | None = None
    interests: dict[str, float] = field(default_factory=dict)
    interests_at: float = 0.0
    slot: int = -1
    index: int = -1
    consent: bool | None = None
    consent_from: int = -1
    person: bool = False
    aliases: dict[str, int] = field(default_factory=dict)
    homes: dict[str, int] = field(default_factory=dict)
    alias: str = ""
    alias_from: int = -1
    alias_home: int = -1

    @property
    def stands(self) -> bool:
        """Whether there is anything to keep of a user of whom no event is kept."""
        return self.consent is not None or self.person or bool(self.alias)

    def forget(self) -> None:
        """Begin anew; only the fences stay, and who is whose alias."""
        self.events, self.updated_at, self.segment = 0, 0.0, None
        self.interests, self.interests_at = {}, 0.0
        self.index = self.consent_from = -1
        self.consent = None

    def part(self) -> None:
        """Be nobody's alias, and nobody's person."""
        self.person, self.aliases, self.homes = False, {}, {}
        self.alias, self.alias_from, self.alias_home = "", -1, -1

    def hear(self, alias: str, offset: int) -> None:
        """Note what came from an alias last; the alias is the one that was active last."""
        self.person = True
        self.aliases[alias] = max(offset, self.aliases.pop(alias, -1))

    def heard(self, alias: str, offset: int) -> bool:
        """Tell whether what came from this offset of an alias' partition is folded in already."""
        return self.aliases.get(alias, -1) >= offset

    def seen(self, partition: int, offset: int) -> bool:
        """Tell whether the event at this offset is folded in already."""
        return self.at.get(partition, -1) >= offset

    def interest(self, names: Iterable[str], weight: float, at: float) -> None:
        """Add a weight (above 0) to each name as of the event's time, and keep the strongest, of equals the newest."""
        if not self.interests or at - self.interests_at > INTEREST_STEP:
            self._decay(at)
        gain = weight * 2.0 ** ((at - self.interests_at) / INTEREST_HALF_LIFE)
        if round(gain, INTEREST_DIGITS) <= 0.0:
            return
        weights = self.interests
        for name in names:
            weights[name] = round(weights.pop(name, 0.0) + gain, INTEREST_DIGITS)
        while len(weights) > INTERESTS:
            del weights[min(weights, key=weights.__getitem__)]

    def join(self, interests: Mapping[str, float], at: float) -> None:
        """Add the interests of another, weights as of a time, to the user's own, and keep the strongest."""
        self._decay(max(at, self.interests_at))
        factor = 2.0 ** ((at - self.interests_at) / INTEREST_HALF_LIFE)
        sums = dict(self.interests)
        for name, weight in interests.items():
            sums[name] = round(sums.get(name, 0.0) + weight * factor, INTEREST_DIGITS)
        strongest = sorted(sums, key=sums.__getitem__, reverse=True)[:INTERESTS]
        self.interests = {name: weight for name, weight in sums.items() if weight > 0.0 and name in strongest}

    def _decay(self, at: float) -> None:
        factor = 2.0 ** ((self.interests_at - at) / INTEREST_HALF_LIFE)
        aged = ((name, round(weight * factor, INTEREST_DIGITS)) for name, weight in self.interests.items())
        self.interests = {name: weight for name, weight in aged if weight > 0.0}
        self.interests_at = at

    def write(self, partition: int, history: bytes, neighbors: bytes, recommendations: bytes, mode: str = WHOLE) -> Write:
        """Take the profile as it is now, with these JSON texts, to be written under the fence of this partition."""
        values = (
            self.at[partition],
            self.events,
            repr(self.updated_at),
            "" if self.segment is None else self.segment,
            history,
            _encode(self.interests),
            repr(self.interests_at),
            neighbors,
            recommendations,
            *self._tail(partition, mode),
        )
        return Write(self.user_id, self.at[partition], values)

    def write_standing(self, partition: int, mode: str) -> Write:
        """Take the standing alone, or that there is nothing to keep, to be written under the fence of this partition."""
        values = (self.at[partition], *([b""] * 8), *self._tail(partition, mode))
        return Write(self.user_id, self.at[partition], values, gone=mode == GONE)

    def _tail(self, partition: int, mode: str) -> tuple[str | bytes, ...]:
        others = b" ".join([b"%d=%d" % pair for pair in self.at.items() if pair[0] != partition])
        consent_from = b"" if self.consent_from < 0 else b"%d" % self.consent_from
        if not self.person and not self.alias:
            return others, _CONSENTS[self.consent], consent_from, b"", b"", b"", b"", b"", mode
        aliases = _encode(self._remembered()) if self.aliases else b""
        alias_from = b"" if self.alias_from < 0 else b"%d" % self.alias_from
        alias_home = b"" if self.alias_home < 0 else b"%d" % self.alias_home
        person = b"1" if self.person else b""
        return others, _CONSENTS[self.consent], consent_from, person, aliases, self.alias, alias_from, alias_home, mode

    def _remembered(self) -> Mapping[str, int | tuple[int, int]]:
        homes = self.homes
        return {name: (at, homes[name]) if name in homes else at for name, at in self.aliases.items()} if homes else self.aliases


class Stored(NamedTuple):
    """A stored profile with what a worker need not hold: the history, newest first, and two JSON texts, which may be empty."""

    profile: Profile
    history: list[Entry]
    neighbors: bytes
    recommendations: bytes

    @classmethod
    def from_hash(cls, user_id: str, stored: Mapping[bytes, bytes]) -> Stored:
        """Read what a user hash holds."""
        try:
            profile = _profile(user_id, stored)
            history = _history.decode(stored.get(b"history", b"[]"))
        except (ValueError, KeyError, RecursionError) as error:
            fix = "restore it, or delete the key to start afresh"
            raise DamagedProfile(f"the hash of user {user_id!r} in Redis is damaged ({error}); {fix}") from error
        return cls(profile, history, stored.get(b"neighbors", b"[]"), stored.get(b"recommendations", b""))


def _profile(user_id: str, stored: Mapping[bytes, bytes]) -> Profile:
    at = {int(name[3:]): int(offset) for name, offset in stored.items() if name.startswith(b"at:")}
    segment = stored.get(b"segment")
    aliases = _aliases.decode(stored.get(b"aliases", b"{}"))
    return Profile(
        user_id=user_id,
        partition=next(iter(at)) if len(at) == 1 else -1,
        at=at,
        events=int(stored.get(b"events", 0)),
        updated_at=float(stored.get(b"updated_at", 0)),
        segment=None if segment is None else int(segment),
        interests=_interests.decode(stored.get(b"interests", b"{}")),
        interests_at=float(stored.get(b"interests_at", 0)),
        consent=_CONSENT_OF[stored.get(b"consent", b"")],
        consent_from=int(stored.get(b"consent_from", -1)),
        person=b"person" in stored,
        aliases={name: at if isinstance(at, int) else at[0] for name, at in aliases.items()},
        homes={name: at[1] for name, at in aliases.items() if not isinstance(at, int)},
        alias=stored.get(b"alias", b"").decode(),
        alias_from=int(stored.get(b"alias_from", -1)),
        alias_home=int(stored.get(b"alias_home", -1)),
    )
