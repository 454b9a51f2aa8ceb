"""Catalogue entries steer what is recommended; what may be recommended again is a policy."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing

import pytest

from streams.embedded import RedisServer
from streams.records import Kind, decode, decode_catalog
from tests.e2e.conftest import renamed, serving
from tests.outside import Outside, event
from tests.worker import WorkerProcess


def entry(item: str, **fields: object) -> tuple[bytes, bytes]:
    return item.encode(), json.dumps({"item_id": item} | fields).encode()


def recommended(service, user) -> set[str]:
    return {one["item_id"] for one in service.recommendations(user)[-1]["items"]}


def test_an_entry_is_stored_replaced_and_deleted(service, own):
    tea = own("tea")
    full = {"name": "Green tea", "brand": "Acme", "category": "grocery/drinks > tea", "price": 3.99, "tags": ["organic"]}
    service.send("items", [entry(tea, **full, available=True, url="https://shop.example/1", image="https://shop.example/1.jpg")])
    service.wait(lambda: service.hash(f"item:{tea}").get("name") == "Green tea", "the entry")
    stored = service.hash(f"item:{tea}")
    assert {name for name in stored if not name.startswith("at:")} <= {
        "name", "brand", "category", "price", "tags", "available", "url", "image", "popularity", "similar",
    }  # fmt: skip
    assert json.loads(stored["category"]) == ["grocery", "drinks", "tea"]
    assert (float(stored["price"]), json.loads(stored["tags"]), stored["available"]) == (3.99, ["organic"], "1")
    service.send("items", [entry(tea, name="Black tea")])
    service.wait(lambda: service.hash(f"item:{tea}").get("name") == "Black tea", "the entry after it")
    assert "brand" not in service.hash(f"item:{tea}")
    service.send("items", [(tea.encode(), None)])
    service.wait(lambda: "name" not in service.hash(f"item:{tea}"), "the deletion")


def test_what_is_unavailable_or_deleted_is_never_recommended_until_it_is_back(service, own):
    tea, pot, cup = own("tea"), own("pot"), own("cup")
    service.push(*(event(own(f"u{number}"), item) for number in range(5) for item in (tea, pot, cup)))
    service.settle()
    service.push(event(own("ada"), tea))
    service.settle()
    assert {pot, cup} <= recommended(service, own("ada"))
    service.send("items", [entry(pot, available=False), (cup.encode(), None)])
    _until(service, own("ada"), tea, lambda found: not {pot, cup} & found)
    service.send("items", [entry(pot, available=True), entry(cup)])
    _until(service, own("ada"), tea, lambda found: {pot, cup} <= found)


def _until(service, user, item, holds) -> None:
    """Catalogue entries and events are two topics: ask again until the entry has arrived."""

    def asked() -> bool:
        service.push(event(user, item))
        service.settle()
        return holds(recommended(service, user))

    service.wait(asked, "the catalogue change is in the recommendations")


POLICIES = {"none": {"kept", "bought", "disliked"}, "seen": set(), "purchase,dislike": {"kept"}}


@pytest.fixture(scope="module")
def policies(shared_tree):
    """A worker and a Redis for each policy, started together."""
    with ExitStack() as stack:
        trees = {
            policy: renamed(shared_tree, f"policy{number}", exclude=policy, redis=stack.enter_context(RedisServer()).url)
            for number, policy in enumerate(POLICIES)
        }
        stack.enter_context(serving(*trees.values()))
        yield {policy: stack.enter_context(Outside(tree)) for policy, tree in trees.items()}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_user_knows_is_recommended_again_by_policy(policies, policy):
    service = policies[policy]
    # Others make all three items worth recommending; more of the catalogue than ten would crowd some out.
    service.push(*(event(f"peer{number}", item) for number in range(4) for item in ("kept", "bought", "disliked", "new")))
    service.settle()
    service.push(event("ada", "kept"), event("ada", "bought", "purchase"), event("ada", "disliked", "dislike"))
    service.settle()
    service.push(event("ada", "kept"))
    service.settle()
    assert recommended(service, "ada") & {"kept", "bought", "disliked"} == POLICIES[policy]
    assert "new" in recommended(service, "ada")


def test_a_catalogue_entry_alone_makes_an_item_findable_by_its_content(policies, own):
    # Where there are few other items, so that none crowds it out.
    service = policies["none"]
    worn, fresh = own("worn"), own("fresh")
    service.send(
        "items", [entry(worn, brand=own("acme"), tags=[own("rare")]), entry(fresh, brand=own("acme"), tags=[own("rare")])]
    )
    _until(service, own("ada"), worn, lambda found: fresh in found)
    ranked = {one["item_id"]: one for one in service.recommendations(own("ada"))[-1]["items"]}
    assert "content" in {reason["source"] for reason in ranked[fresh]["reasons"]}


@pytest.fixture
def own_redis(shared_tree):
    """A worker with topics and a Redis of its own."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        tree = renamed(shared_tree, "stock", redis=redis.url)
        (worker,) = stack.enter_context(serving(tree))
        yield stack.enter_context(Outside(tree)), worker


