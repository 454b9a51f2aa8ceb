"""What a user wishes, carried through the pipeline: forgotten, refused, consented, and what is taught of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from state.profiles import Profile, Stored
from streams.decode import Batch
from streams.failures import Refusal
from streams.knobs.models import Consent
from streams.memory import Loop
from streams.models.ids import unpack
from streams.models.lesson import Lesson
from streams.pipeline import Answer
from streams.records import COMMON, VERSION, Kind, Record, decode, decode_lesson, encode, with_lesson
from tests.rules_worker import SETTINGS, Message

FORGET = {"type": "forget"}
REFUSE = {"type": "consent", "properties": {"consent": False}}
AGREE = {"type": "consent", "properties": {"consent": True}}


def view(item: str, **properties: bool) -> dict[str, Any]:
    return {"type": "view", "item_id": item, "properties": properties}


class Shop:
    """One partition, carried in batches; profiles stay in memory, unless a test stores some."""

    def __init__(self, *, required: bool = False) -> None:
        self.stored: dict[str, Stored] = {}
        self.loop = Loop(SETTINGS.model_copy(update={"consent": Consent(required=required)}), reads=self)
        self.end = 0

    async def load(self, user_ids: list[str]) -> list[Stored | None]:
        return [self.stored.get(user_id) for user_id in user_ids]

    async def carry(self, *events: dict[str, Any], user: str = "ada", begin: int | None = None) -> Answer:
        begin = self.end if begin is None else begin
        bodies = [json.dumps({"user_id": user, "timestamp": 1.7e9} | one).encode() for one in events]
        messages = [Message(begin + n, body, user.encode()) for n, body in enumerate(bodies)]
        answer = await self.loop.pipeline.prepare(Batch({0: messages}, {0: begin}), 1)
        self.loop.finish(answer)
        self.end = max(self.end, begin + len(events))
        return answer

    def visits(self, user: str = "ada") -> list[str]:
        models = self.loop.fold.models
        if not self.loop.pipeline.scorer.knows(user):
            return []
        index = models.users.find(pack_one(user))[0]
        count = models.visits.user_count[index]
        return [name.decode() for name in models.items.names(models.visits.user_items[index][:count].tolist())]


def pack_one(user: str) -> Any:
    from streams.models.ids import pack

    return pack([user.encode()])


def lessons(answer: Answer) -> list[Lesson]:
    records = [decode(record, 0) for record in answer.records]
    return [decode_lesson(record.body, record.version) for record in records]


def modes(answer: Answer) -> list[tuple[str, str | int | bytes]]:
    return [(write.user_id, write.values[-1]) for writes in answer.writes.values() for write in writes]


async def test_a_lesson_is_of_version_3_only_where_somebody_is_forgotten() -> None:
    shop = Shop()
    assert [decode(record, 0).version for record in (await shop.carry(view("a"))).records] == [COMMON]
    (record,) = (await shop.carry(view("b"), FORGET)).records
    assert decode(record, 0).version == VERSION
    (lesson,) = lessons(await shop.carry(FORGET))
    assert unpack(lesson.forgotten) == [b"ada"]
    assert lesson.forgotten_at.tolist() == [3]
    assert unpack(lesson.user_ids) == []


def test_an_older_reader_stops_at_what_it_cannot_know() -> None:
    record = with_lesson(Record(Kind.LESSON, 1, 0, 0, 1, b""), Lesson())
    assert decode(encode(record), 0) == record
    with pytest.raises(Refusal, match="upgrade"):
        decode(encode(replace(record, version=VERSION + 1)), 0)
    with pytest.raises(Refusal, match="start"):
        decode(encode(replace(record, version=COMMON - 1)), 0)


async def test_what_was_before_the_wish_is_forgotten_and_what_is_after_is_learned() -> None:
    shop = Shop()
    await shop.carry(view("old"))
    answer = await shop.carry(view("same batch"), FORGET, view("new"))
    assert shop.visits() == ["new"]
    assert modes(answer) == [("ada", "anew")]
    assert [json.loads(message)["trigger"]["offset"] for _, message in answer.recommendations] == [3]
    assert answer.segments[0].value is None
    assert shop.loop.fold.models.events == 3


async def test_who_wishes_to_be_forgotten_is_given_no_list() -> None:
    shop = Shop()
    answer = await shop.carry(view("old"), FORGET)
    assert (answer.recommendations, modes(answer)) == ([], [("ada", "gone")])
    assert len(shop.loop.pipeline.profiles) == 0
    assert shop.visits() == []


async def test_others_in_the_batch_are_answered_and_taught_as_ever() -> None:
    shop = Shop()
    await shop.carry(view("x"), user="bob")
    answer = await shop.carry(FORGET, {"user_id": "bob", **view("y")}, view("z"), {"user_id": "eve", **FORGET})
    assert {key for key, _ in answer.recommendations} == {b"ada", b"bob"}
    assert (shop.visits("bob"), shop.visits()) == (["x", "y"], ["z"])


async def test_a_replay_does_not_forget_who_came_back_since() -> None:
    shop = Shop()
    back = Profile("ada", 0, {0: 5}, events=1, updated_at=1.7e9)
    shop.stored["ada"] = Stored(back, [], b"[]", b"")
    answer = await shop.carry(view("old"), FORGET)
    assert back.events == 1
    assert (answer.segments, modes(answer)) == ([], [])
    (lesson,) = lessons(answer)
    assert unpack(lesson.forgotten) == [b"ada"], "for the models have not come that far"


@pytest.mark.parametrize("events", [(view("a"),), (FORGET,)], ids=["acted", "wished"])
async def test_a_late_record_that_names_who_was_forgotten_is_noted(events: tuple[dict[str, Any], ...]) -> None:
    shop = Shop()
    (late,) = (await shop.carry(*events)).records
    await shop.carry(FORGET)
    fold = shop.loop.fold
    assert fold.stray < 0
    offset = fold.models.version
    assert not fold.fold(decode(late, offset), offset)
    assert fold.stray == offset


async def test_who_refuses_is_answered_from_the_event_at_hand_and_not_kept() -> None:
    shop = Shop()
    for user in ("bob", "eve"):
        await shop.carry(view("a"), view("b"), view("c"), user=user)
    await shop.carry(view("a"))
    assert modes(await shop.carry(REFUSE)) == [("ada", "only")]
    answer = await shop.carry(view("b"), view("c"))
    assert modes(answer) == [("ada", "only")]
    ((_, message),) = answer.recommendations
    told = json.loads(message)
    assert told["segment"] is None
    assert {item for one in told["items"] for reason in one["reasons"] for item in reason["because"]} == {"c"}
    assert shop.visits() == []
    assert [unpack(lesson.user_ids) for lesson in lessons(answer)] == [[]]
    slot = shop.loop.pipeline.profiles._cache["ada"].slot
    assert shop.loop.pipeline.profiles.histories.count[slot] == 0


async def test_a_refusal_that_is_repeated_makes_forget_once() -> None:
    shop = Shop()
    first, second = await shop.carry(view("a", consent=False)), await shop.carry(view("b", consent=False), REFUSE)
    assert [len(lesson.forgotten.ends) for lesson in (*lessons(first), *lessons(second))] == [1, 0]


async def test_consent_begins_anew_also_within_a_batch() -> None:
    shop = Shop()
    answer = await shop.carry(view("a"), REFUSE, view("b"), AGREE, view("c"))
    assert shop.visits() == ["c"]
    assert modes(answer) == [("ada", "anew")]
    profile = shop.loop.pipeline.profiles._cache["ada"]
    assert (profile.consent, profile.consent_from, profile.events) == (True, 3, 1)


async def test_consent_of_who_never_refused_changes_nothing_else() -> None:
    shop = Shop()
    await shop.carry(view("a"))
    assert modes(await shop.carry(AGREE)) == [("ada", "standing")]
    await shop.carry(view("b"))
    assert shop.visits() == ["a", "b"]


async def test_a_replay_does_not_teach_what_was_refused_before_a_consent() -> None:
    shop = Shop()
    since = Profile("ada", 0, {0: 5}, events=1, updated_at=1.7e9, consent=True, consent_from=2)
    shop.stored["ada"] = Stored(since, [], b"[]", b"")
    await shop.carry(view("refused"), view("refused too"), AGREE, view("kept"))
    assert shop.visits() == ["kept"]


async def test_where_consent_is_required_nothing_is_kept_without_a_yes() -> None:
    shop = Shop(required=True)
    answer = await shop.carry(view("a"))
    assert len(answer.recommendations) == 1
    assert (modes(answer), shop.visits()) == ([("ada", "gone")], [])
    assert [len(lesson.forgotten.ends) for lesson in lessons(answer)] == [0]
    await shop.carry(view("b", consent=True))
    await shop.carry(view("c"))
    assert shop.visits() == ["b", "c"]


async def test_where_consent_comes_to_be_required_what_was_kept_goes_with_the_next_event() -> None:
    shop = Shop(required=True)
    shop.loop.pipeline.observer._required = False
    await shop.carry(view("a"))
    shop.loop.pipeline.observer._required = True
    answer = await shop.carry(view("b"))
    assert (modes(answer), shop.visits()) == ([("ada", "gone")], [])
    assert len(answer.recommendations) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_wishes_of_strangers_and_wishes_that_come_twice_are_harmless(known: bool) -> None:
    shop = Shop()
    if known:
        await shop.carry(view("a"))
    await shop.carry(FORGET)
    await shop.carry(FORGET, FORGET, user="ada")
    await shop.carry(FORGET, user="nobody")
    await shop.carry(view("b"))
    assert shop.visits() == ["b"]
