"""What a shop builds on: an event in by any client, an answer of the promised shape out, the state in Redis."""

from __future__ import annotations

import json
import time

from kafka import KafkaProducer

from tests.outside import Outside, as_promised, assert_exact, event
from tests.waiting import wait_until_sync


def answered(service, user, count=1):
    """Wait for so many answers to a user."""
    return wait_until_sync(lambda: len(found := service.recommendations(user)) >= count and found, what=f"{user} is answered")


def test_an_event_is_answered_as_promised(service, own):
    ada, tea, pot = own("ada"), own("tea"), own("pot")
    bob = own("bob")
    service.push(event(bob, tea), event(bob, pot))
    service.settle()
    began = time.time()
    (place,) = service.push(event(ada, tea, "click", event_id="order-9/2", session_id="s", properties={"a": [1]}))
    (answer,) = answered(service, ada)
    assert answer["user_id"] == ada
    assert answer["trigger"] == {"partition": place.partition, "offset": place.offset, "event_id": "order-9/2"}
    assert began - 5 < answer["generated_at"] < time.time() + 5
    assert 0 <= answer["latency_ms"] < (time.time() - began + 5) * 1000
    ranked = {item["item_id"]: item for item in answer["items"]}
    # Which of the two is first depends on what the blend has learned from the other tests.
    assert set(list(ranked)[:2]) == {tea, pot}
    because = {reason["source"]: reason["because"] for reason in ranked[tea]["reasons"]}
    assert because["repeat"] == [tea]
    assert {one for reason in ranked[pot]["reasons"] for one in reason["because"]} == {tea}
    assert answer["recommendation_id"] == f"{place.partition}-{place.offset}"


def test_because_names_items_of_the_users_history_only(service, own):
    items = [own(f"item{number}") for number in range(6)]
    users = [own(f"user{number}") for number in range(6)]
    service.push(*(event(user, item) for user in users for item in items[: 2 + users.index(user) % 4]))
    service.settle()
    for user in users:
        history = {entry["item_id"] for entry in service.user(user)["history"]}
        for answer in service.recommendations(user):
            for item in answer["items"]:
                assert {one for reason in item["reasons"] for one in reason["because"]} <= history


def test_one_recommendation_answers_all_events_of_a_batch_and_the_newest_covers_all(service, own):
    eve = own("eve")
    places = service.push(*(event(eve, own(f"i{number}"), event_id=f"e{number}") for number in range(20)))
    service.settle()
    answers = service.recommendations(eve)
    assert 1 <= len(answers) <= 20
    assert len({answer["recommendation_id"] for answer in answers}) == len(answers)
    assert answers[-1]["trigger"] == {"partition": places[-1].partition, "offset": places[-1].offset, "event_id": "e19"}


def test_the_user_hash_is_as_documented(service, own):
    ada, tea, cup = own("ada"), own("tea"), own("cup")
    service.send("items", [(tea.encode(), json.dumps({"item_id": tea, "brand": own("acme")}).encode())])
    wait_until_sync(lambda: service.hash(f"item:{tea}"), what="the catalogue entry")
    first = service.push(event(ada, cup, "view", timestamp=1735689600))[0]
    service.settle()
    # In a second step, so that the models know of the catalogue when the event comes.
    last = service.push(event(ada, tea, "cart", timestamp="2025-01-01T00:00:01.5Z"))[0]
    service.settle()
    user = service.user(ada)
    assert {"events", "updated_at", "history", "interests", "interests_at", "neighbors", "recommendations"} <= user.keys()
    assert {name for name in user if name.startswith("at:")} == {f"at:{last.partition}"}
    assert first.partition == last.partition
    assert user[f"at:{last.partition}"] == last.offset
    assert user["events"] == 2
    assert user["history"] == [
        {"item_id": tea, "type": "cart", "at": 1735689601.5},
        {"item_id": cup, "type": "view", "at": 1735689600.0},
    ]
    assert abs(user["updated_at"] - time.time()) < 120
    assert user["interests"] == {own("acme"): 2.0}
    assert all(isinstance(one["user_id"], str) and 0 < one["similarity"] <= 1.001 for one in user["neighbors"])
    assert user["recommendations"] == service.recommendations(ada)[-1]
    assert 80 * 86_400 < service.redis.ttl(f"{service.prefix}user:{ada}") <= 90 * 86_400


