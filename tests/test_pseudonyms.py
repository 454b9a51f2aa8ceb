"""Users' ids are replaced by pseudonyms before anything is stored, and all else is as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.connection import connect
from state.keys import Keys
from state.reader import Reader
from state.store import Applied, Store
from streams.decode import REKEYED, Batch, decode_batch
from streams.failures import Refusal
from streams.follower import Fold
from streams.learned import Taught
from streams.memory import Loop
from streams.models.models import Models
from streams.partition import partition_for
from streams.pseudonyms import FEWEST, MOST, BadKey, Pseudonyms, addressed
from streams.records import Kind, Record
from streams.settings import Settings, SettingsError
from streams.snapshots import freeze, thaw
from tests.rules_worker import NOW, SETTINGS, Message

KEY = b"k" * FEWEST
MARK = "PERSON-7f3a"
PSEUDONYMS = Pseudonyms(KEY)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def key_file(folder: Path, secret: bytes = KEY, mode: int = 0o600) -> Path:
    file = folder / "key"
    file.write_bytes(secret)
    file.chmod(mode)
    return file


@pytest.fixture
def hidden(tmp_path):
    """The small settings of other tests, with pseudonyms."""
    knobs = SETTINGS.pseudonyms.model_copy(update={"key_file": str(key_file(tmp_path))})
    return SETTINGS.model_copy(update={"pseudonyms": knobs})


@given(ids, ids)
def test_an_id_has_one_pseudonym_and_two_ids_have_two(one, other):
    assert re.fullmatch("[0-9a-f]{32}", PSEUDONYMS.of(one))
    assert (PSEUDONYMS.of(one) == Pseudonyms(KEY).of(other)) == (one == other)
    assert PSEUDONYMS.of(one) != Pseudonyms(KEY + b"k").of(one)


def test_the_fingerprint_tells_keys_apart_and_is_no_pseudonym():
    assert Pseudonyms(KEY).fingerprint == PSEUDONYMS.fingerprint != Pseudonyms(KEY + b"k").fingerprint
    assert PSEUDONYMS.fingerprint not in PSEUDONYMS.of("")


@pytest.mark.parametrize(
    ("secret", "mode", "said"),
    [
        (b"", 0o600, "can be guessed"),
        (b"k" * (FEWEST - 1), 0o600, "can be guessed"),
        (b"k" * (MOST + 1), 0o600, "no file of"),
        (KEY, 0o644, "everybody on this machine may read it"),
        (KEY, 0o602, "everybody on this machine may read it"),
    ],
)
def test_a_file_that_is_no_key_is_refused_with_what_mends_it(tmp_path, secret, mode, said):
    file = key_file(tmp_path, secret, mode)
    with pytest.raises(SettingsError, match=said) as wrong:
        _ = Settings(pseudonyms={"key_file": str(file)}).pseudonymize
    assert str(file) in str(wrong.value)


@pytest.mark.parametrize("file", ["/dev/zero", "/nowhere/key", "."])
def test_what_is_no_file_is_no_key(file):
    with pytest.raises(BadKey):
        Pseudonyms.read(Path(file))


def test_a_group_may_share_a_key(tmp_path):
    assert Pseudonyms.read(key_file(tmp_path, mode=0o640)).of(MARK) == PSEUDONYMS.of(MARK)


def event(offset, user, item, **fields):
    body = {"type": "view", "user_id": user, "item_id": item, "timestamp": NOW + offset, **fields}
    return Message(offset, msgspec.json.encode(body), user.encode())


class Known:
    def __init__(self, **homes):
        self.homes = homes

    def home(self, user_id):
        return self.homes.get(user_id)


def decoded(message, partition, settings, known=None):
    return decode_batch(Batch({partition: [message]}, {partition: message.offset}), settings, 3, known or Known())


def test_the_partition_stays_that_of_the_id_that_came_in(hidden):
    home = partition_for(MARK.encode(), 3)
    (placed,) = decoded(event(5, MARK, "tea"), home, hidden).events[home]
    assert (placed.event.user_id, placed.user_id) == (PSEUDONYMS.of(MARK), MARK)


@pytest.mark.parametrize("in_memory", [False, True])
def test_rule_8_a_misplaced_event_goes_home_untouched_under_the_id_that_came_in(hidden, in_memory):
    home = partition_for(MARK.encode(), 3)
    away, message = (home + 1) % 3, event(5, MARK, "tea")
    known = Known(**{PSEUDONYMS.of(MARK): home}) if in_memory else None
    (sent,) = decoded(message, away, hidden, known).rekeyed
    assert (sent.key, sent.value, sent.partition) == (MARK.encode(), message.value, home)
    again = Message(9, message.value, headers=[(REKEYED, b"%d:5" % away)])
    (placed,) = decoded(again, home, hidden).events[home]
    assert (placed.origin, placed.user_id) == ((away, 5), MARK)


def batches():
    """Twenty users of two tastes, in batches of eight events, until there are segments."""
    for first in range(0, 800, 8):
        numbers = range(first, first + 8)
        yield [event(n, f"{MARK}-{n * 7 % 20}", f"i{n * 7 % 2 * 10 + n * 5 % 9}") for n in numbers], first


async def run(settings):
    """Carry the batches through the pipeline; give what goes out, what is stored, and the fold."""
    loop, out, stored = Loop(settings), [], []
    for messages, first in batches():
        answer = await loop.pipeline.prepare(Batch({0: messages}, {0: first}), 1)
        out += [(key, *said(value)) for key, value in answer.recommendations]
        out += [(change.key, change.value) for change in answer.segments]
        stored += [*answer.writes[0], *answer.records]
        loop.finish(answer)
    return out, stored, loop.fold


def said(message):
    """Give what a message says, without the moment when."""
    found = msgspec.json.decode(message)
    return [found[name] for name in ("user_id", "recommendation_id", "trigger", "segment", "items")]


async def test_the_answers_are_those_without_pseudonyms_and_what_is_stored_names_nobody(hidden):
    plain, stored_plainly, _ = await run(SETTINGS)
    out, stored, fold = await run(hidden)
    assert out == plain
    assert any(len(message) == 2 for message in out), "nobody changed the segment"
    assert MARK in repr(stored_plainly)
    assert MARK not in repr(stored)
    assert MARK.encode() not in b"".join(array.tobytes() for array in freeze(fold).arrays)
    assert fold.models.users.name(0).decode() == PSEUDONYMS.of(f"{MARK}-0")


async def test_a_log_and_a_snapshot_of_another_key_are_refused(hidden, tmp_path):
    _, _, fold = await run(hidden)
    data = b"".join(freeze(fold).parts())
    assert thaw(data, hidden.parameters()).models.version == fold.models.version
    (tmp_path / "other").mkdir()
    other = Settings(pseudonyms={"key_file": str(key_file(tmp_path / "other", b"o" * FEWEST))}).pseudonyms
    for settings in (SETTINGS, SETTINGS.model_copy(update={"pseudonyms": other})):
        with pytest.raises(Refusal, match="another key of pseudonyms"):
            thaw(data, settings.parameters())
        with pytest.raises(Refusal, match="another key of pseudonyms"):
            Fold(Models(**settings.parameters()), Taught()).fold(Record(Kind.LAYOUT, 1, 3, 0, 0, fold.knobs), 0)
    assert Fold(Models(**hidden.parameters()), Taught()).fold(Record(Kind.LAYOUT, 1, 3, 0, 0, fold.knobs), 0)


@given(ids)
def test_a_stored_message_is_addressed_to_who_asks(user_id):
    pseudonym = PSEUDONYMS.of(user_id)
    message = {"recommendation_id": "0-7", "user_id": pseudonym, "items": [{"item_id": f'"user_id":"{pseudonym}"'}]}
    found = addressed(msgspec.json.encode(message), pseudonym, user_id)
    assert msgspec.json.decode(found) == message | {"user_id": user_id}


async def test_who_reads_by_the_id_that_came_in_finds_what_is_stored_under_the_pseudonym(hidden, redis_server, prefix):
    loop = Loop(hidden)
    (messages, first), *_ = batches()
    answer = await loop.pipeline.prepare(Batch({0: messages}, {0: first}), 1)
    redis = connect(redis_server.url)
    await Store(redis, Keys(prefix)).commit(answer.writes, {0: Applied(None, 8)})
    await redis.aclose()
    with Reader(redis_server.url, prefix, pseudonym=PSEUDONYMS.of) as reader, Reader(redis_server.url, prefix) as plain:
        found, user = reader.recommendations(f"{MARK}-0"), reader.user(f"{MARK}-0")
        assert found.user_id == user.user_id == user.recommendations.user_id == f"{MARK}-0"
        assert reader.history(f"{MARK}-0") == user.history == plain.history(PSEUDONYMS.of(f"{MARK}-0"))
        assert reader.neighbors(f"{MARK}-0") == user.neighbors
        assert plain.user(f"{MARK}-0") is None
        assert reader.user("nobody") is None


def test_a_key_that_changes_its_mode_is_refused_at_the_next_start(tmp_path):
    file = key_file(tmp_path)
    assert Pseudonyms.read(file)
    os.chmod(file, 0o604)  # noqa: PTH101 - the mode is what is tested
    with pytest.raises(BadKey):
        Pseudonyms.read(file)
