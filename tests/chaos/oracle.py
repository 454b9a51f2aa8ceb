"""What must be, worked out from what the topics hold in one process without any fault, and how far it is from what is."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import Any, NamedTuple

import msgspec

from streams.follower import Fold
from streams.learned import Taught
from streams.models.ids import Packed, pack
from streams.models.models import Models
from streams.partition import partitions_for
from streams.records import Kind, Record, decode, decode_lesson
from streams.schemas import BadEvent, Event, decode_event
from streams.settings import Settings
from tests.chaos.taps import Seen, Taps
from tests.outside import MOST, Place

REKEYED = "upwell.rekeyed"
NOWHERE = Place(-1, -1)


class Visit(NamedTuple):
    """What an event teaches: who visited what when."""

    user: str
    item: str
    time: float


class Trigger(msgspec.Struct):
    """The event that a recommendation answers."""

    partition: int
    offset: int


class Answer(msgspec.Struct):
    """A recommendation, as far as it matters here."""

    trigger: Trigger


class User:
    """What one user's profile must be."""

    def __init__(self) -> None:
        self.events = 0
        self.history: deque[tuple[str, str]] = deque(maxlen=MOST)
        self.last = NOWHERE


class Answers:
    """What one user was answered: the place of the event that the newest covers, and of the one that came last."""

    def __init__(self) -> None:
        self.newest = -1
        self.latest = -1