def test_neighbors_are_users_of_similar_taste(service, own):
    users = [own(f"twin{number}") for number in range(3)]
    items = [own(f"rare{number}") for number in range(3)]
    service.push(*(event(user, item) for user in users for item in items))
    service.settle()
    service.push(event(users[0], items[0]))
    service.settle()
    neighbors = service.user(users[0])["neighbors"]
    assert {one["user_id"] for one in neighbors} == {users[1], users[2]}
    similarities = [one["similarity"] for one in neighbors]
    assert similarities == sorted(similarities, reverse=True)


def test_history_keeps_the_newest_hundred_and_events_counts_all(service, own):
    events = [event(own("bot"), own(f"i{number % 7}"), "click" if number % 3 else "view") for number in range(130)]
    service.push(*events)
    service.settle()
    assert_exact(service, events)
    assert len(service.user(own("bot"))["history"]) == 100


def test_a_new_user_is_answered_at_once_with_what_is_popular(service, own):
    crowd = [event(own(f"u{number}"), own(f"hit{number % 4}"), "purchase") for number in range(40)]
    service.push(*crowd)
    service.settle()
    service.push(event(own("newcomer"), own("never-seen")))
    (answer,) = answered(service, own("newcomer"))
    assert answer["items"]
    sources = {reason["source"] for item in answer["items"] for reason in item["reasons"]}
    assert sources <= {"popular", "trending", "new", "segment"}


def test_an_event_that_says_nothing_is_answered_and_kept_too(service, own):
    service.push(event(own("idle"), own("banner"), "impression"))
    service.settle()
    assert service.user(own("idle"))["events"] == 1
    assert len(service.recommendations(own("idle"))) == 1


def test_shared_keys_hold_what_is_documented(service, own):
    events = [event(own(f"u{number % 5}"), own(f"i{number % 3}")) for number in range(30)]
    service.push(*events)
    service.settle()
    hot = own("i0")
    wait_until_sync(lambda: service.redis.zscore(f"{service.prefix}trending", hot), what="the item is trending")
    assert 9 < service.redis.zscore(f"{service.prefix}trending", hot) <= 10.5
    item = wait_until_sync(
        lambda: (found := service.hash(f"item:{hot}")).get("similar", "[]") != "[]" and found, within=60, what="similar items"
    )
    assert 9 < float(item["popularity"]) <= 10.5
    similar = json.loads(item["similar"])
    assert {own("i1"), own("i2")} == {one["item_id"] for one in similar}
    assert all(list(one) == ["item_id", "score"] for one in similar)
    assert service.redis.ttl(f"{service.prefix}item:{hot}") > 0
    _model_as_documented(service)
    assert service.applied() == service.ends()


def _model_as_documented(service):
    sent = sum(service.ends().values())
    model = wait_until_sync(lambda: (found := service.hash("model")) and found, what="the model's figures")
    assert {"version", "events", "weights", "hit_rate", "hits", "judged", "inertia"} == model.keys()
    assert int(model["version"]) > 0
    assert 0 < int(model["events"]) <= sent
    weights, rates = json.loads(model["weights"]), json.loads(model["hit_rate"])
    assert rates.keys() - weights.keys() == {"blend"}
    assert all(0 <= rate <= 1 for rate in rates.values())


