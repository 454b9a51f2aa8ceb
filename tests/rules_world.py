"""A small world in which the eight rules must hold: lists for Kafka's topics, a real Redis, and workers that fail."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from redis.asyncio import Redis

from state.keys import Keys
from state.store import Store
from streams.follower import Fold
from streams.learned import Taught
from streams.models.ids import pack
from streams.models.models import Models
from streams.partition import partition_for
from streams.pipeline import Answer
from streams.records import Centers, Kind, Record, decode, encode, encode_centers
from streams.snapshots import freeze, thaw
from tests.rules_history import WORKERS, Step
from tests.rules_worker import NOW, PARAMETERS, SETTINGS, Message, Worker

USERS_EACH = 3


class World:
    """The topics, Redis, the workers, and what must come of it all."""

    settings = SETTINGS

    def __init__(self, redis: Redis, keys: Keys, partitions: int) -> None:
        self.redis, self.keys = redis, keys
        self.events: list[list[Message]] = [[] for _ in range(partitions)]
        self.begins = [0] * partitions
        self.users = _users(partitions)
        self.moody = {users[-1] for users in self.users}
        self.log: list[bytes] = []
        self.delayed: list[deque[tuple[str, Any]]] = []
        self.saved: list[tuple[bytes, int, bytes]] = []
        self.saved_applied: dict[int, int] = {}
        self.snapshots: list[tuple[int, bytes]] = []
        self.produced: dict[str, tuple[str, str]] = {}
        self.bad: set[tuple[int, int]] = set()
        self.dead: set[tuple[int, int]] = set()
        self.covered: dict[str, int] = {}
        self.writers = 0
        self.owners: dict[int, int] = {}
        self.workers = [Worker(self) for _ in range(WORKERS)]

    def writer(self) -> int:
        """Give a new worker the name that its records carry."""
        self.writers += 1
        return self.writers

    async def run(self, history: Iterable[Step]) -> None:
        """Go through a history, then calm down, and check that all is as it must be."""
        history, luck = [*history], 0
        if all(step.kind != "wish" for step in history):
            self.moody = set()
        for step in history:
            luck = step.luck
            partition = step.partition % len(self.events)
            await getattr(self, step.kind)(self.workers[step.worker], step._replace(partition=partition))
        await self.calm(alone=bool(luck % 2))
        await self.check()

    async def produce(self, _: Worker, step: Step) -> None:
        """Append events, of which some sit on the wrong partition and some are no events."""
        random = Random(step.luck)
        for _ in range(step.size):
            messages = self.events[step.partition]
            chance = random.random()
            if chance < 0.05:
                self.bad.add((step.partition, len(messages)))
                messages.append(Message(len(messages), b"no event"))
                continue
            homes = range(len(self.events)) if chance < 0.4 else [step.partition]
            user = random.choice([user for home in homes for user in self.users[home]])
            # Those who change their minds have clients that know where their events belong.
            away = user in self.moody and user not in self.users[step.partition]
            self._event(step.partition, self.users[step.partition][0] if away else user, chance)

    async def wish(self, _: Worker, step: Step) -> None:
        """Append events by which a user wishes to be forgotten, refuses or consents, some of them with an item."""
        random = Random(step.luck)
        for _ in range(1 + step.size % 3):
            user = random.choice([user for user in self.users[step.partition] if user in self.moody])
            kind, consent = random.choice([("forget", None), ("forget", None), ("consent", False), ("consent", True)])
            if consent is not None and random.random() < 0.5:
                self._event(step.partition, user, 0.5, consent=consent)
            else:
                self._append(
                    step.partition, user, {"type": kind} | ({} if consent is None else {"properties": {"consent": consent}})
                )

    def _event(self, partition: int, user: str, chance: float, **properties: bool) -> None:
        item, kind = f"i{len(self.produced)}", "dislike" if chance > 0.9 else "view"
        self.produced[item] = (user, kind)
        self._append(partition, user, {"type": kind, "item_id": item, "properties": properties})

    def _append(self, partition: int, user: str, body: dict[str, Any]) -> None:
        body = {"user_id": user, "timestamp": NOW + len(self.produced)} | body
        messages = self.events[partition]
        messages.append(Message(len(messages), json.dumps(body).encode(), user.encode()))

    async def carry(self, worker: Worker, step: Step) -> None:
        await worker.turn(step.size, step.luck)

    async def publish(self, worker: Worker, step: Step) -> None:
        worker.publish(step.luck)

    async def commit(self, worker: Worker, _: Step) -> None:
        await worker.finish()

    async def follow(self, worker: Worker, step: Step) -> None:
        worker.follow(step.size)

    async def rebalance(self, worker: Worker, step: Step) -> None:
        """Give a partition to a worker; the one before may not have heard of it, and goes on."""
        for other in self.workers:
            if other is not worker and step.luck % 2:
                await other.revoked(step.partition)
        await worker.assigned(step.partition)
        self.owners[step.partition] = self.workers.index(worker)

    async def crash(self, worker: Worker, step: Step) -> None:
        place = self.workers.index(worker)
        self.owners = {partition: owner for partition, owner in self.owners.items() if owner != place}
        self.workers[place] = Worker(self, oldest=step.luck % 4 == 0)

    async def fail(self, worker: Worker, step: Step) -> None:
        """Break off while publishing; then the worker crashes, or goes back."""
        worker.break_off(step.luck)
        if step.luck % 2:
            await self.crash(worker, step)

    async def half(self, worker: Worker, step: Step) -> None:
        """Lose Redis in the middle of a commit; then the worker crashes, or goes back."""
        worker.wire.room = step.luck % 4
        await worker.finish()
        worker.wire.room = None
        if step.luck % 8 > 3:
            await self.crash(worker, step)

    async def late(self, _: Worker, step: Step) -> None:
        if self.delayed:
            self._arrive_late(step.luck % len(self.delayed))

    def _arrive_late(self, place: int) -> None:
        group = self.delayed[place]
        self._arrive(*group.popleft())
        if not group:
            del self.delayed[place]

    async def save(self, _: Worker, __: Step) -> None:
        """Keep a copy of Redis, as a replica that lags behind."""
        names = sorted(await self.redis.keys(self.keys.prefix + b"*"))
        self.saved = [(key, await self.redis.pttl(key), await self.redis.dump(key)) for key in names]
        self.saved_applied = await Store(self.redis, self.keys).applied()

    async def failover(self, _: Worker, step: Step) -> None:
        """Let the copy take over; whether a worker notices that its connection broke is luck."""
        await self.redis.flushdb()
        for key, ttl, value in self.saved:
            await self.redis.restore(key, max(ttl, 0), value)
        for place, worker in enumerate(self.workers):
            worker.wire.broken = bool(step.luck >> place & 1)

    async def snapshot(self, worker: Worker, _: Step) -> None:
        """Rule 7: keep the last two snapshots."""
        frozen = freeze(worker.fold)
        if frozen.offset > (self.snapshots[-1][0] if self.snapshots else 0):
            self.snapshots = [*self.snapshots[-1:], (frozen.offset, b"".join(frozen.parts()))]

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Give the parameters of the models."""
        return PARAMETERS

    def thawed(self, *, oldest: bool) -> Fold:
        """Begin with a snapshot: the newest, or the one before where the newest is damaged."""
        if not self.snapshots:
            return Fold(Models(**self.parameters()), Taught())
        offset, data = self.snapshots[0 if oldest else -1]
        fold = thaw(data, self.parameters())
        assert fold.models.version == offset
        return fold

    async def retain(self, _: Worker, step: Step) -> None:
        """Let Kafka delete what is applied (even in Redis' lagging copy), taught and read."""
        partition = step.partition
        taught = Taught()
        for offset, value in enumerate(self.log):
            record = decode(value, offset)
            if record.kind is Kind.LESSON:
                taught.accept(record)
        applied = (await Store(self.redis, self.keys).applied()).get(partition, 0)
        read = [worker.positions.next.get(partition, applied) for worker in self.workers]
        bound = min(applied, self.saved_applied.get(partition, 0), taught.ends.get(partition, 0), *read)
        self.begins[partition] = max(self.begins[partition], bound)

    async def solve(self, worker: Worker, _: Step) -> None:
        """Log new segment centers, perhaps twice: two workers may believe that it is their turn."""
        models = worker.fold.models
        if models.segments.needs_solve():
            body = encode_centers(Centers(models.segments.generation + 1, models.time, models.segments.solve()))
            self.log.append(encode(Record(Kind.CENTERS, 0, 0, 0, 0, body)))

    def read(self, positions: dict[int, int], size: int, luck: int) -> dict[int, list[Message]]:
        """Fetch messages of some of a worker's partitions."""
        found = {}
        for place, partition in enumerate(sorted(positions)):
            at = positions[partition]
            messages = self.events[partition][at : at + size]
            if messages and (luck >> place & 1 or not found):
                assert at >= self.begins[partition]
                found[partition] = messages
        return found

    def deliver(self, answer: Answer, luck: int) -> None:
        """Let all of an answer arrive, some of it twice: at once, or as a late retry whose first try came through."""
        for group in _outgoing(answer):
            for place, one in enumerate(group):
                self._arrive(*one)
                if (luck + place) % 3 == 1:
                    self._arrive(*one)
            if luck % 5 < 2:
                self.delayed.append(deque(group))

    def deliver_part(self, answer: Answer, random: Random) -> None:
        """Let a part of an answer arrive, and a part of the rest late; a producer keeps the order of one partition."""
        for group in _outgoing(answer):
            now = random.randint(0, len(group))
            for one in group[:now]:
                self._arrive(*one)
            if rest := group[now : random.randint(now, len(group))]:
                self.delayed.append(deque(rest))

    def _arrive(self, topic: str, content: Any) -> None:
        if topic == "learned":
            self.log.append(content)
        elif topic == "dead":
            self.dead.add((content.partition, content.offset))
        elif topic == "recommendations":
            trigger, user = json.loads(content[1])["trigger"], content[0].decode()
            assert trigger["partition"] in self.answering(user)
            self.covered[user] = max(trigger["offset"], self.covered.get(user, -1))
        else:
            messages = self.events[content.partition]
            messages.append(Message(len(messages), content.value, content.key, content.timestamp, content.own()))

    def answering(self, user: str) -> Collection[int]:
        """Give the partitions whose events may be answered to a user."""
        return [partition_for(user.encode(), len(self.events))]

    async def calm(self, *, alone: bool) -> None:
        """End all trouble, then drain: each partition by the worker that has it, or all by one."""
        while self.delayed:
            self._arrive_late(0)
        for partition in range(len(self.events)):
            owner = 0 if alone else self.owners.get(partition, 0)
            for place, worker in enumerate(self.workers):
                if place != owner:
                    await worker.revoked(partition)
            if self.owners.get(partition) != owner:
                await self.workers[owner].assigned(partition)
            self.owners[partition] = owner
            # Rule 6 needs a next event, to notice that the ones before are lost.
            self._event(partition, self.users[partition][0], 0.5)
        for worker in self.workers:
            await worker.turn(1, 0)
            await worker.turn(1, 0)
            await worker.finish()
        for worker in self.workers:
            worker.follow()
            await worker.turn(1, 0)
            worker.refusals = 0
        await self._drain()

    async def _drain(self) -> None:
        """Carry on, the follower always a little behind, until nothing is left."""
        for turn in range(60 + 2 * sum(map(len, self.events))):
            for worker in self.workers:
                await worker.turn(1 + turn % 5, turn)
                worker.follow(turn % 3)
            if not any(worker.behind() for worker in self.workers):
                break
        assert not any(worker.behind() for worker in self.workers), "the workers never come to the end"
        assert not sum(worker.refusals for worker in self.workers), "a record was refused without need"

    async def check(self) -> None:
        """Assert the guarantee: profiles and models hold each event exactly once, and nothing is lost."""
        store = Store(self.redis, self.keys)
        ends = {partition: len(messages) for partition, messages in enumerate(self.events)}
        assert await store.applied() == ends, "applied is not the end"
        assert self.bad <= self.dead, "a dead letter is lost"
        homes = [self._home(partition) for partition in ends]
        found = Counter(item for home in homes for person in home.values() for item in person.sent)
        assert found == Counter(self.produced.keys()), "an event never reached its home"
        self._check_models(ends, {user: person for home in homes for user, person in home.items()})
        for home in homes:
            await self._check_users(store, home)

    def _check_models(self, ends: dict[int, int], people: dict[str, Person]) -> None:
        self.workers.append(Worker(self))
        for worker in self.workers:
            worker.follow()
        models = self.workers[0].fold.models
        assert self.workers[0].fold.taught.ends == ends, "taught is not the end"
        least, most = (sum(getattr(person, name) for person in people.values()) for name in ("least", "taught"))
        assert least <= models.events <= most, "an event was taught twice or never"
        self._check_visits(models, people)
        for worker in self.workers[1:]:
            for name, array in worker.fold.models.arrays().items():
                assert array.tobytes() == models.arrays()[name].tobytes(), f"followers disagree on {name}"

    def _check_visits(self, models: Models, people: dict[str, Person]) -> None:
        """Assert that the models hold the visits of each user that are left, in order, and nobody who was forgotten."""
        known = models.items.names(np.arange(len(models.items)))
        visited = {item for item, (_, kind) in self.produced.items() if kind == "view"}
        assert (models.visits.item_count[: len(models.items)] <= 1).all(), "a visit was taught twice"
        assert {name.decode() for name in known} <= visited
        for user, person in people.items():
            views = [item for item in person.kept if item in visited]
            (index,) = models.users.find(pack([user.encode()])).tolist()
            if index < 0:
                assert not views or "limits" in PARAMETERS, f"the models do not know {user}"
                continue
            count, ring = int(models.visits.user_count[index]), models.visits.user_items[index]
            length = len(ring)
            order = [int(ring[n % length]) for n in range(max(0, count - length), count)]
            found = ["" if item < 0 else known[item].decode() for item in order]
            if "limits" in PARAMETERS:
                assert {*found} - {""} <= {*views}, f"the visits of {user} are wrong"
            else:
                assert (count, found) == (len(views), views[-length:]), f"the visits of {user} are wrong"

    def _home(self, partition: int) -> dict[str, Person]:
        """Give what is to be known of each user at home here, by the events in their order, each as it first came."""
        found = {user: Person() for user in self.users[partition]}
        for message in self.events[partition]:
            if message.value != b"no event":
                event = json.loads(message.value)
                if event["user_id"] in found:
                    found[event["user_id"]].live(event, message.offset)
        return found

    async def _check_users(self, store: Store, home: dict[str, Person]) -> None:
        for (user, person), stored in zip(home.items(), await store.load([*home]), strict=True):
            items, partition = person.kept, partition_for(user.encode(), len(self.events))
            assert self.covered.get(user, -1) >= person.answered, f"no recommendation covers the last event of {user}"
            if not items and person.consent is None:
                assert stored is None, f"{user} is remembered"
                continue
            assert stored is not None, f"{user} is lost"
            profile = stored.profile
            history = [(entry.item_id, entry.type) for entry in stored.history]
            assert history[::-1] == [(item, self.produced[item][1]) for item in items], f"the history of {user} is wrong"
            assert profile.events == len(items), f"the events of {user} are miscounted"
            assert profile.consent is person.consent, f"the consent of {user} is wrong"
            assert profile.at[partition] >= person.last, f"the fence of {user} is wrong"
            if items:
                newest = person.fresh if user in self.moody else profile.at[partition]
                assert json.loads(stored.recommendations)["trigger"]["offset"] == newest
            else:
                assert (stored.neighbors, stored.recommendations) == (b"[]", b""), f"{user} refuses, and is remembered"