class Oracle:
    """Takes the messages of all topics in; everything is counted by its place, so that what the load repeats counts again."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._settings, self._partitions = settings, partitions
        self._read_answer = msgspec.json.Decoder(Answer).decode
        self.fold = Fold(Models(**settings.parameters()), Taught())
        self.users: dict[str, User] = defaultdict(User)
        self.entries: dict[str, tuple[int, str]] = {}
        self.events = 0
        self.answered = 0
        self.begin_topic()

    def begin_topic(self) -> None:
        """Forget all places in the events topic: it was recreated."""
        self.answers: dict[str, Answers] = defaultdict(Answers)
        self.astray: set[Place] = set()
        self.found: set[Place] = set()
        self.damaged: dict[Place, bytes] = {}
        self.buried: set[Place] = set()
        for user in self.users.values():
            user.last = NOWHERE
        self._due: dict[int, list[Visit]] = defaultdict(list)
        self._taught: dict[int, list[Visit]] = defaultdict(list)

    def absorb(self, taps: Taps) -> None:
        """Take in what came since the last time."""
        for role, take in (("events", self._event), ("items", self._entry), ("recommendations", self._answer),
                           ("dead", self._letter), ("learned", self._record)):  # fmt: skip
            for seen in taps.drawn(role):
                take(seen)

    def _event(self, seen: Seen) -> None:
        place = Place(seen.partition, seen.offset)
        try:
            event = decode_event(seen.value, received=seen.time / 1000, skew=self._settings.intake.future_skew_s)
        except BadEvent:
            self.damaged[place] = seen.value or b""
            return
        if REKEYED in seen.headers:
            origin = Place(*map(int, seen.headers[REKEYED].split(b":")))
            if origin not in self.found:
                self.found.add(origin)
                self._counts(event, place)
            else:
                self.users[event.user_id].last = place  # it is answered once more
        elif partitions_for([event.user_id.encode()], self._partitions)[0] != seen.partition:
            self.astray.add(place)
        else:
            self._counts(event, place)

    def _counts(self, event: Event, place: Place) -> None:
        self.events += 1
        user = self.users[event.user_id]
        user.events += 1
        user.history.appendleft((event.item_id, event.type))
        user.last = place
        if self._settings.weights.of(event.type, event.value) > 0:
            self._due[place.partition].append(Visit(event.user_id, event.item_id, event.time))

    def _entry(self, seen: Seen) -> None:
        entry = msgspec.json.decode(seen.value or b"{}")
        self.entries[entry["item_id"]] = seen.offset, entry["name"]

    def _answer(self, seen: Seen) -> None:
        self.answered += 1
        answers = self.answers[(seen.key or b"").decode()]
        answers.latest = self._read_answer(seen.value or b"").trigger.offset
        answers.newest = max(answers.newest, answers.latest)

    def _letter(self, seen: Seen) -> None:
        place = Place(int(seen.headers["upwell.partition"]), int(seen.headers["upwell.offset"]))
        if self.damaged.get(place) == (seen.value or b""):
            self.buried.add(place)

    def _record(self, seen: Seen) -> None:
        record = decode(seen.value, seen.offset)
        if self.fold.fold(record, seen.offset) and record.kind is Kind.LESSON:
            self._taught[record.partition] += _visits(record)

    def faults(self) -> Counter[str]:
        """Count what is lost and double so far: re-keyed events, dead letters, answers and what was taught."""
        found = Counter[str]()
        found["re-keyed lost"] = len(self.astray - self.found)
        found["dead letters lost"] = len(self.damaged.keys() - self.buried)
        found["answers lost"] = sum(self.answers[name].newest != user.last.offset for name, user in self.users.items())
        for partition in {*self._due, *self._taught}:
            due, taught = self._due.pop(partition, []), self._taught.pop(partition, [])
            found["taught lost"] += (Counter(due) - Counter(taught)).total()
            found["taught twice"] += (Counter(taught) - Counter(due)).total()
            found["taught out of order"] += Counter(due) == Counter(taught) and due != taught
        found["events not taught"] = max(0, self.events - self.fold.models.events)
        found["events taught twice"] = max(0, self.fold.models.events - self.events)
        return found + Counter()

    def stale(self) -> int:
        """Count users of whom an older answer came after the newest: of a worker that was away and did not know."""
        return sum(one.latest != one.newest for one in self.answers.values())

    def of_profiles(self, stored: dict[str, dict[str, Any]]) -> Counter[str]:
        """Hold the users' hashes against what must be."""
        found = Counter[str]()
        for name, user in self.users.items():
            profile = stored[name]
            found["events lost"] += max(0, user.events - profile.get("events", 0))
            found["events twice"] += max(0, profile.get("events", 0) - user.events)
            history = [(entry["item_id"], entry["type"]) for entry in profile.get("history", ())]
            found["histories wrong"] += history != list(user.history)
            if user.last != NOWHERE:  # else all that is stored is of the topic before
                trigger = profile.get("recommendations", {}).get("trigger", {})
                found["stored answers old"] += (trigger.get("partition"), trigger.get("offset")) != user.last
                found["fences wrong"] += profile.get(f"at:{user.last.partition}") != user.last.offset
        return found + Counter()

    def of_catalogue(self, stored: dict[str, dict[bytes, bytes]]) -> Counter[str]:
        """Hold the items' hashes, and the models' catalogue, against the newest entries."""
        found = Counter[str]()
        indexes = self.fold.models.items.find(pack([item.encode() for item in self.entries])).tolist()
        for index, (item, (offset, name)) in zip(indexes, self.entries.items(), strict=True):
            found["entries old"] += stored[item].get(b"name", b"").decode() != name
            found["entries not taught"] += index < 0 or int(self.fold.models.catalog.offset[index]) != offset
        return found + Counter()


def _visits(record: Record) -> list[Visit]:
    lesson = decode_lesson(record.body)
    users, items = _names(lesson.user_ids), _names(lesson.item_ids)
    rows = zip(lesson.users.tolist(), lesson.items.tolist(), lesson.times.tolist(), strict=True)
    return [Visit(users[user], items[item], time) for user, item, time in rows]


def _names(packed: Packed) -> list[str]:
    blob, begin, names = packed.blob.tobytes(), 0, []
    for end in packed.ends.tolist():
        names.append(blob[begin:end].decode())
        begin = end
    return names