def test_events_of_other_partitioners_and_without_key_are_rekeyed_and_answered_once(shared_tree, service, own):
    # librdkafka's own partitioner is CRC-32: most of its events lie where Java's would not put them.
    sent = [event(own(f"crc{number}"), own("thing")) for number in range(12)]
    unkeyed = [event(own(f"bare{number}"), own("thing")) for number in range(12)]
    with Outside(shared_tree, partitioner="consistent") as shop:
        shop.push(*sent)
        shop.push(*unkeyed, keyed=False)
    javas = [event(own(f"java{number}"), own("thing")) for number in range(12)]
    _kafka_python(shared_tree, javas)
    service.settle()
    everything = sent + unkeyed + javas
    assert_exact(service, everything)
    keys = [message.key.decode() for message in service.read("recommendations") if as_promised(message)]
    assert [keys.count(str(one["user_id"])) for one in everything] == [1] * len(everything)
    copies = [message for message in service.read("events") if "upwell.rekeyed" in message.headers]
    ours = {str(one["user_id"]) for one in sent + unkeyed}
    moved = [message for message in copies if message.key.decode() in ours]
    assert 12 <= len(moved) <= 24
    assert not [message for message in copies if message.key.decode() in {one["user_id"] for one in javas}]


def test_a_rekeyed_event_keeps_its_headers_but_those_that_only_we_write(service, own):
    lost = event(own("lost"), own("thing"))
    trace = [("traceparent", b"\xff\x00"), ("again", b"1"), ("upwell.other", b"x"), ("none", None)]
    for partition in range(4):  # one of them is the right one
        service.send("events", [(None, json.dumps(lost).encode())], partition=partition, headers=trace)
    service.settle()
    copies = [found for found in service.read("events") if found.key == str(lost["user_id"]).encode()]
    assert len(copies) == 3
    for copy in copies:
        assert (copy.headers["traceparent"], copy.headers["again"], copy.headers["none"]) == (b"\xff\x00", b"1", None)
        assert "upwell.other" not in copy.headers


def _kafka_python(tree, events):
    producer = KafkaProducer(bootstrap_servers=tree["brokers"], enable_idempotence=False)
    futures = [producer.send(tree["topics"]["events"], json.dumps(one).encode(), str(one["user_id"]).encode()) for one in events]
    for future in futures:
        future.get(timeout=30)
    producer.close()


def test_events_of_one_user_by_many_clients_make_one_exact_profile(shared_tree, service, own):
    mix = own("mix")
    rounds = [[event(mix, own(f"r{number}-{client}")) for client in range(3)] for number in range(4)]
    with Outside(shared_tree, partitioner="consistent") as other:
        for plain, crc, bare in rounds:
            service.push(plain)
            other.push(crc)
            other.push(bare, keyed=False)
            service.settle()
    user = service.user(mix)
    assert user["events"] == 12
    assert {entry["item_id"] for entry in user["history"]} == {str(one["item_id"]) for three in rounds for one in three}


def test_health_ready_and_metrics(shared_worker, service, own):
    service.push(event(own("one"), own("thing")))
    service.settle()
    status, text = shared_worker.get("/health")
    assert (status, json.loads(text)) == (200, {"status": "ok"})
    status, text = shared_worker.get("/ready")
    assert (status, json.loads(text)) == (200, {"ready": True, "log": True, "brokers": True, "redis": True})
    status, page = shared_worker.get("/metrics")
    assert status == 200
    figures = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[:1] != "#"}
    assert figures["upwell_events_total"] >= 1
    assert figures["upwell_recommendations_total"] >= 1
    assert figures["upwell_ready"] == 1
    assert figures["upwell_event_to_recommendation_seconds_count"] >= 1
    for stage in ("decode", "observe", "recommend", "publish", "commit", "fold"):
        assert figures[f'upwell_stage_seconds_count{{stage="{stage}"}}'] >= 1
    lags = [value for name, value in figures.items() if name.startswith("upwell_lag_events")]
    assert len(lags) == 4
    assert own("one") not in page
