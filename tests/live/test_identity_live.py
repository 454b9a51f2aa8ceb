"""People and their devices on Apache Kafka: whatever is killed, all that the devices did counts once, for the people."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from streams.pseudonyms import Pseudonyms

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

SEED = 20_261_128
PEOPLE = 120
EACH = 50  # fewer than a history holds, or what is older would be lost by right


def lives(chance: random.Random) -> list[dict[str, object]]:
    """What people do on three ids each, shuffled, with an `identify` of each device somewhere in between, some of them twice."""
    events: list[dict[str, object]] = []
    for number in range(PEOPLE):
        ids = [f"person-{number}", f"phone-{number}", f"watch-{number}"]
        events += [{"type": "view", "user_id": chance.choice(ids), "item_id": f"item-{number}-{n}"} for n in range(EACH)]
        events += [
            {"type": "identify", "user_id": ids[0], "anonymous_id": device} for device in (*ids[1:], chance.choice(ids[1:]))
        ]
    chance.shuffle(events)
    return events


@pytest.mark.parametrize("secret", [b"", b"k" * 32], ids=["ids", "pseudonyms"])
def test_each_event_counts_once_for_the_person_through_three_kills(crew, outside, load, tmp_path, secret):
    chance = random.Random(SEED)
    events = lives(chance)
    stored_as, file = Pseudonyms(secret).of if secret else str, tmp_path / "key"
    file.write_bytes(secret)
    file.chmod(0o600)
    workers = crew(2, snapshot={"seconds": 3}, pseudonyms={"key_file": str(file) if secret else ""})
    with load(events, speed=500) as sending:
        for moment in sorted(chance.sample(range(500, len(events) - 500), 3)):
            sending.reaches(moment)
            victim = chance.choice(workers)
            victim.kill()
            victim.launch()
    for one in workers:
        one.wait_until_ready()
    outside.settle()
    stored = outside.users([stored_as(f"person-{number}") for number in range(PEOPLE)])
    people = {f"person-{number}": one for number, one in enumerate(stored.values())}
    wanted = defaultdict(set)
    for one in events:
        if one["type"] == "view":
            wanted[f"person-{one['item_id'].split('-')[1]}"].add(one["item_id"])
    for name, stored in people.items():
        found = [entry["item_id"] for entry in stored["history"]]
        assert (stored["events"], len(found), {*found}) == (EACH, EACH, wanted[name]), name
        number = name.split("-")[1]
        assert {*stored["aliases"]} == {stored_as(f"phone-{number}"), stored_as(f"watch-{number}")}
    for device in (f"{word}-{number}" for word in ("phone", "watch") for number in range(PEOPLE)):
        fields = outside.redis.hgetall(f"{outside.prefix}user:{stored_as(device)}")
        assert fields[b"alias"].decode() == stored_as(f"person-{device.split('-')[1]}")
        assert b"history" not in fields
