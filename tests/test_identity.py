"""Joining ids, message by message: what is merged, what is refused, what is sent to whom."""

from __future__ import annotations

import json
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from state.profiles import ALIASES, Profile, Stored
from state.reader import Reader
from streams.decode import Batch, DeadLetter
from streams.knobs.models import Consent, Identity
from streams.links import COPY, MERGE, PASSED_ON, UNLINK, check_ids, decode_linked
from streams.memory import Loop
from streams.models.erasing import erase
from streams.models.ids import pack
from streams.partition import partition_for
from streams.pipeline import Answer
from streams.reset import _forget_offsets
from streams.schemas import BadEvent, decode_event
from streams.settings import Settings
from streams.web.events import Events
from tests.rules_worker import Message

NOW = 1.7e9


class House:
    """One worker in memory that owns all partitions and gets what it sends."""

    def __init__(self, partitions: int = 2, **settings: object) -> None:
        self.partitions = partitions
        self.loop = Loop(Settings(**settings), partitions=partitions)  # type: ignore[arg-type]
        self.topic: dict[int, list[Message]] = defaultdict(list)
        self.read: dict[int, int] = defaultdict(int)
        self.recommended: list[dict[str, object]] = []
        self.dead: list[DeadLetter] = []
        self.answers: list[Answer] = []

    async def send(self, *bodies: dict[str, object]) -> None:
        """Send events by their users' keys, and go on until nothing is left to read."""
        for body in bodies:
            user = str(body["user_id"]).encode()
            self.append(partition_for(user, self.partitions), user, json.dumps(body).encode(), ())
            await self.settle()

    def append(self, partition: int, key: bytes, value: bytes, headers: object) -> None:
        messages = self.topic[partition]
        messages.append(Message(len(messages), value, key, headers=headers))  # type: ignore[arg-type]

    async def settle(self) -> None:
        while fresh := {p: some[self.read[p] :] for p, some in self.topic.items() if len(some) > self.read[p]}:
            batch = Batch(fresh, {partition: self.read[partition] for partition in fresh})
            answer = await self.loop.pipeline.prepare(batch, self.partitions)
            self.loop.finish(answer)
            self.read |= batch.ends()
            self.answers.append(answer)
            self.recommended += [json.loads(value) for _, value in answer.recommendations]
            self.dead += answer.dead
            for one in answer.sent_on():
                self.append(one.partition, one.key, one.value, one.own())

    def profile(self, user: str) -> Profile | None:
        return self.loop.pipeline.profiles._cache.get(user)

    def history(self, user: str) -> list[str]:
        profile = self.profile(user)
        return [entry.item_id for entry in self.loop.pipeline.profiles.entries(profile.slot)] if profile else []

    def sent(self, kind: str) -> list[Message]:
        return [one for some in self.topic.values() for one in some if kind in dict(one.headers)]


def view(user: str, item: str, **more: object) -> dict[str, object]:
    return {"type": "view", "user_id": user, "item_id": item, "timestamp": NOW, **more}


def identify(user: str, device: str) -> dict[str, object]:
    return {"type": "identify", "user_id": user, "anonymous_id": device, "timestamp": NOW}


async def test_a_merge_holds_all_that_is_known_and_nothing_that_depends_on_the_worker() -> None:
    house = House()
    await house.send(view("phone", "tea"), view("phone", "milk", type="rating", value=1.0), identify("ada", "phone"))
    (merge,) = house.sent(MERGE)
    assert json.loads(merge.value) == {
        "type": "merge",
        "user_id": "ada",
        "anonymous_id": "phone",
        "timestamp": NOW,
        "events": 2,
        "interests": {},
        "interests_at": 0.0,
        "history": [{"item_id": "milk", "type": "rating", "at": NOW}, {"item_id": "tea", "type": "view", "at": NOW}],
    }
    assert house.history("ada") == ["milk", "tea"]
    assert [one["user_id"] for one in house.recommended] == ["phone", "phone", "ada", "phone"]


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([identify("ada", "phone"), identify("bob", "phone")], "already_identified"),
        ([identify("ada", "phone"), identify("bob", "ada")], "identify_person"),
        ([identify("phone", "watch"), identify("ada", "phone")], "identify_person"),
        ([identify("ada", "phone"), identify("phone", "ada")], "identify_person"),
        ([identify("ada", "ada")], "bad_anonymous_id"),
    ],
)
async def test_who_is_a_person_or_another_persons_device_stays_so(events: list[dict[str, object]], error: str) -> None:
    house = House()
    await house.send(*events)
    assert [letter.reason.error for letter in house.dead] == [error]
    last = house.dead[0]
    assert json.loads(last.value or b"") == events[-1], "the bytes are untouched"


