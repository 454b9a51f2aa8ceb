"""Observe: fold a micro-batch's events into their users' profiles, and gather what each partition's events will teach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from state.profiles import Profile
from streams.decode import Batch, Decoded, Placed
from streams.items import ItemNumbers, Numbers
from streams.learned import Teacher
from streams.schemas import Event
from streams.settings import Settings

__all__ = ["Observed", "Observer", "Teaching"]

Labels = Callable[[int], Sequence[str]]


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


@dataclass(slots=True)
class Observed:
    """The users who acted, each with the last event, the entries to push on their histories, and the teachings."""

    profiles: dict[str, Profile]
    triggers: dict[str, tuple[int, Placed]] = field(default_factory=dict)
    pushes: list[tuple[int, int, float, float, bool, int, float]] = field(default_factory=list)
    teachings: dict[int, Teaching] = field(default_factory=dict)
    events: int = 0


class Observer:
    """Folds events into profiles; the rules of what is folded and what is taught meet here."""

    def __init__(self, settings: Settings, teacher: Teacher, items: ItemNumbers, types: Numbers, labels: Labels) -> None:
        self._weight_of = settings.weights.of
        self._excludes = settings.excludes
        self._teacher = teacher
        self._items = items
        self._types = types
        self._labels = labels

    def observe(self, batch: Batch, decoded: Decoded, profiles: dict[str, Profile]) -> Observed:
        """Fold every event that its user's hash does not cover yet; teach every event that its partition's records do not."""
        observed = Observed(profiles)
        for partition, end in batch.ends().items():
            start = self._teacher.start(partition, batch.begins[partition])
            teaching = Teaching(start, end)
            for placed in decoded.events[partition]:
                profile = profiles[placed.event.user_id]
                self._event(observed, teaching, profile, partition, placed)
            if start < end:
                observed.teachings[partition] = teaching
        return observed

    def _event(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        event = placed.event
        observed.triggers[event.user_id] = (partition, placed)
        number = self._items.number(event.item_id)
        weight = self._weight_of(event.type, event.value)
        if placed.offset >= teaching.start and self._untaught(teaching, partition, placed.origin):
            _teach(teaching, profile, number, weight, event)
        if not _folded(profile, partition, placed):
            observed.events += 1
            profile.events += 1
            kind = self._types.number(event.type)
            observed.pushes.append((profile.slot, number, weight, event.time, self._excludes(event.type), kind, event.timestamp))
            if weight > 0 and (labels := self._labels(number)):
                profile.interest(labels, weight, event.time)
        profile.at[partition] = max(placed.offset, profile.at.get(partition, -1))
        if placed.origin:
            origin, offset = placed.origin
            profile.at[origin] = max(offset, profile.at.get(origin, -1))

    def _untaught(self, teaching: Teaching, partition: int, origin: tuple[int, int] | None) -> bool:
        if origin is None:
            return True
        fresh = self._teacher.fresh(partition, *origin)
        if fresh:
            teaching.origins[origin[0]] = origin[1]
        return fresh


def _teach(teaching: Teaching, profile: Profile, number: int, weight: float, event: Event) -> None:
    teaching.events += 1
    if weight <= 0:
        teaching.others[profile.user_id] = profile
    else:
        place = teaching.users.setdefault(profile.user_id, len(teaching.users))
        kind = teaching.types.setdefault(event.type, len(teaching.types))
        teaching.visits.append((place, number, weight, event.time, kind))
        teaching.judged.append((profile, number))


def _folded(profile: Profile, partition: int, placed: Placed) -> bool:
    """The fence: an event not above the offset that its user's hash carries is in the profile already."""
    return profile.seen(partition, placed.offset) or (placed.origin is not None and profile.seen(*placed.origin))
