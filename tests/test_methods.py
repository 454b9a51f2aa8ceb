"""Users are grouped through the whole pipeline by each method, with the same bytes on every follower."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
from sklearn.metrics import adjusted_rand_score

from streams.catalogue import change_of
from streams.decode import Batch
from streams.follower import Fold
from streams.knobs.models import Segments
from streams.learned import Taught
from streams.memory import Loop
from streams.models.models import Models
from streams.records import Kind, Record, decode, encode, encode_catalog
from streams.schemas import SegmentChange, decode_item
from streams.segments import Describer, Row
from streams.settings import Settings
from streams.snapshots import freeze, thaw

NOW = 1.7e9
GROUPS, MEMBERS, SHELF = 4, 50, 10
EVENTS, BATCH = 6000, 60
METHODS = {
    "kmeans": Segments(k=GROUPS, buffer=64),
    "dbstream": Segments(method="dbstream", min_share=0.05),
    "som": Segments(method="som", k=GROUPS, buffer=64),
}


def shelf(user: str) -> list[str]:
    """The items that a user visits: those of its group; a bot's and a loner's are their own."""
    kind, number = user.split("-")
    group = int(number) % GROUPS if kind == "person" else number
    return [f"{kind}-{group}-{place}" for place in range(SHELF)]


def visits() -> list[tuple[str, str]]:
    """Who visits what: people of four tastes, two bots that make a quarter of all events, and five loners."""
    random = Random(7)
    people = [f"person-{number}" for number in range(GROUPS * MEMBERS)]
    made = []
    for _ in range(EVENTS):
        chance = random.random()
        who = f"bot-{random.randrange(2)}" if chance < 0.25 else random.choice(people)
        who = f"loner-{random.randrange(5)}" if chance > 0.995 else who
        made.append((who, random.choice(shelf(who))))
    return made


def stock(items: list[str]) -> bytes:
    """The catalogue: what an item is follows from whose shelf it is on."""
    entries = []
    for place, item in enumerate(sorted(items)):
        kind, group, _ = item.split("-")
        body = {"item_id": item, "brand": f"{kind}{group}", "category": f"{kind}/{group}", "tags": [f"{kind}{group}"]}
        entries.append((0, place, decode_item(item.encode(), json.dumps(body).encode())))
    return encode(Record(Kind.CATALOG, 1, 0, 0, 0, encode_catalog(change_of(entries))))


class Told:
    """A loop that was told the world, the log that came of it, and what was said of segments."""

    def __init__(self, segments: Segments) -> None:
        self.settings = Settings(segments=segments)
        self.loop = Loop(self.settings)
        self.log: list[bytes] = []
        self.changes: list[SegmentChange] = []
        self.stored: dict[str, int | None] = {}

    async def run(self) -> Told:
        made = visits()
        self.append([stock(list({item for _, item in made}))])
        for first in range(0, EVENTS, BATCH):
            messages = [message(first + place, *one) for place, one in enumerate(made[first : first + BATCH])]
            answer = await self.loop.pipeline.prepare(Batch({0: messages}, {0: first}), 1)
            self.changes += [msgspec.json.decode(change.value, type=SegmentChange) for change in answer.segments]
            for _, value in answer.recommendations:
                said = json.loads(value)
                self.stored[said["user_id"]] = said["segment"]
            self.append(answer.records)
            self.loop.pipeline.profiles.let_go(answer.users)
        return self

    def append(self, records: list[bytes]) -> None:
        self.log += records
        self.loop.append(records)

    def people(self) -> list[str]:
        return [user for user in self.stored if user.startswith("person")]


def message(offset: int, user: str, item: str) -> SimpleNamespace:
    body = {"type": "view", "user_id": user, "item_id": item, "timestamp": NOW + offset}
    return SimpleNamespace(offset=offset, timestamp=1000 * NOW, key=None, value=json.dumps(body).encode(), headers=())


def described(models: Models) -> list[Row]:
    return Describer(Settings()).rows(models, {})


TOLD: dict[str, Told] = {}


@pytest.fixture(params=METHODS)
async def told(request) -> Told:
    """The world, told once to each method."""
    if request.param not in TOLD:
        TOLD[request.param] = await Told(METHODS[request.param]).run()
    return TOLD[request.param]


@pytest.fixture
async def dense() -> Told:
    if "dbstream" not in TOLD:
        TOLD["dbstream"] = await Told(METHODS["dbstream"]).run()
    return TOLD["dbstream"]


async def test_people_of_one_taste_are_in_one_segment(told):
    people = told.people()
    found = [told.stored[user] if told.stored[user] is not None else -1 for user in people]
    groups = [int(user.split("-")[1]) % GROUPS for user in people]
    score = adjusted_rand_score(groups, found)
    assert score >= 0.95, Counter(found)


async def test_bots_and_loners_have_no_segment_with_dbstream(dense):
    assert {user: dense.stored[user] for user in dense.stored if not user.startswith("person")} == dict.fromkeys(
        [f"bot-{number}" for number in range(2)] + [f"loner-{number}" for number in range(5)]
    )


async def test_sizes_are_those_of_the_users_and_only_segments_in_use_have_rows(told):
    models = told.loop.fold.models
    rows = described(models)
    sizes = Counter(segment for segment in told.stored.values() if segment is not None)
    assert {row.segment: row.fields["size"] for row in rows} == {row.segment: sizes[row.segment] for row in rows}
    assert set(sizes) <= {row.segment for row in rows}
    for row in rows:
        assert len(row.fields["centroid"]) == 32
        assert row.fields["drift"] >= 0
        assert NOW <= row.fields["since"] <= NOW + EVENTS


async def test_names_and_best_items_are_those_of_the_group(dense):
    for row in described(dense.loop.fold.models):
        groups = {item.split("-")[1] for item, _ in row.fields["top"][:5]}
        assert len(groups) == 1
        assert f"person{groups.pop()}" in row.fields["name"]


async def test_what_is_told_on_the_topic_leads_to_what_is_stored(told):
    now: dict[str, int | None] = {}
    for change in told.changes:
        assert change.previous == now.get(change.user_id)
        assert change.segment != change.previous
        assert (change.name is None) == (change.segment is None)
        now[change.user_id] = change.segment
    assert {user: segment for user, segment in now.items() if segment is not None} == {
        user: segment for user, segment in told.stored.items() if segment is not None
    }


def same(one: Fold, two: Fold) -> bool:
    first, second = (fold.models.arrays() for fold in (one, two))
    return first.keys() == second.keys() and all(
        (first[name].dtype, first[name].shape, first[name].tobytes())
        == (second[name].dtype, second[name].shape, second[name].tobytes())
        for name in first
    )


# With K-means the log also holds centers, which the loop adopts without logging them: tests/test_rules.py has those.
@pytest.mark.parametrize("told", ["dbstream", "som"], indirect=True)
async def test_followers_of_one_log_agree_to_the_byte_also_from_a_snapshot(told):
    parameters = told.settings.parameters()
    plain, restarted = (Fold(Models(**parameters), Taught()) for _ in range(2))
    for offset, value in enumerate(told.log):
        record = decode(value, offset)
        plain.fold(record, offset)
        restarted.fold(record, offset)
        if offset in {3, 40, 70}:
            restarted = thaw(b"".join(freeze(restarted).parts()), parameters)
    assert same(plain, restarted)
    assert same(plain, told.loop.fold)


async def test_a_segment_that_goes_leaves_nothing_behind(dense):
    fold = thaw(b"".join(freeze(dense.loop.fold).parts()), dense.settings.parameters())
    models = fold.models
    gone = described(models)[0].segment
    others = models.segments.predict(models.segments.cluster_centers_)
    assert gone in others
    assert (models.members.of_user == gone).any()
    centers = models.segments.cluster_centers_[[row.segment for row in described(models)[1:]]]
    # Nobody of that taste comes any more, for many half-lives.
    models.segments.partial_fit(centers.repeat(30_000, axis=0))
    models._statistics(SimpleNamespace(sample=[], blend_segments=[]))
    assert gone not in {row.segment for row in described(models)}
    assert not (models.members.of_user == gone).any()
    assert models.members.sizes[gone] == 0
    assert not models.popularity.counts([gone], len(models.items)).any()
    assert not models.habits.hours[gone].any()
    assert (models.members.days[:, gone] <= 0).all()
    assert (models.popularity.top_segment[gone] == -1).all()


def test_the_kernels_of_the_method_are_compiled_before_the_first_event():
    code = (
        "import asyncio; from streams.knobs.models import Segments; from streams.settings import Settings;"
        "from streams.warm import warm; from streams.models import density, kohonen, naming;"
        "[asyncio.run(warm(Settings(segments=Segments(method=method)))) for method in ('dbstream', 'som')];"
        "print(*[len(one.signatures) for one in (density.reach, density.fold, naming.named, kohonen.plane, kohonen.fold)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1 1 1 1 1", "")
