"""The rules' world with people and devices: whatever fails, each event counts once, for whom the device belongs to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import merge
from itertools import repeat
from random import Random
from typing import Any

import numpy as np
from redis.asyncio import Redis

from state.keys import Keys
from state.profiles import Profile
from state.store import Store
from streams.links import COPY, MERGE, PASSED_ON
from streams.models.ids import pack, unpack
from streams.models.models import Models
from streams.partition import partition_for
from streams.records import Kind, decode, decode_lesson
from streams.settings import Settings
from tests.rules_history import Step
from tests.rules_worker import SETTINGS, Message, Worker
from tests.rules_world import World


@dataclass
class Someone:
    """What is to be known of an id: items in the order of its history, and in that in which they are taught."""

    sent: list[str] = field(default_factory=list)
    kept: list[tuple[float, str]] = field(default_factory=list)
    learned: list[str] = field(default_factory=list)
    person: bool = False
    alias: str = ""
    devices: list[str] = field(default_factory=list)
    newest: int = -1

    def live(self, at: float, item: str) -> None:
        if item not in self.sent:
            self.sent.append(item)
            self.kept.append((at, item))
            self.learned.append(item)

    def join(self, device: str, other: Someone) -> None:
        """Take the history of a device: of two, always the newer entry first, and of equals one's own."""
        if device not in self.devices:
            self.devices.append(device)
            newest_first = merge(self.kept[::-1], other.kept[::-1], key=lambda entry: -entry[0])
            self.kept = list(newest_first)[::-1]
            self.learned += [item for _, item in other.kept]


