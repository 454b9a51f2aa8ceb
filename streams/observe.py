"""Observe: fold a micro-batch's events into their users' profiles, and gather what each partition's events will teach."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from state.profiles import Profile
from streams.decode import Batch, Decoded, Placed
from streams.identity import Identity, folded_in
from streams.items import ItemNumbers
from streams.learned import Teacher
from streams.observed import Observed, Teaching
from streams.profiles import Profiles
from streams.schemas import FORGET, IDENTIFY, Event
from streams.settings import Settings

__all__ = ["Observer"]

Labels = Callable[[int], Sequence[str]]


class Observer:
    """Folds events into profiles; the rules of what is folded and what is taught meet here.

    ``labels`` name what an item is, ``known`` tells whether the models know a user.
    """

    def __init__(
        self,
        settings: Settings,
        teacher: Teacher,
        items: ItemNumbers,
        profiles: Profiles,
        labels: Labels,
        known: Callable[[str], bool],
    ) -> None:
        self._clear, self._known = profiles.clear, known
        self._required = settings.consent.required
        self._weight_of = settings.weights.of
        self._excludes = settings.excludes
        self._teacher = teacher
        self._items = items
        self._types = profiles.types
        self._labels = labels
        self._identity = Identity(
            profiles,
            items,
            settings.weights,
            refuses=self._refuses,
            untaught=self._untaught,
            pseudonyms=settings.pseudonymize,
        )

    def observe(self, batch: Batch, decoded: Decoded, profiles: dict[str, Profile]) -> Observed:
        """Fold every event that its user's hash does not cover yet; teach every event that its partition's records do not."""
        observed = Observed(profiles, partitions=decoded.partitions)
        for partition, end in batch.ends().items():
            start = self._teacher.start(partition, batch.begins[partition])
            teaching = Teaching(start, end)
            for placed in decoded.events[partition]:
                profile = profiles[placed.event.user_id]
                self._event(observed, teaching, profile, partition, placed)
            if start < end:
                observed.teachings[partition] = teaching
                if teaching.forgotten:
                    teaching.settle()
        observed.settle()
        return observed

    def _event(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        event = placed.event
        rare = placed.link or profile.alias or event.type == IDENTIFY
        if rare and self._identity.take(observed, teaching, profile, partition, placed):
            return
        folded = folded_in(profile, partition, placed)
        if event.consent is not None or event.type == FORGET:
            self._wish(observed, teaching, profile, partition, placed)
        if event.item_id:
            if self._refuses(profile) or (folded and placed.offset < profile.consent_from):
                self._answer(observed, teaching, profile, placed, folded=folded)
            else:
                self._item(observed, teaching, profile, partition, placed, folded=folded)
            observed.triggers[event.user_id] = (partition, placed)
        if rare:
            self._identity.finish(observed, profile, partition, placed, folded=folded)
        profile.at[partition] = max(placed.offset, profile.at.get(partition, -1))
        if placed.origin and not placed.link:
            origin, offset = placed.origin
            profile.at[origin] = max(offset, profile.at.get(origin, -1))

    def _item(
        self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed, *, folded: bool
    ) -> None:
        event = placed.event
        number = self._items.number(event.item_id)
        weight = self._weight_of(event.type, event.value)
        if placed.offset >= teaching.start and self._untaught(teaching, partition, placed.origin):
            _teach(teaching, profile, number, weight, event)
        if not folded:
            observed.events += 1
            profile.events += 1
            self._push(observed, profile, number, weight, event)
            if weight > 0 and (labels := self._labels(number)):
                profile.interest(labels, weight, event.time)

    def _push(self, observed: Observed, profile: Profile, number: int, weight: float, event: Event) -> None:
        kind = self._types.number(event.type)
        observed.pushes.append((profile.slot, number, weight, event.time, self._excludes(event.type), kind, event.timestamp))

    def _refuses(self, profile: Profile) -> bool:
        return profile.consent is False or (self._required and profile.consent is None)

    def _answer(self, observed: Observed, teaching: Teaching, profile: Profile, placed: Placed, *, folded: bool) -> None:
        """Answer a user who refuses from the event at hand: nothing else is known, and nothing of it stays or is taught."""
        event = placed.event
        if profile.consent is None and (profile.events or self._known(event.user_id)):
            # Consent was not required yet when this was learned.
            self._forget(observed, teaching, profile, placed, folded=folded)
        if profile.consent:
            return  # the profile is beyond this event, and its user consented since
        self._blank(observed, profile)
        observed.events += not folded
        observed.refused += not folded
        self._push(observed, profile, self._items.number(event.item_id), self._weight_of(event.type, event.value), event)

    def _wish(self, observed: Observed, teaching: Teaching, profile: Profile, partition: int, placed: Placed) -> None:
        """Take what a user wishes; an event that was sent home twice counts each time, for it leaves no fence."""
        consent, folded = placed.event.consent, profile.seen(partition, placed.offset)
        if placed.event.type == FORGET and not folded:
            self._identity.part(observed, profile, partition, placed)
        if placed.event.type == FORGET or (consent is False and (folded or profile.consent is not False)):
            self._forget(observed, teaching, profile, placed, folded=folded)
        if folded:
            return
        observed.wishes[profile.user_id] = partition, profile
        if consent:
            self._agree(observed, teaching, profile, placed)
        elif consent is False:
            profile.consent = False
            self._blank(observed, profile)

    def _agree(self, observed: Observed, teaching: Teaching, profile: Profile, placed: Placed) -> None:
        """Take a user's consent; who refused, or was not asked though that is required, begins anew."""
        if self._refuses(profile):
            if profile.consent is None and (profile.events or self._known(profile.user_id)):
                self._forget(observed, teaching, profile, placed, folded=False)
            self._empty(observed, profile)
            observed.triggers.pop(profile.user_id, None)
            profile.consent_from = placed.offset
            observed.anew.add(profile.user_id)
            observed.blank.pop(profile.user_id, None)
        profile.consent = True

    def _forget(self, observed: Observed, teaching: Teaching, profile: Profile, placed: Placed, *, folded: bool) -> None:
        """Let a user's profile begin anew, unless it did so after this event, and have the models forget the user."""
        observed.triggers.pop(profile.user_id, None)
        if placed.offset >= teaching.start:
            teaching.forget(profile.user_id, placed.offset)
        if not folded:
            profile.forget()
            self._empty(observed, profile)
            observed.anew.add(profile.user_id)
            observed.forgotten[profile.user_id] = placed.user_id
            observed.blank.pop(profile.user_id, None)

    def _blank(self, observed: Observed, profile: Profile) -> None:
        self._empty(observed, profile)
        observed.blank[profile.user_id] = profile

    def _empty(self, observed: Observed, profile: Profile) -> None:
        self._clear(profile.slot)
        observed.clear(profile.slot)

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
        teaching.visit(profile.user_id, number, weight, event.type, event.time)
        teaching.judged.append((profile, number))
