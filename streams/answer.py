"""The messages that go out: recommendations and segment changes, assembled from prepared JSON fragments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from state.profiles import Profile
from streams.decode import Placed
from streams.scoring import Scored

__all__ = ["Messages", "SegmentChange"]

_RECOMMENDATION = (
    b'{"recommendation_id":"%d-%d","user_id":%b,"generated_at":%.3f,"trigger":{"partition":%d,"offset":%d,"event_id":%b},'
    b'"segment":%b,"model_version":%d,"items":%b,"latency_ms":%.3f}'
)
_SEGMENT = b'{"user_id":%b,"segment":%b,"previous":%b,"name":%b,"at":%.3f}'


@dataclass(slots=True)
class SegmentChange:
    """A user who entered a segment or left all, ready for the segments topic; without a value, one who was forgotten."""

    key: bytes
    value: bytes | None


def _or_null(number: int | None) -> bytes:
    return b"null" if number is None or number < 0 else b"%d" % number


class Messages:
    """Writes messages; scores and reasons of the items come already encoded from the compiled encoder."""

    def recommendation(
        self, user_id: str, profile: Profile, partition: int, trigger: Placed, scored: Scored, row: int, now: float
    ) -> bytes:
        """Write the recommendation that a user's last event of the batch triggered; its id is a function of that event.

        ``user_id`` is the user's, or that of a device of the user.
        """
        event = trigger.event
        return _RECOMMENDATION % (
            partition,
            trigger.offset,
            msgspec.json.encode(user_id),
            now,
            partition,
            trigger.offset,
            b"null" if event.event_id is None else msgspec.json.encode(event.event_id),
            _or_null(profile.segment),
            scored.version,
            scored.items[row],
            max(0.0, (now - trigger.received) * 1000),
        )

    def segment(self, user_id: str, profile: Profile, segment: int, at: float, names: Mapping[int, str]) -> SegmentChange | None:
        """Move a user to a segment, or with -1 out of any, and write the change, or return None where nothing changed."""
        entered = segment if segment >= 0 else None
        if entered == profile.segment:
            return None
        previous, profile.segment = profile.segment, entered
        name = None if entered is None else names.get(entered, f"segment {entered}")
        value = _SEGMENT % (msgspec.json.encode(user_id), _or_null(entered), _or_null(previous), msgspec.json.encode(name), at)
        return SegmentChange(user_id.encode(), value)
