"""What is learned, through the whole service: the right answer first, segments told, clocks that lie bounded."""

from __future__ import annotations

import json
import time
from collections import defaultdict

import pytest

from streams.embedded import RedisServer
from tests.e2e.conftest import renamed, serving
from tests.models.worlds import checkerboard
from tests.outside import Outside, event
from tests.test_methods import GROUPS as TASTES
from tests.test_methods import visits

GROUPS, SIZE = 8, 6
K = 3
# The id of a segment that was there before: so high that nobody gets it anew.
GONE = 63


@pytest.fixture(scope="module")
def board(shared_tree):
    """A service of its own that has seen the checkerboard world, step by step; the right answers, and the given ones."""
    world, right = checkerboard(GROUPS, size=SIZE)
    steps = defaultdict(list)
    started = world.times.min()
    for user, item, at in zip(world.users.tolist(), world.items.tolist(), world.times.tolist(), strict=True):
        # In one step everybody of the board visits one item.
        steps[int((at - started) // (60 * GROUPS * SIZE))].append(event(f"u{user}", f"i{item}", timestamp=at))
    with RedisServer() as redis:
        tree = renamed(shared_tree, "board", redis=redis.url, segments={"k": K})
        with serving(tree), Outside(tree) as outside:
            outside.redis.hset("board:segment:40", "name", "of the owner before, and gone")
            outside.send("items", [_entry(item) for item in sorted(set(world.items.tolist()))])
            outside.wait(lambda: outside.hash(f"item:i{world.items.max()}"), "the catalogue")
            for step in sorted(steps):
                outside.push(*steps[step])
                outside.settle()
            yield outside, right, outside.newest()


def _entry(item: int) -> tuple[bytes, bytes]:
    group = item // SIZE
    return b"i%d" % item, json.dumps({"item_id": f"i{item}", "brand": f"brand{group}", "category": f"group{group}"}).encode()


def test_in_the_checkerboard_world_the_right_answer_is_first(board):
    _, right, newest = board
    lists = [[item["item_id"] for item in newest[f"u{user}"]["items"]] for user in range(GROUPS * SIZE)]
    places = [listed.index(f"i{item}") for listed, item in zip(lists, right.tolist(), strict=True)]
    # The blend has learned from a few hundred events, and from where batches happened to end: one user's may be second.
    assert sum(place > 0 for place in places) <= 2, places
    assert max(places) <= 2, places


def test_in_the_checkerboard_world_neighbors_are_of_the_same_group(board):
    outside, _, _ = board
    for user, stored in outside.users([f"u{user}" for user in range(GROUPS * SIZE)]).items():
        mates = {int(one["user_id"][1:]) // SIZE for one in stored["neighbors"]}
        assert mates == {int(user[1:]) // SIZE}


def test_segments_are_told_on_their_topic_in_the_hashes_and_in_redis(board):
    outside, _, _ = board
    users = [f"u{user}" for user in range(GROUPS * SIZE)]
    outside.wait(lambda: outside.redis.exists("board:segment:0") or (outside.push(event("u0", "i0")) and None), "segments")
    # Every user acts once more, now that there are segments.
    outside.push(*(event(user, f"i{int(user[1:]) // SIZE * SIZE}") for user in users))
    outside.settle()
    stored = outside.users(users)
    changes = {}
    for message in outside.read("segments"):
        told = message.json
        assert list(told) == ["user_id", "segment", "previous", "name", "at"]
        assert message.key.decode() == told["user_id"]
        assert told["previous"] != told["segment"]
        assert isinstance(told["name"], str) if told["segment"] is not None else told["name"] is None
        assert told["name"] != ""
        assert isinstance(told["at"], float)
        previous = changes.get(told["user_id"])
        assert told["previous"] == (previous and previous["segment"])
        changes[told["user_id"]] = told
    assert {user: one.get("segment") for user, one in stored.items()} == {user: changes[user]["segment"] for user in users}
    newest = outside.newest()
    assert all(newest[user]["segment"] == stored[user]["segment"] for user in users)
    for k in range(K):
        segment = outside.hash(f"segment:{k}")
        assert segment.keys() == {"name", "size", "share", "growth", "top", "centroid", "since", "drift"}
        assert segment["name"]
        assert int(segment["size"]) >= 0
        assert 0 <= float(segment["share"]) <= 1
        assert segment["growth"] == "" or float(segment["growth"]) >= -1
        assert float(segment["drift"]) >= 0
        assert all(list(one) == ["item_id", "lift"] for one in json.loads(segment["top"]))
        assert len(json.loads(segment["centroid"])) == 32
    assert len({outside.hash(f"segment:{k}")["name"] for k in range(K)}) == K
    assert not outside.hash("segment:40")
    assert float(outside.hash("model")["inertia"]) >= 0
    leaves(outside)


def leaves(outside: Outside) -> None:
    """Who leaves a segment without entering another is told, and has none; last of all, lest it be somebody's neighbor."""
    now = time.time()
    outside.push(event("leaver", "i0", timestamp=now))
    outside.settle()
    entered = outside.user("leaver")["segment"]
    # As much against it as for it, at one time: nothing is left to know the user by.
    outside.push(event("leaver", "i0", "dislike", timestamp=now))
    outside.settle()
    assert "segment" not in outside.user("leaver")
    assert outside.newest()["leaver"]["segment"] is None
    mine = [message.json for message in outside.read("segments") if message.key == b"leaver"]
    assert [(told["segment"], told["previous"]) for told in mine] == [(entered, None), (None, entered)]
    assert mine[-1]["name"] is None


def test_a_clock_that_is_far_ahead_does_not_freeze_decay(service, own):
    ahead, now = 32503680000.0, time.time()  # the year 3000
    service.push(event(own("liar"), own("future"), timestamp=ahead))
    service.settle()
    assert service.user(own("liar"))["history"][0]["at"] == ahead
    # Had the clock of the models jumped, nothing of today would ever weigh anything again.
    service.push(*(event(own(f"u{number}"), own("today"), timestamp=now) for number in range(5)))
    service.settle()
    service.wait(lambda: service.redis.zscore(f"{service.prefix}trending", own("today")), "today's item is trending")
    assert service.redis.zscore(f"{service.prefix}trending", own("today")) > 4.5
    # A hundred are kept there: where others have more, it is none of them.
    assert (service.redis.zscore(f"{service.prefix}trending", own("future")) or 0.0) < 1.1
    service.push(event(own("newcomer"), own("today"), timestamp=now))
    service.settle()
    assert own("today") in {one["item_id"] for one in service.newest()[own("newcomer")]["items"]}


@pytest.fixture(scope="module")
def crowd(shared_tree):
    """A service that groups by density, and has seen people of four tastes, two bots and five loners."""
    with RedisServer() as redis:
        tree = renamed(shared_tree, "crowd", redis=redis.url, segments={"method": "dbstream", "min_share": 0.05})
        with Outside(tree) as before:
            old = {"name": "of old", "size": 1, "top": "[]", "centroid": "[]", "since": 0.0, "drift": 0.0}
            before.redis.hset(f"crowd:segment:{GONE}", mapping=old)
        with serving(tree), Outside(tree) as outside:
            entries = [(item.encode(), item.rsplit("-", 1)[0]) for item in sorted({item for _, item in visits()})]
            outside.send("items", [(item, _shelved(item, shelf)) for item, shelf in entries])
            outside.wait(lambda: outside.hash(f"item:{entries[-1][0].decode()}"), "the catalogue")
            now = time.time()
            events = [event(user, item, timestamp=now + place / 1000) for place, (user, item) in enumerate(visits())]
            for first in range(0, len(events), 300):
                outside.push(*events[first : first + 300])
                outside.settle()
            yield outside


def _shelved(item: bytes, shelf: str) -> bytes:
    return json.dumps({"item_id": item.decode(), "brand": shelf, "category": shelf.replace("-", "/"), "tags": [shelf]}).encode()


def test_with_dbstream_people_are_grouped_and_bots_and_loners_are_in_no_segment(crowd):
    stored = crowd.users(sorted({user for user, _ in visits()}))
    newest = crowd.newest()
    assert all(newest[user]["segment"] == one.get("segment") for user, one in stored.items())
    assert not [user for user, one in stored.items() if "segment" in one and not user.startswith("person")]
    of_taste = defaultdict(set)
    for user, one in stored.items():
        if user.startswith("person"):
            of_taste[int(user.split("-")[1]) % TASTES].add(one.get("segment"))
    assert sorted(map(len, of_taste.values())) == [1] * TASTES
    segments = {segment for found in of_taste.values() for segment in found}
    assert len(segments) == TASTES
    crowd.wait(lambda: segments <= kept(crowd) or (crowd.push(event("person-0", "person-0-0")) and None), "their hashes")
    assert GONE not in kept(crowd), "a segment that is no more has no hash"


def kept(outside: Outside) -> set[int]:
    return {int(key.rpartition(b":")[2]) for key in outside.redis.keys(f"{outside.prefix}segment:*")}