async def test_an_identify_that_comes_again_changes_nothing() -> None:
    house = House()
    await house.send(view("phone", "tea"), *[identify("ada", "phone")] * 3)
    assert (len(house.sent(COPY)), len(house.sent(MERGE)), house.dead) == (3, 1, [])


async def test_of_too_many_devices_the_one_that_was_active_least_recently_goes() -> None:
    house = House()
    devices = [f"device{n}" for n in range(ALIASES)]
    await house.send(*(identify("ada", device) for device in devices), view(devices[0], "tea"), identify("ada", "one more"))
    person, gone = house.profile("ada"), house.profile(devices[1])
    assert person is not None
    assert len(person.aliases) == ALIASES
    assert {*devices[:1], "one more"} <= {*person.aliases}
    assert gone is None or not gone.alias
    (unlinked,) = house.sent(UNLINK)
    assert (unlinked.key, dict(unlinked.headers)[PASSED_ON]) == (devices[1].encode(), b"ada")


async def test_an_alias_that_became_anothers_is_not_let_go_by_a_late_message() -> None:
    house = House(partitions=1)
    await house.send(identify("ada", "phone"), {"type": "forget", "user_id": "ada"}, identify("bob", "phone"))
    (unlinked,) = house.sent(UNLINK)
    house.append(0, b"phone", unlinked.value, unlinked.headers)
    await house.settle()
    phone = house.profile("phone")
    assert phone is not None
    assert phone.alias == "bob"


async def test_a_merge_does_not_judge_the_list_that_the_person_was_given() -> None:
    house = House()
    await house.send(view("bob", "tea"), view("bob", "milk"), view("ada", "tea"), view("phone", "milk"))
    judged = house.loop.fold.models.judged
    await house.send(identify("ada", "phone"))
    assert house.loop.fold.models.judged == judged


async def test_an_alias_leaves_the_models_as_if_it_had_been_erased_but_for_its_empty_row() -> None:
    emptied, erased = House(partitions=1), House(partitions=1)
    for house, close_up in ((emptied, False), (erased, True)):
        await house.send(*(view(user, item) for item in ("tea", "milk", "jam") for user in ("ada", "phone", "bob")))
        models = house.loop.fold.models
        assert {*erase(models, pack([b"phone"]), close_up=close_up).tolist()} == {0, 1, 2}
    one, other = emptied.loop.fold.models, erased.loop.fold.models
    assert (len(one.users), len(other.users)) == (3, 2)
    staying = one.users.find(pack([b"ada", b"bob"]))
    for name in ("item_count", "item_positions", "population"):
        assert np.array_equal(getattr(one.visits, name), getattr(other.visits, name)), name
    for name in ("user_items", "user_times", "user_count"):
        assert np.array_equal(getattr(one.visits, name)[staying], getattr(other.visits, name)[:2]), name
    assert np.array_equal(one.members.sizes, other.members.sizes)
    assert {name: array.tobytes() for name, array in one.popularity.arrays().items()} == {
        name: array.tobytes() for name, array in other.popularity.arrays().items()
    }
    await emptied.send(view("phone", "tea"))
    (phone,) = one.users.find(pack([b"phone"])).tolist()
    assert (int(one.visits.user_count[phone]), one.visits.population) == (1, 3)


async def test_interests_are_added_as_of_one_time() -> None:
    own = Profile("ada", interests={"tea": 1.0}, interests_at=NOW)
    own.join({"tea": 2.0, "milk": 4.0}, NOW - 30 * 86_400.0)
    assert (own.interests, own.interests_at) == ({"tea": 2.0, "milk": 2.0}, NOW)
    own.join({"tea": 1.0}, NOW + 30 * 86_400.0)
    assert own.interests == {"tea": 2.0, "milk": 1.0}


async def test_where_consent_is_required_a_merge_keeps_nothing_without_the_persons() -> None:
    house = House(consent=Consent(required=True))
    await house.send(view("phone", "tea", properties={"consent": True}), identify("ada", "phone"), view("phone", "milk"))
    assert house.history("ada") == []
    await house.send({"type": "consent", "user_id": "phone", "properties": {"consent": True}}, view("phone", "jam"))
    assert house.history("ada") == ["jam"]