class IdentityWorld(World):
    """Of the users of a partition the first is a person, the others are devices that may turn out to be somebody's."""

    def __init__(self, redis: Redis, keys: Keys, partitions: int, settings: Settings = SETTINGS) -> None:
        """Take the settings: with a key, pseudonyms are all that is stored, and nothing else is different."""
        self.settings = settings
        self.stored_as: Callable[[str], str] = settings.pseudonymize.of if settings.pseudonymize else str
        super().__init__(redis, keys, partitions)
        self.called = {self.stored_as(user): user for users in self.users for user in users}
        self.moody = set()
        self.people = [users[0] for users in self.users]
        self.devices = [user for users in self.users for user in users[1:]]

    def parameters(self) -> dict[str, dict[str, Any]]:
        key = {name: knobs for name, knobs in self.settings.parameters().items() if name == "pseudonyms"}
        return super().parameters() | key

    async def identify(self, _: Worker, step: Step) -> None:
        """Append an `identify`, some on a wrong partition, some of a person as a device, some by a device."""
        random = Random(step.luck)
        everybody = self.people + self.devices
        user = random.choice(self.people if random.random() < 0.9 else everybody)
        device = random.choice(self.devices if random.random() < 0.85 else everybody)
        home = partition_for(user.encode(), len(self.events))
        partition = step.partition if random.random() < 0.3 else home
        if user != device:
            self._append(partition, user, {"type": "identify", "anonymous_id": device})

    def answering(self, _user: str) -> range:
        return range(len(self.events))

    async def check(self) -> None:
        """Assert that profiles and models are those of a run in which every device used its person's id."""
        ends = {partition: len(messages) for partition, messages in enumerate(self.events)}
        store = Store(self.redis, self.keys)
        assert await store.applied() == ends, "applied is not the end"
        assert self.bad <= self.dead, "a dead letter is lost"
        everybody = {user: someone for partition in ends for user, someone in self._walk(partition).items()}
        self._check_sent(everybody)
        self.workers.append(Worker(self))
        for worker in self.workers:
            worker.follow()
        models = self.workers[0].fold.models
        for worker in self.workers[1:]:
            for name, array in worker.fold.models.arrays().items():
                assert array.tobytes() == models.arrays()[name].tobytes(), f"followers disagree on {name}"
        assert self.covered.keys() <= everybody.keys(), "somebody is answered under a pseudonym"
        if self.settings.pseudonymize:
            await self._check_hidden(everybody)
        stored_as = [self.stored_as(user) for user in everybody]
        for (user, someone), stored in zip(everybody.items(), await store.load(stored_as), strict=True):
            self._check_learned(models, user, someone)
            if not someone.kept and not someone.person and not someone.alias:
                continue
            assert stored is not None, f"{user} is lost"
            profile = stored.profile
            alias = someone.alias and self.stored_as(someone.alias)
            assert (profile.person, profile.alias) == (someone.person, alias), f"{user} is somebody else"
            history = [entry.item_id for entry in stored.history][::-1]
            assert history == [item for _, item in someone.kept], f"the history of {user} is wrong"
            assert profile.events == len(someone.kept), f"the events of {user} are miscounted"
            assert {*profile.aliases} == {*map(self.stored_as, someone.devices)}, f"the devices of {user} are wrong"
            if self.settings.pseudonymize:
                self._check_homes(profile, user, someone)
            if someone.kept and not someone.alias:
                assert json.loads(stored.recommendations)["trigger"]["offset"] == someone.newest, f"{user} is not up to date"

    def _check_homes(self, profile: Profile, user: str, someone: Someone) -> None:
        homes = {self.stored_as(device): partition_for(device.encode(), len(self.events)) for device in someone.devices}
        assert profile.homes == homes, f"the devices of {user} are sought elsewhere"
        home = partition_for(someone.alias.encode(), len(self.events)) if someone.alias else -1
        assert profile.alias_home == home, f"the person of {user} is sought elsewhere"

    async def _check_hidden(self, everybody: Iterable[str]) -> None:
        """Assert that no id of a user is in what is stored or taught."""
        names = [name async for name in self.redis.scan_iter()]
        hashes = [await self.redis.hgetall(name) for name in names if await self.redis.type(name) == b"hash"]
        values = b"\n".join([value for one in hashes for value in one.values()])
        lessons = [decode_lesson(one.body, one.version) for one in map(decode, self.log, repeat(0)) if one.kind is Kind.LESSON]
        taught = {name for lesson in lessons for ids in (lesson.user_ids, lesson.forgotten) for name in unpack(ids)}
        for user in everybody:
            assert self.keys.user(user) not in names, f"{user} is stored"
            assert not re.search(rb"\b%b\b" % user.encode(), values), f"{user} is named"
            assert user.encode() not in taught, f"{user} is taught"

    def _check_sent(self, everybody: dict[str, Someone]) -> None:
        """Assert from what was sent alone, whatever the topics say, that each event counts once and for the right person."""
        for item, (user, _) in self.produced.items():
            owner = everybody[user].alias or user
            holders = [name for name, someone in everybody.items() if item in [kept for _, kept in someone.kept]]
            assert holders == [owner], f"{item} of {user} counts for {holders}"

    def _check_learned(self, models: Models, user: str, someone: Someone) -> None:
        views = [] if someone.alias else [item for item in someone.learned if self.produced[item][1] == "view"]
        (index,) = models.users.find(pack([self.stored_as(user).encode()])).tolist()
        if index < 0:
            assert not views, f"the models do not know {user}"
            return
        known = models.items.names(np.arange(len(models.items)))
        count, ring = int(models.visits.user_count[index]), models.visits.user_items[index]
        order = [int(ring[n % len(ring)]) for n in range(max(0, count - len(ring)), count)]
        assert (count, [known[item].decode() for item in order]) == (len(views), views[-len(ring) :]), f"{user} visited otherwise"

    def _walk(self, partition: int) -> dict[str, Someone]:
        """Live through a partition's log."""
        home = {user: Someone() for user in self.users[partition]}
        for message in self.events[partition]:
            if message.value == b"no event":
                continue
            event, headers = json.loads(message.value), dict(message.headers)
            if COPY in headers:
                _merged_away(home[event["anonymous_id"]], event["anonymous_id"], self.called[headers[PASSED_ON].decode()])
            elif MERGE in headers:
                person = home[self.called[event["user_id"]]]
                self._join(person, self.called[event["anonymous_id"]], headers[MERGE])
                person.newest = message.offset
            else:
                user = self.called[headers[PASSED_ON].decode()] if PASSED_ON in headers else event["user_id"]
                if user in home and not home[user].alias:
                    _acts(home[user], event, message)
        return home

    def _join(self, person: Someone, device: str, origin: bytes) -> None:
        partition, offset = map(int, origin.split(b":"))
        before = Someone()
        for message in self.events[partition][:offset]:
            if message.value != b"no event" and not {COPY, MERGE, PASSED_ON} & {*dict(message.headers)}:
                event = json.loads(message.value)
                if event["user_id"] == device and "item_id" in event:
                    before.live(event["timestamp"], event["item_id"])
        person.join(device, before)


def _merged_away(someone: Someone, user: str, person: str) -> None:
    if not someone.person and not someone.alias and user != person:
        someone.alias, someone.kept, someone.learned = person, [], []


def _acts(someone: Someone, event: dict[str, Any], message: Message) -> None:
    if "item_id" in event:
        someone.live(event["timestamp"], event["item_id"])
        someone.newest = message.offset
    elif event["type"] == "identify":
        someone.person = True