def test_what_redis_lost_of_the_catalogue_comes_back(own_redis):
    service, worker = own_redis
    stock = [entry(f"item{n}", name=f"Item {n}", brand="Acme") for n in range(700)]
    service.send("items", [*stock, entry("gone", name="Gone"), (b"gone", None), entry("item5", name="Renamed"), (None, b"{")])

    def whole(n: int) -> bool:
        return service.hash(f"item:item{n}").get("name") == ("Renamed" if n == 5 else f"Item {n}")

    service.wait(lambda: all(whole(n) for n in (0, 5, 699)), "the entries")
    service.wait(lambda: service.hash("catalogue").get("whole") == "1", "the mark")
    service.wait(lambda: len(service.read("dead")) == 1, "the dead letter")
    service.redis.flushall()
    service.wait(lambda: all(map(whole, range(700))), "the entries once more")
    assert "name" not in service.hash("item:gone")
    assert len(service.read("dead")) == 1
    # Also while nobody was there.
    worker.stop()
    service.redis.flushall()
    worker.start()
    service.wait(lambda: all(map(whole, range(700))), "the entries of the worker after it")


def test_what_redis_lost_of_the_catalogue_alone_comes_back(own_redis):
    service, worker = own_redis
    (place,) = service.send("items", [entry("cup", name="Cup")])
    service.wait(lambda: service.hash("catalogue").get("whole") == "1", "the mark")
    service.wait(lambda: service.hash("catalogue").get(f"end:{place.partition}") == str(place.offset + 1), "the entry is kept")

    def lose() -> None:
        """As where a replica took over that had the model's figures, but not what came after them."""
        with service.redis.pipeline(transaction=True) as lost:
            lost.delete(f"{service.prefix}item:cup")
            lost.hset(f"{service.prefix}catalogue", f"end:{place.partition}", place.offset)
            lost.execute()

    def back() -> bool:
        return service.hash("item:cup").get("name") == "Cup"

    assert back()
    lose()
    service.wait(back, "the entry, for the worker knows that it kept it")
    worker.stop()
    lose()
    worker.start()
    service.wait(back, "the entry, for Kafka knows that it was acknowledged")


@pytest.fixture
def few_items(shared_tree):
    """A worker whose models hold 10,000 items, with topics and a Redis of its own."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        tree = renamed(shared_tree, "few", redis=redis.url, models={"max_items": 10_000})
        stack.enter_context(serving(tree))
        yield stack.enter_context(Outside(tree))


def taught(service, item: str) -> int:
    """How many records of the learned log say something of an item's entry."""
    records = (decode(message.value, message.place.offset) for message in service.read("learned"))
    changes = [decode_catalog(record.body) for record in records if record.kind is Kind.CATALOG]
    return sum(item.encode() in change.item_ids.blob.tobytes() for change in changes)


def test_an_item_that_left_the_models_has_its_entry_again_soon_after_it_is_back(few_items):
    service = few_items
    service.send("items", [entry("hidden-one", available=False)])
    service.wait(lambda: service.hash("catalogue").get("whole") == "1", "the mark: nothing is read once more")
    service.wait(lambda: taught(service, "hidden-one"), "its record")
    service.send("items", [entry(f"item{n}") for n in range(11_000)])
    service.wait(lambda: taught(service, "item10999"), "records of more than there is room for")
    before = taught(service, "hidden-one")
    service.push(*(event(f"u{number}", item) for number in range(5) for item in ("tea", "hidden-one", "pot")))
    service.settle()
    service.wait(lambda: taught(service, "hidden-one") == before + 1, "its record once more")
    _until(service, "ada", "tea", lambda found: "pot" in found and "hidden-one" not in found)


def test_a_worker_that_fails_on_an_entry_ends_and_the_entry_waits_for_the_next(shared_tree, name):
    with RedisServer() as redis, closing(WorkerProcess(renamed(shared_tree, name("wrong"), redis=redis.url))) as worker:
        _fails_once(worker)


def _fails_once(worker) -> None:
    with Outside(worker.settings) as outside:
        worker.start()
        outside.redis.set(f"{outside.prefix}item:tea", "no entry of ours", ex=600)
        outside.send("items", [entry("tea", name="Tea")])
        outside.wait(lambda: not worker.alive, "the worker ends")
        worker.kill()
        assert worker.exit_code == 1, worker.words()
        assert "WRONGTYPE" in worker.words()
        outside.redis.delete(f"{outside.prefix}item:tea")
        worker.start()
        outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea", "the entry")


def test_a_worker_stops_while_an_entry_waits_for_redis_and_the_entry_waits_for_the_next(shared_tree, name):
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        worker = stack.enter_context(closing(WorkerProcess(renamed(shared_tree, name("waits"), redis=redis.url))))
        outside = stack.enter_context(Outside(worker.settings))
        worker.start()
        redis.stop()
        outside.send("items", [entry("tea", name="Tea")])
        outside.wait(lambda: "the catalogue:" in worker.words(), "the worker says that it waits")
        worker.stop()
        assert worker.exit_code == 0, worker.words()
        redis.start()
        worker.start()
        outside.wait(lambda: outside.hash("item:tea").get("name") == "Tea", "the entry")
