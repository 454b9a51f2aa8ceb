"""What was observed: the users who acted in a micro-batch, and what each partition's events will teach."""

from __future__ import annotations

from dataclasses import dataclass, field

from state.profiles import ANEW, GONE, ONLY_STANDING, STANDING, WHOLE, Profile
from streams.decode import DeadLetter, Placed, Rekeyed
from streams.profiles import Push

__all__ = ["Observed", "Teaching"]


@dataclass(slots=True)
class Teaching:
    """What a partition's events from ``start`` on teach; the columns are those of a lesson, items by this worker's numbers.

    ``others`` acted too, but visited nothing: all that they may teach is that they left their segment.
    """

    start: int
    end: int
    events: int = 0
    users: dict[str, int] = field(default_factory=dict)
    others: dict[str, Profile] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    visits: list[tuple[int, int, float, float, int]] = field(default_factory=list)
    judged: list[tuple[Profile, int]] = field(default_factory=list)
    origins: dict[int, int] = field(default_factory=dict)
    forgotten: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def forget(self, user_id: str, offset: int) -> None:
        """Teach to forget a user, and nothing of what the user did before: so many of the visits, and of those judged."""
        _, _, wished = self.forgotten.get(user_id, (0, 0, offset))
        self.forgotten[user_id] = len(self.visits), len(self.judged), min(offset, wished)
        self.others.pop(user_id, None)

    def visit(self, user_id: str, number: int, weight: float, kind: str, time: float) -> None:
        """Teach a visit to an item, of a weight above 0."""
        place = self.users.setdefault(user_id, len(self.users))
        self.visits.append((place, number, weight, time, self.types.setdefault(kind, len(self.types))))

    def settle(self) -> None:
        """Leave out what those forgotten did before; once for all of them, for each costs a pass."""
        names, bounds = list(self.users), self.forgotten
        begins = [bounds[name][0] if name in bounds else 0 for name in names]
        kept = [visit for number, visit in enumerate(self.visits) if number >= begins[visit[0]]]
        self.users = {}
        places = [self.users.setdefault(names[visit[0]], len(self.users)) for visit in kept]
        self.visits = [(place, *visit[1:]) for place, visit in zip(places, kept, strict=True)]
        nobody = (0, 0, 0)
        judged = enumerate(self.judged)
        self.judged = [one for number, one in judged if number >= bounds.get(one[0].user_id, nobody)[1]]


@dataclass(slots=True)
class Observed:
    """The users who acted, each with the last event, the entries to push on their histories, and the teachings.

    ``profiles`` are of those who are to be given a list, ``wishes`` those who said what they wish, with their partition. Those
    ``forgotten``, with the id under which that is said, begin ``anew``, as do some others; those ``blank`` refuse, and nothing
    of what they did is kept. Those ``merged``, likewise, are somebody's aliases from now on; ``devices`` are the aliases by which
    a person is to be answered too, and ``linked`` is what their owners are sent. An empty id: none is known, and nothing is said.
    """

    profiles: dict[str, Profile]
    triggers: dict[str, tuple[int, Placed]] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    teachings: dict[int, Teaching] = field(default_factory=dict)
    events: int = 0
    refused: int = 0
    wishes: dict[str, tuple[int, Profile]] = field(default_factory=dict)
    forgotten: dict[str, str] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    blank: dict[str, Profile] = field(default_factory=dict)
    cleared: dict[int, int] = field(default_factory=dict)
    partitions: int = 1
    merged: dict[str, str] = field(default_factory=dict)
    devices: dict[str, set[str]] = field(default_factory=dict)
    linked: list[Rekeyed] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)

    def clear(self, slot: int) -> None:
        """Push nothing of what was to be pushed on a history so far."""
        self.cleared[slot] = len(self.pushes)

    def take_pushes(self) -> list[Push]:
        """Give what is to be pushed so far, less what was cleared; the caller pushes it."""
        taken, cleared = self.pushes, self.cleared
        self.pushes, self.cleared = [], {}
        return [push for number, push in enumerate(taken) if number >= cleared.get(push[0], 0)] if cleared else taken

    def settle(self) -> None:
        """Leave out pushes that were cleared, and those who are given no list."""
        self.pushes = self.take_pushes()
        if len(self.triggers) < len(self.profiles):
            self.profiles = {user_id: one for user_id, one in self.profiles.items() if user_id in self.triggers}

    def mode(self, profile: Profile) -> str:
        """Say how much of a user is written: of one who refuses, is given no list or is an alias, no more than the standing."""
        whole = profile.user_id in self.triggers and profile.user_id not in self.blank
        if profile.alias:
            return ONLY_STANDING
        if profile.user_id not in self.anew and profile.user_id not in self.blank:
            return WHOLE if whole else STANDING
        return ANEW if whole else ONLY_STANDING if profile.stands else GONE
