"""Joining ids of which only pseudonyms are stored: the same comes of it, nothing stored names anybody, and nobody is lost."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest

from state.profiles import ALIASES, DamagedProfile, Profile, Stored
from streams.decode import Batch, decode_batch
from streams.links import COPY, MERGE, PASSED_ON, PSEUDONYMS, REKEYED, UNLINK, Hidden, decode_linked
from streams.partition import partition_for
from streams.pseudonyms import Pseudonyms
from streams.reset import _forget_homes, _forget_offsets
from streams.schemas import BadEvent
from streams.settings import Settings
from tests.rules_worker import Message
from tests.test_identity import NOW, House, identify, view

KEY = b"k" * 32
OF = Pseudonyms(KEY).of
HIDDEN = Hidden(Pseudonyms(KEY), 2)
MARK = (PSEUDONYMS, HIDDEN.mark)


def at(partition: int, word: str) -> str:
    """An id that belongs to one of two partitions, and whose pseudonym would belong to the other."""
    names = (f"{word}{n}" for n in itertools.count())
    homes = ((name, partition_for(name.encode(), 2), partition_for(OF(name).encode(), 2)) for name in names)
    return next(name for name, home, wrong in homes if home == partition != wrong)


ADA, PHONE, WATCH, BOB = at(0, "ada"), at(1, "phone"), at(0, "watch"), at(1, "bob")


@pytest.fixture
def knobs(tmp_path):
    """Settings of a key."""
    file = tmp_path / "key"
    file.write_bytes(KEY)
    file.chmod(0o600)
    return {"pseudonyms": {"key_file": str(file)}}


@pytest.fixture
def house(knobs):
    """A worker with a key that owns two partitions; whatever it has written or said is looked through at the end."""
    house = House(**knobs)
    yield house
    writes = [write for answer in house.answers for some in answer.writes.values() for write in some]
    records = [record for answer in house.answers for record in answer.records]
    for name in (ADA, PHONE, WATCH, BOB):
        assert name not in repr(writes)
        assert name.encode() not in b"".join(records)
        assert OF(name) not in said(house), "a pseudonym goes out"


def said(house: House) -> str:
    """What goes out to those who read the topics."""
    changes = [(change.key, change.value) for answer in house.answers for change in answer.segments]
    return repr([house.recommended, changes, [str(letter.reason) for letter in house.dead]])


def answered(house: House) -> list[object]:
    return [one["user_id"] for one in house.recommended]


def nulls(house: House) -> list[str]:
    return [change.key.decode() for answer in house.answers for change in answer.segments if change.value is None]


async def test_a_merge_across_partitions_is_answered_as_without_a_key(house):
    plain, events = House(), [view(PHONE, "tea"), view(ADA, "jam"), view(PHONE, "milk"), identify(ADA, PHONE)]
    for one in (house, plain):
        await one.send(*events)
    assert answered(house) == answered(plain) == [PHONE, ADA, PHONE, ADA, PHONE]
    assert house.history(OF(ADA)) == plain.history(ADA) == ["jam", "milk", "tea"]
    ada, phone = house.profile(OF(ADA)), house.profile(OF(PHONE))
    assert (ada.aliases, ada.homes) == ({OF(PHONE): 2}, {OF(PHONE): 1})
    assert (phone.alias, phone.alias_home, phone.partition) == (OF(ADA), 0, 1)
    assert nulls(house) == nulls(plain) == [PHONE]
    (merge,) = house.sent(MERGE)
    told = json.loads(merge.value)
    assert (told["user_id"], told["anonymous_id"], told["person"], told["device"]) == (OF(ADA), OF(PHONE), ADA, PHONE)


async def test_what_a_device_does_later_is_answered_to_the_device_and_told_the_person_next_time(house):
    await house.send(identify(ADA, PHONE), view(PHONE, "tea"))
    assert answered(house) == [ADA, PHONE, PHONE]
    (sent,) = [one for one in house.sent(PASSED_ON) if REKEYED in dict(one.headers)]
    assert (sent.key.decode(), json.loads(sent.value)["user_id"]) == (OF(ADA), PHONE)
    assert house.history(OF(ADA)) == ["tea"]
    stored = [write for write in house.answers[-1].writes[0] if write.user_id == OF(ADA)]
    assert OF(ADA) in repr(stored[0].values), "the list is stored as the person's"
    await house.send(view(ADA, "milk"))
    assert answered(house)[-1] == ADA
    assert house.history(OF(ADA)) == ["milk", "tea"]


async def test_a_person_who_acts_in_the_same_batch_is_answered(house):
    await house.send(identify(ADA, PHONE))
    house.append(0, ADA.encode(), json.dumps(view(ADA, "milk")).encode(), ())
    passed = json.dumps(view(PHONE, "tea")).encode()
    house.append(0, OF(ADA).encode(), passed, [(REKEYED, b"1:7"), (PASSED_ON, OF(ADA).encode()), MARK])
    await house.settle()
    assert answered(house)[-2:] == [ADA, PHONE]
    assert house.history(OF(ADA)) == ["tea", "milk"]


async def test_a_segment_that_a_device_moves_its_person_to_is_said_with_the_persons_next_event(house):
    await house.send(identify(ADA, PHONE))
    house.profile(OF(ADA)).segment = 3
    await house.send(view(PHONE, "tea"))
    assert house.profile(OF(ADA)).segment == 3
    await house.send(view(ADA, "milk"))
    change = house.answers[-1].segments[-1]
    assert (change.key.decode(), json.loads(change.value)["previous"]) == (ADA, 3)


async def test_who_identifies_under_an_alias_does_not_tell_the_persons_id(house):
    await house.send(identify(ADA, PHONE), view(WATCH, "tea"), identify(PHONE, WATCH))
    assert house.history(OF(ADA)) == ["tea"]
    assert house.profile(OF(WATCH)).alias == OF(ADA)
    merge = house.sent(MERGE)[-1]
    assert (merge.key.decode(), json.loads(merge.value)["person"]) == (OF(ADA), "")
    assert answered(house) == [ADA, PHONE, WATCH, WATCH]
    await house.send(view(WATCH, "milk"), view(ADA, "jam"))
    assert answered(house)[-2:] == [WATCH, ADA]


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([identify(ADA, PHONE), identify(BOB, PHONE)], "already_identified"),
        ([identify(ADA, PHONE), identify(BOB, ADA)], "identify_person"),
        ([identify(ADA, PHONE), identify(PHONE, ADA)], "identify_person"),
        ([identify(ADA, ADA)], "bad_anonymous_id"),
    ],
)
async def test_what_is_refused_is_refused_with_a_key_and_the_letter_tells_no_pseudonym(house, events, error):
    await house.send(*events)
    assert [letter.reason.error for letter in house.dead] == [error]


@pytest.mark.parametrize("forgotten", [ADA, PHONE])
async def test_forgetting_one_of_a_persons_ids_forgets_all(house, forgotten):
    await house.send(*(view(user, "tea") for user in (ADA, PHONE, WATCH)), identify(ADA, PHONE), identify(ADA, WATCH))
    before = len(nulls(house))
    await house.send({"type": "forget", "user_id": forgotten})
    assert [house.profile(OF(user)) for user in (ADA, PHONE, WATCH)] == [None, None, None]
    unlinked = {
        one.key.decode(): (partition, one)
        for partition, some in house.topic.items()
        for one in some
        if UNLINK in dict(one.headers)
    }
    assert {key: partition for key, (partition, _) in unlinked.items()} == {OF(PHONE): 1, OF(WATCH): 0}
    assert all(dict(one.headers)[PASSED_ON].decode() == OF(ADA) for _, one in unlinked.values())
    # Of the person the device knows the pseudonym only: what is said on `segments` of the person goes when the person asks.
    assert nulls(house)[before:] == ([ADA] if forgotten == ADA else [])
    await house.send(view(PHONE, "fresh"), {"type": "forget", "user_id": ADA})
    assert house.history(OF(PHONE)) == ["fresh"]
    assert nulls(house)[-1] == ADA


async def test_the_device_that_is_one_too_many_is_let_go_where_it_is_at_home(house):
    devices = [f"device{n}" for n in range(ALIASES + 1)]
    await house.send(*(identify(ADA, device) for device in devices))
    ada, gone = house.profile(OF(ADA)), house.profile(OF(devices[0]))
    assert (len(ada.aliases), ada.homes.keys()) == (ALIASES, ada.aliases.keys())
    assert gone is None or not gone.alias
    (unlinked,) = house.sent(UNLINK)
    assert unlinked in house.topic[partition_for(devices[0].encode(), 2)]


async def test_what_an_owner_is_sent_where_the_user_is_elsewhere_goes_no_further(house):
    await house.send(view(ADA, "tea"))
    passed = json.dumps(view(PHONE, "milk")).encode()
    house.append(1, OF(ADA).encode(), passed, [(REKEYED, b"1:90"), (PASSED_ON, OF(ADA).encode()), MARK])
    await house.settle()
    assert [letter.reason.error for letter in house.dead] == ["misplaced"]
    assert house.history(OF(ADA)) == ["tea"]


def linked(value: object, headers: list[tuple[str, bytes]], hidden: Hidden | None = HIDDEN) -> object:
    return decode_linked(json.dumps(value).encode(), headers, received=NOW, skew=300.0, hidden=hidden)


PERSON = (PASSED_ON, OF(ADA).encode())
MERGED = {"type": "merge", "user_id": OF(ADA), "anonymous_id": OF(PHONE), "timestamp": NOW, "person": ADA, "device": PHONE}
UNLINKED = {"type": "forget", "user_id": OF(PHONE)}


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (view(PHONE, "tea"), [(REKEYED, b"1:2"), PERSON]),
        (identify(ADA, PHONE), [(COPY, b"0:2"), PERSON]),
        (UNLINKED, [(UNLINK, b"0:2"), PERSON]),
        (MERGED, [(MERGE, b"1:2")]),
    ],
)
def test_messages_of_another_key_or_count_of_partitions_or_of_none_mean_nobody(value, headers):
    assert linked(value, [*headers, MARK])
    others = [(PSEUDONYMS, Hidden(Pseudonyms(b"o" * 32), 2).mark), (PSEUDONYMS, HIDDEN._replace(partitions=3).mark)]
    cases = [([*headers, other], HIDDEN) for other in others] + [([*headers, MARK], None), ([*headers, MARK, others[0]], HIDDEN)]
    if headers[0][0] != UNLINK:
        cases.append((headers, HIDDEN))
    for sent, hidden in cases:
        with pytest.raises(BadEvent) as bad:
            linked(value, sent, hidden)
        assert bad.value.error == "misplaced"


def test_the_end_of_an_alias_from_before_there_was_a_key_is_a_forget():
    assert linked({"type": "forget", "user_id": PHONE}, [(UNLINK, b"0:2"), (PASSED_ON, ADA.encode())]) is None


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (view(PHONE, "tea"), [(REKEYED, b"2:2"), PERSON]),
        (view(PHONE, "tea"), [(REKEYED, b"1:2"), (PASSED_ON, ADA.encode())]),
        (view(PHONE, "tea"), [(COPY, b"0:2"), PERSON]),
        (identify(ADA, PHONE), [(COPY, b"2:2"), PERSON]),
        ({"type": "forget", "user_id": PHONE}, [(UNLINK, b"0:2"), PERSON]),
        (MERGED, [(MERGE, b"2:2")]),
    ],
)
def test_what_no_worker_wrote_is_not_believed_for_its_mark(value, headers):
    assert linked(value, [*headers, MARK]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": ADA},
        {"anonymous_id": PHONE},
        {"person": BOB},
        {"device": ""},
        {"device": WATCH},
        {"device": 3},
        {"events": -1},
        {"history": [{"item_id": "a", "type": "view", "at": -5}]},
    ],
)
def test_a_merge_of_pseudonyms_is_held_against_the_ids_that_it_names(change):
    with pytest.raises(BadEvent) as bad:
        linked(MERGED | change, [(MERGE, b"1:2"), MARK])
    assert bad.value.error == "bad_merge"


def test_a_pseudonym_is_read_where_it_was_sent_to_and_an_id_where_it_belongs(knobs):
    class Nobody:
        def home(self, _user_id: str) -> int | None:
            return None

    headers = [(REKEYED, b"1:2"), PERSON, MARK]
    messages = [
        Message(0, json.dumps(view(PHONE, "tea")).encode(), headers=headers),
        Message(1, json.dumps(view(ADA, "tea")).encode()),
        Message(2, json.dumps(view(PHONE, "milk")).encode()),
    ]
    decoded = decode_batch(Batch({0: messages}, {0: 0}), Settings(**knobs), 2, Nobody())
    assert [(placed.offset, placed.user_id, placed.event.user_id) for placed in decoded.events[0]] == [
        (0, "", OF(ADA)),
        (1, ADA, OF(ADA)),
    ]
    assert [(one.key.decode(), one.partition) for one in decoded.rekeyed] == [(PHONE, 1)]
    assert decoded.names[OF(ADA)] == ADA


def test_a_stored_alias_is_read_with_its_home_or_without():
    plain = Profile("ada", at={0: 1}, person=True, aliases={"phone": 5})
    hidden = Profile("ada", at={0: 1}, person=True, aliases={"phone": 5, "watch": 7}, homes={"phone": 1, "watch": 0})
    for profile, text in ((plain, b'{"phone":5}'), (hidden, b'{"phone":[5,1],"watch":[7,0]}')):
        assert text in profile.write_standing(0, "standing").values
        found = Stored.from_hash("ada", {b"at:0": b"1", b"person": b"1", b"aliases": text}).profile
        assert (found.aliases, found.homes) == (profile.aliases, profile.homes)
    with pytest.raises(DamagedProfile):
        Stored.from_hash("ada", {b"at:0": b"1", b"aliases": b'{"phone":[5]}'})


async def test_a_reset_keeps_homes_unless_the_count_of_partitions_is_another(redis, keys):
    ada = {"at:0": 7, "person": 1, "aliases": msgspec.json.encode({OF(PHONE): (5, 1)}), "events": 3}
    phone = {"at:1": 5, "alias": OF(ADA), "alias_from": 5, "alias_home": 0}
    await redis.hset(keys.user(OF(ADA)), mapping=ada)
    await redis.hset(keys.user(OF(PHONE)), mapping=phone)
    await redis.hset(keys.user("plain"), mapping={"person": 1, "aliases": b'{"a[b]":5}'})
    await _forget_offsets(redis, keys)
    one, other = [Stored.from_hash(OF(name), await redis.hgetall(keys.user(OF(name)))).profile for name in (ADA, PHONE)]
    assert (one.aliases, one.homes, other.alias, other.alias_home) == ({OF(PHONE): -1}, {OF(PHONE): 1}, OF(ADA), 0)
    await _forget_homes(redis, keys)
    one, other = [Stored.from_hash(OF(name), await redis.hgetall(keys.user(OF(name)))).profile for name in (ADA, PHONE)]
    assert (one.person, one.aliases, one.events) == (True, {}, 3)
    assert (other.alias, other.alias_home, other.alias_from) == ("", -1, -1)
    assert await redis.hget(keys.user("plain"), "aliases") == b'{"a[b]":-1}'
    await redis.delete(*(keys.user(name) for name in (OF(ADA), OF(PHONE), "plain")))