@dataclass
class Person:
    """What is to be known of a user; ``taught`` and ``least`` bound the events that the models count."""

    sent: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    consent: bool | None = None
    last: int = -1
    answered: int = -1
    fresh: int = -1
    taught: int = 0
    least: int = 0

    def live(self, event: dict[str, Any], offset: int) -> None:
        item, consent = event.get("item_id"), event.get("properties", {}).get("consent")
        if item in self.sent:
            return
        self.last = offset
        if event["type"] == "forget" or (consent is False and self.consent is not False):
            self.kept, self.consent, self.answered, self.least = [], None, -1, 0
        elif consent and self.consent is False:
            self.answered = -1
        self.consent = self.consent if consent is None else consent
        if item is not None:
            self.sent.append(item)
            self.answered = offset
            if self.consent is not False:
                self.kept.append(item)
                self.fresh = offset
                self.taught += 1
                self.least += 1


def _users(partitions: int) -> list[list[str]]:
    """Name users until every partition is home to some."""
    homes: list[list[str]] = [[] for _ in range(partitions)]
    number = 0
    while any(len(users) < USERS_EACH for users in homes):
        user = f"u{number}"
        home = homes[partition_for(user.encode(), partitions)]
        if len(home) < USERS_EACH:
            home.append(user)
        number += 1
    return homes


def _outgoing(answer: Answer) -> list[list[tuple[str, Any]]]:
    """Sort what an answer sends out by the partition it goes to: order is kept within one only."""
    groups = [[("recommendations", one)] for one in answer.recommendations]
    groups += [[("learned", record)] for record in answer.records]
    sent_on = answer.sent_on()
    homes = dict.fromkeys(event.partition for event in sent_on)
    groups += [[("events", event) for event in sent_on if event.partition == home] for home in homes]
    return groups + [[("dead", letter)] for letter in answer.dead]