@pytest.mark.parametrize(
    ("user", "device", "error"),
    [("ada", "c-1", None), ("ada", "phone", "bad_anonymous_id"), ("c-2", "c-1", "anonymous_user_id")],
)
def test_the_setting_says_which_ids_are_anonymous(user: str, device: str, error: str | None) -> None:
    event = decode_event(json.dumps(identify(user, device)).encode(), received=NOW, skew=300.0)
    settings = Settings(identity=Identity(anonymous="c-.+"))
    if error is None:
        check_ids(event, settings)
        return
    with pytest.raises(BadEvent) as bad:
        check_ids(event, settings)
    assert bad.value.error == error


def test_the_setting_must_be_a_regular_expression() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        Identity(anonymous="(")


@pytest.mark.parametrize("anonymous", ["", "c-.+"])
def test_over_http_an_identify_is_taken_only_where_the_setting_is_set(anonymous: str) -> None:
    events = Events(None, Settings(identity=Identity(anonymous=anonymous)))  # type: ignore[arg-type]
    event = decode_event(json.dumps(identify("ada", "c-1")).encode(), received=NOW, skew=300.0)
    if anonymous:
        events._check(event)
        return
    with pytest.raises(BadEvent, match=r"identity\.anonymous"):
        events._check(event)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(COPY, b"1:2")],
        [(COPY, b"1:2"), (PASSED_ON, b"")],
        [(COPY, b"1:2"), (PASSED_ON, b"\xff")],
        [(COPY, b"1:2"), (PASSED_ON, b"x" * 513)],
        [(COPY, b"-1:2"), (PASSED_ON, b"ada")],
        [(UNLINK, b"1:2"), (PASSED_ON, b"ada")],
        [(PASSED_ON, b"ada")],
    ],
)
def test_headers_that_no_worker_wrote_are_not_believed(headers: list[tuple[str, bytes]]) -> None:
    assert decode_linked(json.dumps(view("phone", "tea")).encode(), headers, received=NOW, skew=300.0) is None


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"[]", b"\xff", b'{"type":"merge"}', b'{"type":"view","user_id":"a","anonymous_id":"b","timestamp":1}'),
        b'{"type":"' + b"m" * 5_000 + b'"}',
    ],
)
def test_a_merge_that_no_worker_wrote_is_a_dead_letter(value: bytes | None) -> None:
    with pytest.raises(BadEvent) as bad:
        decode_linked(value, [(MERGE, b"1:2")], received=NOW, skew=300.0)
    assert bad.value.error == "bad_merge"
    assert len(str(bad.value)) < 400, "the sentence goes into a header"


@pytest.mark.parametrize(
    "change",
    [
        {"history": [{"item_id": "a", "type": "view", "at": -5}]},
        {"history": [{"item_id": "a", "type": "view", "at": 1e300}]},
        {"history": [{"item_id": "a", "type": "", "at": NOW}]},
        {"history": [{"item_id": "a", "type": "t" * 65, "at": NOW}]},
        {"history": [{"item_id": "", "type": "view", "at": NOW}]},
        {"timestamp": -1},
        {"events": -1},
        {"events": 10**30},
        {"interests": {"tea": -1.0}},
        {"interests_at": -1.0},
    ],
)
async def test_a_merge_that_could_not_be_taught_ends_nobody(change: dict[str, object]) -> None:
    house = House(partitions=1)
    body = {"type": "merge", "user_id": "ada", "anonymous_id": "c-1", "timestamp": NOW, "events": 1, "history": []}
    house.append(0, b"ada", json.dumps(body | change).encode(), [(MERGE, b"3:7")])
    await house.send(view("ada", "tea"))
    assert [letter.reason.error for answer in house.answers for letter in answer.dead] == ["bad_merge"]
    assert house.history("ada") == ["tea"]


async def test_a_reset_keeps_who_is_whose_alias_and_forgets_the_offsets(redis, keys, redis_server) -> None:
    await redis.hset(keys.user("phone"), mapping={"at:0": 5, "alias": "ada", "alias_from": 5})
    aliases = msgspec.json.encode({"phone": 5})
    await redis.hset(keys.user("ada"), mapping={"at:1": 7, "person": 1, "aliases": aliases, "events": 3})
    await _forget_offsets(redis, keys)
    phone, ada = [Stored.from_hash(name, await redis.hgetall(keys.user(name))).profile for name in ("phone", "ada")]
    assert (phone.alias, phone.alias_from, phone.at) == ("ada", -1, {})
    assert (ada.person, ada.aliases, ada.at) == (True, {"phone": -1}, {})
    with Reader(redis_server.url, keys.prefix.decode()) as reader:
        found = reader.user("phone")
        assert found is not None
        assert (found.user_id, found.events, found.aliases) == ("ada", 3, ["phone"])
    await redis.delete(keys.user("phone"), keys.user("ada"))
