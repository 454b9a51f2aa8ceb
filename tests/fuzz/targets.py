"""What is fuzzed: each target takes bytes, raises nothing but what is documented, and holds its invariants.

A target is made once for a process; ``make`` gives a bad input, ``run`` tries it and tells whether it was taken.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import ClassVar

import msgspec

from state.profiles import DamagedProfile, Stored
from streams.commands.output import clean, glance
from streams.decode import Batch, decode_batch
from streams.failures import Refusal
from streams.fields import END_OF_TIME
from streams.links import PASSED_ON, PSEUDONYMS, Hidden, decode_linked
from streams.records import decode, encode
from streams.schemas import BadEvent, BadItem, decode_event, decode_item
from streams.settings import SettingsError, load
from tests.fuzz import seeds
from tests.fuzz.folds import Folds, Snapshots
from tests.fuzz.http import Requests
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target
from tests.rules_worker import SETTINGS, Message

__all__ = ["TARGETS"]

NOW = 1.7e9
# Between the parts of an input that is several things, such as a key and a value.
BETWEEN = b"\xff\x00\xff"


def _refused(reason: Exception, longest: int) -> bool:
    """Check that a reason is a sentence that fits into a header; it is no fault."""
    assert len(str(reason).encode()) < 4 * longest
    return False


def assert_printable(reason: Exception) -> None:
    """Check that a terminal obeys no letter of a reason."""
    assert str(reason).isprintable()


class Events(Target):
    """Messages on `events`: an event, or BadEvent in one short sentence; what is taken is the same when sent again."""

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.EVENTS)

    def run(self, data: bytes) -> bool:
        try:
            event = decode_event(data, received=NOW, skew=300.0)
        except BadEvent as bad:
            return _refused(bad, 600)
        again = decode_event(msgspec.json.encode(_sent(event)), received=NOW, skew=300.0)
        # A number so large is taken for milliseconds: such a time is sent in words only.
        assert again == event or event.timestamp >= 1e11
        assert 0 < event.time <= NOW + 300
        return True


def _sent(event: object) -> dict[str, object]:
    fields = msgspec.structs.asdict(event)  # type: ignore[arg-type]
    wish = {"properties": {"consent": fields.pop("consent")}}
    return wish | {name: value for name, value in fields.items() if value not in {None, ""} and name != "time"}


class Items(Target):
    """Messages on `items`, key and value: an item, or BadItem."""

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.ITEMS)

    def run(self, data: bytes) -> bool:
        key, found, value = data.partition(BETWEEN)
        try:
            item = decode_item(key or None, value if found else None)
        except BadItem as bad:
            return _refused(bad, 600)
        if found:
            assert decode_item(key or None, msgspec.json.encode(item)) == item
        return True


class Placed(Target):
    """Whole messages with key and headers: each is an event here, sent home, or a dead letter; and no header is believed."""

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.MESSAGES)

    def run(self, data: bytes) -> bool:
        key, header, value, *_ = [*data.split(BETWEEN), b"", b"", b""]
        name = header[:14].decode(errors="replace")
        message = Message(7, value, key, headers=[(name, header[14:])])
        decoded = decode_batch(Batch({2: [message]}, {2: 7}), SETTINGS, 3, _Nobody())
        kept = decoded.events[2]
        assert len(kept) + len(decoded.dead) + len(decoded.rekeyed) == 1
        assert all(letter.value == value and letter.key == key for letter in decoded.dead)
        assert all(placed.origin is None or min(placed.origin) >= 0 for placed in kept)
        return bool(kept)


class Linked(Target):
    """What workers send one another to join ids, with a key and without: it is as a worker writes it, or it is not believed."""

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.LINKED)

    def run(self, data: bytes) -> bool:
        kind, place, user, mark, value, *_ = [*data.split(BETWEEN), b"", b"", b"", b"", b""]
        headers = [(kind.decode(errors="replace"), place), (PASSED_ON, user), *([(PSEUDONYMS, mark)] if mark else [])]
        return sum([self._taken(value, headers, hidden) for hidden in (None, seeds.HIDDEN)]) > 0

    def _taken(self, value: bytes, headers: list[tuple[str, bytes]], hidden: Hidden | None) -> bool:
        try:
            linked = decode_linked(value, headers, received=NOW, skew=300.0, hidden=hidden)
        except BadEvent as bad:
            return _refused(bad, 600)
        if linked is None:
            return False
        event, origin, link, sender = linked
        if hidden:
            of = hidden.pseudonyms.of
            assert all(re.fullmatch("[0-9a-f]{32}", one) for one in (event.user_id, link.other))
            assert sender is not None
            assert not sender or of(sender) == event.user_id
            assert not link.name or of(link.name) == link.other
            assert origin[0] < hidden.partitions
        else:
            assert (sender, link.name) == (None, "")
        if link.merge:
            assert all(0 < entry.at < END_OF_TIME for entry in link.merge.history)
        return True


class _Nobody:
    def home(self, _user_id: str) -> int | None:
        return None


class Records(Target):
    """Values of the learned log: a record that is written as it was read, or Refusal."""

    def __init__(self) -> None:
        self._records = seeds.records()

    def make(self, chance: Random) -> bytes:
        return mutated(chance, self._records)

    def run(self, data: bytes) -> bool:
        try:
            record = decode(data, 12)
        except Refusal as refusal:
            return _refused(refusal, 600)
        assert encode(record) == data
        return True


class SettingsFiles(Target):
    """A file of settings: settings, or SettingsError in one sentence."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "upwell.toml"

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.TOML)

    def close(self) -> None:
        self._folder.cleanup()

    def run(self, data: bytes) -> bool:
        self._file.write_bytes(data)
        try:
            load(self._file)
        except SettingsError as wrong:
            return _refused(wrong, 2_000)
        return True


class StoredProfiles(Target):
    """A user's hash in Redis that somebody else wrote: a profile, or DamagedProfile."""

    _FIELDS: ClassVar = (b"at:0", b"events", b"updated_at", b"segment", b"history", b"interests", b"interests_at")

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.HASHES)

    def run(self, data: bytes) -> bool:
        values = data.split(BETWEEN)
        try:
            Stored.from_hash("ada", dict(zip(self._FIELDS, values, strict=False)))
        except DamagedProfile as damaged:
            assert_printable(damaged)
            return False
        return True


class Shown(Target):
    """Bytes of strangers as the commands show them: never a letter that a terminal obeys."""

    def make(self, chance: Random) -> bytes:
        return mutated(chance, seeds.EVENTS)

    def run(self, data: bytes) -> bool:
        text = data.decode(errors="surrogateescape")
        letters = clean(text), glance(data)
        assert all(letter.isprintable() or letter in "\u200c\u200d" for shown in letters for letter in shown)
        assert len(letters[1]) <= 80
        return letters[0] == text


TARGETS: dict[str, Callable[[], Target]] = {
    "events": Events,
    "items": Items,
    "messages": Placed,
    "linked": Linked,
    "records": Records,
    "folds": Folds,
    "snapshots": Snapshots,
    "settings": SettingsFiles,
    "profiles": StoredProfiles,
    "shown": Shown,
    "http": Requests,
}
