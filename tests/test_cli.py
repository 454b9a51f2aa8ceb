"""The command line, from outside: what it prints, how it exits, what it does on real servers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from state import items as stored_items
from state import segments as stored_segments
from state import trending as stored_trending
from state.connection import connect
from state.keys import Keys
from state.profiles import ONLY_STANDING, Profile, Write
from state.store import Applied, Store
from streams import cli
from streams.commands import output
from streams.partition import partitions_for

ROOT = Path(__file__).parents[1]
PARTITIONS = 4
NASTY = "x\x1b[31m\r\n\u202e[bold]red[/bold]:smile:\x9b"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch, tmp_path):
    for variable in os.environ:
        if variable.startswith("UPWELL_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command; gives its exit status, standard output and standard error."""

    def run(*arguments: str):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def kafka_options(broker, name):
    """Options for topics of this test's own."""
    roles = ("events", "items", "recommendations", "segments", "dead", "redriven", "learned")
    topics = [word for role in roles for word in ("--set", f"topics.{role}={name(role)}")]
    return ["--brokers", broker.address, "--set", f"partitions={PARTITIONS}", *topics]


@pytest.fixture
def redis_options(redis_server, prefix):
    return ["--redis", redis_server.url, "--prefix", prefix]


@pytest.fixture
def messages(broker):
    """Read all messages of a topic, in order of partition and offset."""

    async def read(topic: str):
        consumer = AIOKafkaConsumer(bootstrap_servers=broker.address, enable_auto_commit=False)
        await consumer.start()
        try:
            await consumer.topics()
            places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
            if not places:
                return []
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            found = []
            for place in places:
                while await consumer.position(place) < ends[place]:
                    found += (await consumer.getmany(place, timeout_ms=1000)).get(place, [])
            return found
        finally:
            await consumer.stop()

    return lambda topic: asyncio.run(read(topic))


@pytest.fixture
def store(redis_server, prefix):
    """Write to Redis as the worker does."""

    def write(what: Callable[..., Awaitable[object]]):
        async def with_client():
            client = connect(redis_server.url)
            try:
                await what(client, Keys(prefix))
            finally:
                await client.aclose()

        asyncio.run(with_client())

    return write


def commands(app: typer.Typer = cli.app, path: tuple[str, ...] = ()):
    group = typer.main.get_command(app)
    return [*_below(group, path)]


def _below(command, path):
    for name, below in getattr(command, "commands", {}).items():
        yield (*path, name), below
        yield from _below(below, (*path, name))


LEAVES = [path for path, command in commands() if not hasattr(command, "commands")]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_of_every_command_teaches_by_example(run, path):
    status, out, err = run(*path, "--help")
    assert (status, err) == (0, "")
    assert f"  upwell {' '.join(path)}" in out
    assert "--config" in out
    assert "--set" in out


def test_help_names_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    assert all(f"  {path[0]} " in out for path in LEAVES)


def test_the_command_line_imports_nothing_slow_before_it_knows_what_to_do():
    slow = {"numpy", "numba", "pyarrow", "aiokafka", "redis", "pydantic", "faust", "msgspec"}
    script = f"import sys, streams.cli; found = {slow!r} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recommend", "x", "--set", "intake.batch_events=0"], ["intake.batch_events", "'0'"]),
        (["recommend", "x", "--set", "intake.nonsense=1"], ["intake.nonsense"]),
        (["recommend", "x", "--set", "nonsense"], ["'nonsense'", "SECTION.NAME=VALUE"]),
        (["push", "x", "--brokers", "nowhere"], ["brokers", "'nowhere'"]),
        (["worker", "--http", "somewhere"], ["http", "'somewhere'"]),
        (["worker", "--partitions", "0"], ["partitions", "0"]),
        (["doctor", "--config", "missing.toml"], ["missing.toml"]),
        (["demo", "--redis", "http://x"], ["redis", "rediss://"]),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_status_2(run, arguments, said):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in said)


def test_an_option_wins_over_the_environment_and_that_over_the_file(run, monkeypatch, tmp_path, redis_server, store):
    store(lambda redis, keys: stored_trending.replace(redis, keys, {"a": 1.0}))
    file = tmp_path / "upwell.toml"
    file.write_text('redis = "redis://127.0.0.1:1/0"\n')
    assert run("trending")[0] == 1
    monkeypatch.setenv("UPWELL_REDIS", "redis://127.0.0.1:2/0")
    assert "127.0.0.1:2" in run("trending")[2]
    assert "no" in run("trending", "--redis", redis_server.url, "--prefix", "empty:")[2]


@pytest.mark.parametrize(
    "arguments",
    [["recommend", "x"], ["user", "x"], ["item", "x"], ["segments"], ["trending"]],
    ids=lambda arguments: arguments[0],
)
def test_where_redis_is_away_one_sentence_says_where_and_what_helps(run, arguments):
    status, out, err = run(*arguments, "--redis", "redis://:secret@127.0.0.1:1/0")
    assert (status, out) == (1, "")
    assert "127.0.0.1:1" in err
    assert "UPWELL_REDIS" in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["push", "-"], ["dead", "list"], ["dead", "redrive"], ["reset"]], ids=" ".join)
def test_where_the_broker_is_away_one_sentence_says_where_and_what_helps(run, arguments, tmp_path):
    (tmp_path / "x").write_text("user_id,item_id\na,b\n")
    status, out, err = run(*[word.replace("-", "x") if word == "-" else word for word in arguments], "--brokers", "127.0.0.1:1")
    assert (status, out) == (1, "")
    assert "127.0.0.1:1" in err
    assert "--brokers" in err
    assert len(err.splitlines()) == 1


def test_pushed_events_are_in_the_topic_under_their_user_where_every_client_would_put_them(
    run, kafka_options, messages, name, tmp_path
):
    rows = [f"u{n % 17}é,i{n},{1_700_000_000 + n}" for n in range(500)]
    (tmp_path / "x.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    status, out, err = run("push", "x.csv", "--json", *kafka_options)
    summary = json.loads(out)
    assert (status, err, summary["sent"], summary["bad"]) == (0, "", 500, 0)
    assert summary["seconds"] > 0
    found = messages(name("events"))
    events = [json.loads(message.value) for message in found]
    assert sorted(event["item_id"] for event in events) == sorted(f"i{n}" for n in range(500))
    assert all(message.key.decode() == event["user_id"] for message, event in zip(found, events, strict=True))
    assert [message.partition for message in found] == list(partitions_for([message.key for message in found], PARTITIONS))


def test_push_tells_bad_lines_sends_the_others_and_fails(run, kafka_options, messages, name, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"user_id":1,"item_id":2}\nno json\n{"user_id":1}\n{"user_id":1,"item_id":3}\n')
    status, out, err = run("push", "x.jsonl", *kafka_options)
    assert (status, out) == (1, "")
    assert "x.jsonl:2: " in err
    assert "x.jsonl:3: item_id is empty" in err
    assert "sent 2 events" in err
    assert len(messages(name("events"))) == 2
    assert run("push", "x.jsonl", "--skip-bad", *kafka_options)[0] == 0


def test_push_does_not_tell_a_thousand_bad_lines_one_by_one(run, kafka_options, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\n" + ",b\n" * 1000 + "a,b\n")
    status, out, err = run("push", "x.csv", "--json", *kafka_options)
    assert status == 1
    assert json.loads(out) == {"sent": 1, "seconds": json.loads(out)["seconds"], "bad": 1000}
    assert len(err.splitlines()) == 21
    assert "1,000 lines could not be read" in err


def test_push_stops_at_its_limit(run, kafka_options, messages, name, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\n" + "a,b\n" * 100)
    assert run("push", "x.csv", "--limit", "7", *kafka_options)[0] == 0
    assert len(messages(name("events"))) == 7


def test_push_keeps_a_given_speed(run, kafka_options, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\n" + "a,b\n" * 100)
    _, out, _ = run("push", "x.csv", "--speed", "200", "--json", *kafka_options)
    assert 0.4 <= json.loads(out)["seconds"] < 5


def test_push_sends_a_catalogue_to_the_items_topic(run, kafka_options, messages, name, tmp_path):
    (tmp_path / "x.csv").write_text("item_id,title,price\n7,Milk,1.5\n,Tea,2\n8,,\n")
    status, _, err = run("push", "x.csv", "--items", "--skip-bad", *kafka_options)
    assert status == 0
    assert "x.csv:3: is empty" in err
    found = {message.key: json.loads(message.value) for message in messages(name("items"))}
    assert found == {b"7": {"item_id": "7", "name": "Milk", "price": 1.5}, b"8": {"item_id": "8"}}


def test_push_reads_columns_and_type_given_by_hand(run, kafka_options, messages, name, tmp_path):
    (tmp_path / "x.csv").write_text("who,what\na,b\n")
    options = ["--column", "user_id=who", "--column", "item_id=what", "--type", "cart"]
    assert run("push", "x.csv", *options, *kafka_options)[0] == 0
    assert [json.loads(message.value) for message in messages(name("events"))] == [
        {"type": "cart", "user_id": "a", "item_id": "b"}
    ]


@pytest.mark.parametrize("options", [[], ["--column", "user_id=nobody"], ["--column", "user=who"]])
def test_push_of_a_file_without_users_names_its_columns_and_makes_no_topic(run, kafka_options, messages, name, options, tmp_path):
    (tmp_path / "x.csv").write_text("who,what\na,b\n")
    status, out, err = run("push", "x.csv", *options, *kafka_options)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert messages(name("events")) == []


def bury(broker, name, letters):
    async def send():
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            for key, value, headers in letters:
                named = [(f"upwell.{header}", text.encode()) for header, text in headers.items()]
                await producer.send_and_wait(name("dead"), value, key, headers=named)

    asyncio.run(send())


def together(broker, topic, values):
    """Messages of one batch on partition 0."""

    async def send():
        async with AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
            batch = producer.create_batch()
            for value in values:
                batch.append(key=None, value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))

    asyncio.run(send())


async def create(broker, topic):
    """A topic of one partition, as the command makes it; one that is sent to before would have more."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


def headers(name, error: str = "bad_json", offset: int = 3):
    return {
        "topic": name("events"), "partition": "2", "offset": str(offset), "stage": "decode", "error": error, "message": NASTY,
    }  # fmt: skip


@pytest.fixture
def letters(run, broker, name, kafka_options, tmp_path):
    """Three dead letters of two reasons."""
    (tmp_path / "one.csv").write_text("user_id,item_id\na,b\n")
    assert run("push", "one.csv", "--limit", "1", *kafka_options)[0] == 0
    sent = [
        (b"k1", NASTY.encode() + b"\xff\x00", headers(name)),
        (None, b"{" * 2000, headers(name, offset=4)),
        (b"k3", b"", headers(name, "bad_time")),
    ]
    bury(broker, name, sent)
    return sent


def test_dead_letters_are_listed_with_their_place_reason_and_first_bytes(run, letters, kafka_options, name):
    status, out, _ = run("dead", "list", "--json", *kafka_options)
    told = json.loads(out)
    assert status == 0
    assert (told["total"], told["counts"]) == (3, {"bad_json": 2, "bad_time": 1})
    by_error = {one["bytes"]: one for one in told["dead"]}
    assert by_error[2000]["origin"] == f"{name('events')}-2-4"
    assert by_error[0]["stage"] == "decode"
    assert by_error[len(letters[0][1])]["begins"].endswith("\\xff\\x00")


def test_dead_letters_that_came_in_one_batch_are_all_listed(run, letters, broker, kafka_options, name):
    together(broker, name("dead"), [b"x"] * 7)
    assert json.loads(run("dead", "list", "--json", *kafka_options)[1])["total"] == len(letters) + 7


@pytest.mark.usefixtures("letters")
def test_dead_letters_can_be_listed_by_reason(run, kafka_options):
    told = json.loads(run("dead", "list", "--error", "bad_time", "--json", *kafka_options)[1])
    assert (told["total"], len(told["dead"])) == (1, 1)


@pytest.mark.usefixtures("letters")
def test_what_strangers_wrote_cannot_move_the_cursor(run, kafka_options):
    for options in ([], ["--json"]):
        out = run("dead", "list", *options, *kafka_options)[1]
        assert all(letter.isprintable() or letter == "\n" for letter in out)


def redriven(messages, name):
    return [(message.key, message.value) for message in messages(name("events")) if message.key != b"a"]


def test_dead_letters_are_redriven_once_with_their_bytes_and_key(run, letters, kafka_options, group, messages, name):
    options = ["--json", "--group", group, *kafka_options]
    assert json.loads(run("dead", "redrive", "--dry-run", *options)[1])["waiting"] == 3
    assert redriven(messages, name) == []
    told = json.loads(run("dead", "redrive", *options)[1])
    assert told == {"redriven": 3, "waiting": 0, "doubtful": [], "counts": {"bad_json": 2, "bad_time": 1}}
    assert sorted(redriven(messages, name), key=str) == sorted([(key, value) for key, value, _ in letters], key=str)
    assert json.loads(run("dead", "redrive", *options)[1])["redriven"] == 0
    assert len(redriven(messages, name)) == 3


@pytest.mark.usefixtures("letters")
def test_a_reason_redriven_alone_is_not_redriven_again_with_all(run, broker, kafka_options, group, messages, name):
    options = ["--json", "--group", group, *kafka_options]
    assert json.loads(run("dead", "redrive", "--error", "bad_time", *options)[1])["redriven"] == 1
    assert json.loads(run("dead", "redrive", "--error", "bad_time", *options)[1])["redriven"] == 0
    assert json.loads(run("dead", "redrive", *options)[1])["redriven"] == 2
    bury(broker, name, [(b"k9", b"late", headers(name, "bad_time"))])
    assert json.loads(run("dead", "redrive", "--error", "bad_time", *options)[1])["redriven"] == 1
    assert len(redriven(messages, name)) == 4


@pytest.mark.usefixtures("letters")
def test_a_letter_that_names_a_foreign_topic_stays(run, broker, kafka_options, group, name):
    bury(broker, name, [(b"k", b"v", headers(name) | {"topic": "somebody.elses"})])
    status, out, err = run("dead", "redrive", "--json", "--group", group, *kafka_options)
    assert json.loads(out)["redriven"] == 3
    assert "1 of them" in err
    assert status == 0


@pytest.mark.usefixtures("letters")
def test_a_letter_is_redriven_by_its_place_and_sent_twice_only_by_name(run, kafka_options, group, messages, name):
    options = ["--json", "--group", group, *kafka_options]
    place = f"{name('events')}-2-4"
    assert json.loads(run("dead", "redrive", "--place", place, *options)[1])["redriven"] == 1
    assert json.loads(run("dead", "redrive", "--place", place, *options)[1])["redriven"] == 0
    assert json.loads(run("dead", "redrive", "--place", place, "--again", *options)[1])["redriven"] == 1
    assert len(redriven(messages, name)) == 2
    assert run("dead", "redrive", "--again", *options)[0] == 2


@pytest.mark.usefixtures("letters")
def test_letters_are_chosen_by_time(run, kafka_options, group):
    for choice, total in ((["--since", "1h"], 3), (["--until", "1h"], 0), (["--since", "2099-01-01"], 0)):
        assert json.loads(run("dead", "list", "--json", *choice, *kafka_options)[1])["total"] == total
        told = run("dead", "redrive", "--dry-run", "--json", "--group", group, *choice, *kafka_options)[1]
        assert json.loads(told)["waiting"] == total
    status, _, err = run("dead", "list", "--since", "yesterday", *kafka_options)
    assert (status, "is no time" in err) == (2, True)


@pytest.mark.usefixtures("letters")
def test_without_transactions_what_was_in_hand_when_a_redrive_was_killed_is_told_and_not_sent_twice(
    run, broker, kafka_options, group, messages, name
):
    origins = [(f"{name('events')}-2-4", b"{" * 2000), (f"{name('events')}-2-3", b"")]
    asyncio.run(create(broker, name("redriven")))
    cut = {"topic": name("dead"), "done": False, "sent": [(origin, zlib.crc32(value)) for origin, value in origins]}
    together(broker, name("redriven"), [json.dumps(cut).encode(), json.dumps(cut | {"topic": "another"}).encode()])
    status, out, err = run("dead", "redrive", "--json", "--group", group, *kafka_options)
    told = json.loads(out)
    assert (status, told["redriven"], len(told["doubtful"])) == (0, 1, 2)
    assert "2 were in hand" in err
    named = [word for place in told["doubtful"] for word in ("--place", place)]
    assert json.loads(run("dead", "redrive", "--json", "--again", *named, "--group", group, *kafka_options)[1])["redriven"] == 2
    assert len(redriven(messages, name)) == 3


def test_a_letter_is_shown_whole(run, letters, kafka_options, name):
    nasty, place = letters[0][1], f"{name('events')}-2-4"
    told = json.loads(run("dead", "inspect", place, "--json", *kafka_options)[1])
    assert base64.b64decode(told["value"]) == letters[1][1]
    own = next(one for one in json.loads(run("dead", "list", "--json", *kafka_options)[1])["dead"] if one["bytes"] == len(nasty))
    out = run("dead", "inspect", own["place"], *kafka_options)[1]
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert "78 1b 5b 33 31 6d" in out, "the hexdump"


def test_the_place_of_a_fault_is_shown_with_a_caret_and_the_fix(run, letters, broker, kafka_options, name):
    value = b'{"type":"view","user_id":12.0,"item_id":"tea"}'
    bury(broker, name, [(b"k", value, headers(name, "bad_user_id", 9))])
    place = f"{name('events')}-2-9"
    lines = run("dead", "inspect", place, *kafka_options)[1].splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  {"))
    assert lines[at + 1].index("^") == lines[at].index("12.0")
    assert any(line.startswith("fix ") and "never 12.0" in line for line in lines)
    told = json.loads(run("dead", "inspect", place, "--json", *kafka_options)[1])
    assert told["fault"] == {"byte": 25, "line": 1, "column": 26, "field": "user_id", "length": 4}
    assert letters


@pytest.mark.usefixtures("letters")
def test_a_letter_that_is_not_there_or_no_place_is_told(run, kafka_options):
    assert run("dead", "inspect", "0:999", *kafka_options)[0] == 1
    assert run("dead", "inspect", "seventeen", *kafka_options)[0] == 2


def test_the_bytes_of_a_letter_come_out_as_they_are(letters, kafka_options, name):
    command = [sys.executable, "-m", "streams.cli", "dead", "inspect", f"{name('events')}-2-3", "--raw", *kafka_options]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout in {letters[0][1], letters[2][1]}


def test_without_a_topic_there_are_no_dead_letters(run, kafka_options):
    assert json.loads(run("dead", "list", "--json", *kafka_options)[1])["total"] == 0
    assert json.loads(run("dead", "redrive", "--json", *kafka_options)[1])["redriven"] == 0


MESSAGE = {
    "recommendation_id": "1-7",
    "user_id": NASTY,
    "generated_at": 1_700_000_000.5,
    "trigger": {"partition": 1, "offset": 7, "event_id": None},
    "segment": 3,
    "model_version": 9,
    "items": [
        {"item_id": "i2", "score": 0.5, "reasons": [{"source": "covisit", "share": 0.75, "because": ["i1"]}]},
        {"item_id": "i1", "score": 0.1, "reasons": [{"source": "new", "share": 1.0, "because": []}], "propensity": 0.0125},
    ],
    "latency_ms": 1.5,
}


def profile() -> Write:
    return Profile(
        user_id=NASTY,
        partition=1,
        at={1: 7},
        events=2,
        updated_at=1_700_000_000.0,
        segment=3,
        interests={"brand:acme": 2.0},
    ).write(
        1,
        json.dumps([{"item_id": "i1", "type": "view", "at": 1_699_999_999.0}]).encode(),
        b'[{"user_id":"u9","similarity":0.25}]',
        json.dumps(MESSAGE).encode(),
    )


@pytest.fixture
def state(store):
    async def write(redis, keys):
        await Store(redis, keys).commit({1: [profile()]}, {1: Applied(None, 8)})
        entries = [
            stored_items.CatalogueEntry(item, 0, {"name": name, "price": 1.5})
            for item, name in (("i1", "Milk"), ("i2", f"Tea {NASTY}"))
        ]
        await stored_items.write_catalogue(redis, keys, 0, entries)
        await stored_trending.replace(redis, keys, {"i2": 2.5, "i1": 1.0})
        figures = {"size": 10, "share": 0.4, "centroid": [0.0, 1.0], "since": 1.7e9, "drift": 0.1}
        await stored_segments.write(redis, keys, 3, name="dairy", growth=0.25, top=[("i1", 2.0)], **figures)
        await stored_segments.write(redis, keys, 5, name="tea", growth=None, top=[], **figures | {"centroid": [1.0, 0.0]})

    store(write)


@pytest.mark.usefixtures("state")
def test_recommend_prints_the_message_or_a_table_with_names_and_reasons(run, redis_options):
    status, out, _ = run("recommend", *redis_options, "--json", "--", NASTY)
    assert (status, json.loads(out)) == (0, MESSAGE)
    out = run("recommend", *redis_options, "--", NASTY)[1]
    assert "covisit 75%" in out
    assert "1.2%" in out
    assert "Milk" in out


@pytest.mark.usefixtures("state")
def test_user_prints_the_profile(run, redis_options):
    told = json.loads(run("user", *redis_options, "--json", "--", NASTY)[1])
    assert (told["events"], told["segment"], told["at"]) == (2, 3, {"1": 7})
    out = run("user", *redis_options, "--", NASTY)[1]
    assert all(word in out for word in ("segment 3", "brand:acme", "u9", "Milk", "view"))
    assert "consent" not in out


@pytest.mark.parametrize(
    ("consent", "said"), [(True, "ada: 2 events, segment 3, consents, last"), (False, "ada: refuses; nothing else is kept")]
)
def test_user_says_what_the_user_said_of_consent(run, redis_options, store, consent, said):
    spoken = Profile("ada", 1, {1: 7}, events=2, updated_at=1.7e9, segment=3, consent=consent)
    write = spoken.write(1, b"[]", b"[]", b"") if consent else spoken.write_standing(1, ONLY_STANDING)
    store(lambda redis, keys: Store(redis, keys).commit({1: [write]}, {1: Applied(None, 8)}))
    assert json.loads(run("user", *redis_options, "--json", "ada")[1])["consent"] is consent
    assert said in run("user", *redis_options, "ada")[1]


@pytest.mark.usefixtures("state")
def test_item_segments_and_trending_print_what_is_stored(run, redis_options):
    assert json.loads(run("item", "i1", "--json", *redis_options)[1])["name"] == "Milk"
    assert "Milk" in run("item", "i1", *redis_options)[1]
    assert json.loads(run("segments", "--json", *redis_options)[1])["segments"][0]["name"] == "dairy"
    shown = run("segments", *redis_options)[1]
    assert all(word in shown for word in ("Milk 2.0x", "dairy", "tea", "40%", "+25%", "growth"))
    assert [one["item_id"] for one in json.loads(run("trending", "--json", *redis_options)[1])["trending"]] == ["i2", "i1"]
    assert "Milk" in run("trending", "-n", "2", *redis_options)[1]


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(("file", "begins"), [("map.png", b"\x89PNG"), ("map.SVG", b"<?xml")])
def test_segments_are_drawn_to_a_file(run, redis_options, tmp_path, file, begins):
    status, out, err = run("segments", "--json", "--plot", tmp_path / file, *redis_options)
    assert (status, len(json.loads(out)["segments"])) == (0, 2)
    assert f"drawn to {tmp_path / file}" in err.replace("\n", "")
    assert (tmp_path / file).read_bytes().startswith(begins)
    assert (tmp_path / file).stat().st_size > 10_000


@pytest.mark.usefixtures("state")
def test_a_picture_that_cannot_be_drawn_is_one_sentence(run, redis_options, tmp_path, monkeypatch):
    status, _, err = run("segments", "--plot", tmp_path / "map.txt", *redis_options)
    assert (status, "is neither .png nor .svg" in err) == (2, True)
    status, _, err = run("segments", "--plot", tmp_path / "nowhere" / "map.png", *redis_options)
    assert (status, "cannot be written: No such file or directory" in err) == (1, True)
    monkeypatch.delitem(sys.modules, "streams.segment_map", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = run("segments", "--plot", tmp_path / "map.png", *redis_options)
    assert (status, err.strip().splitlines()[-1]) == (1, "upwell: --plot needs matplotlib: pip install 'upwell[plot]'")


def test_without_segments_there_is_no_picture(run, redis_options, tmp_path):
    status, _, err = run("segments", "--json", "--plot", tmp_path / "map.png", *redis_options)
    assert (status, "nothing to draw" in err) == (1, True)
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("command", ["recommend", "user"])
@pytest.mark.usefixtures("state")
def test_no_stored_text_reaches_the_terminal_unescaped(run, redis_options, command, options):
    out = run(command, *redis_options, *options, "--", NASTY)[1]
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert "[bold]" in out.replace("\n", "")


def harmless(text: str) -> bool:
    """Nothing that a terminal obeys, nor a letter that hides or turns others."""
    return all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("command", [["item", "--", NASTY], ["segments"], ["trending"]])
def test_no_text_of_the_catalogue_or_of_segments_reaches_the_terminal_unescaped(run, redis_options, store, command, options):
    async def write(redis, keys):
        fields = {"name": NASTY, "brand": NASTY, "category": [NASTY], "tags": [NASTY], "url": NASTY, "image": NASTY}
        await stored_items.write_catalogue(redis, keys, 0, [stored_items.CatalogueEntry(NASTY, 0, fields)])
        await stored_items.write_statistics(redis, keys, [(NASTY, 1.0, [(NASTY, 0.5)])])
        await stored_trending.replace(redis, keys, {NASTY: 2.5})
        figures = {"size": 10, "share": 0.4, "centroid": [0.0, 1.0], "since": 1.7e9, "drift": 0.1, "growth": None}
        await stored_segments.write(redis, keys, 3, name=NASTY, top=[(NASTY, 2.0)], **figures)

    store(write)
    status, out, err = run(command[0], *redis_options, *options, *command[1:])
    assert status == 0
    assert "[bold]" in out.replace("\n", "")
    assert harmless(out + err)


@pytest.mark.parametrize("command", ["recommend", "user", "item"])
def test_an_id_that_is_unknown_is_told_without_what_a_terminal_obeys(run, redis_options, command):
    _, out, err = run(command, *redis_options, "--", NASTY)
    assert "[bold]" in err
    assert harmless(out + err)


@pytest.mark.parametrize("file", [f"user_id,item_id\n{'x' * 600}\x1b[2J,b\n", "user_id,\x1b[2J\n1,2\n", "\x1b]0;title\x07"])
def test_what_a_file_holds_reaches_the_terminal_escaped(run, kafka_options, tmp_path, file):
    for name in ("one.csv", "one.jsonl"):
        (tmp_path / name).write_text(file)
        for command in (["push", name, "--limit", "1", *kafka_options], ["evaluate", name]):
            _, out, err = run(*command)
            assert harmless((out + err).replace("\r", "")), command


def test_a_wrong_setting_is_told_without_what_a_terminal_obeys(run):
    for wrong in (f"models.neighbors={NASTY}", f"{NASTY}=1", f"rerank.pins={NASTY}", f"segments.k={NASTY}"):
        status, out, err = run("trending", "--set", wrong)
        assert status == 2
        assert harmless(out + err)


@pytest.mark.parametrize("command", ["recommend", "user", "item"])
def test_what_is_unknown_is_told_and_fails(run, redis_options, command):
    status, out, err = run(command, "nobody", "--json", *redis_options)
    assert (status, out) == (1, "")
    assert "'nobody'" in err


def test_an_id_that_is_no_text_is_refused(run, redis_options):
    status, _, err = run("user", "\udcff", *redis_options)
    assert status == 2
    assert "UTF-8" in err


def test_the_doctor_finds_nothing_wrong_with_good_servers_and_makes_nothing(run, kafka_options, redis_options, messages, name):
    status, out, _ = run("doctor", "--json", "--http", "127.0.0.1:1", *kafka_options, *redis_options)
    told = json.loads(out)
    assert (status, told["ok"]) == (0, True)
    assert messages(name("events")) == []


def test_the_doctor_counts_all_events_of_a_batch(run, kafka_options, redis_options, redis_server, broker, name, prefix, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\na,b\n")
    assert run("push", "x.csv", *kafka_options)[0] == 0
    with __import__("redis").Redis.from_url(redis_server.url) as client:
        client.hset(Keys(prefix).applied, mapping=dict.fromkeys(range(PARTITIONS), 0))
    together(broker, name("events"), [b"{}"] * 9)
    told = json.loads(run("doctor", "--json", "--http", "127.0.0.1:1", *kafka_options, *redis_options)[1])
    found = {check["check"]: check["found"] for check in told["checks"]}
    assert found["offsets"] == "10 events wait to be applied"


def test_the_doctor_tells_every_server_that_is_away_and_what_helps(run):
    status, out, _ = run(
        "doctor", "--json", "--brokers", "127.0.0.1:1", "--redis", "redis://127.0.0.1:2", "--http", "127.0.0.1:3"
    )
    wrong = [check["check"] for check in json.loads(out)["checks"] if not check["ok"]]
    assert (status, wrong) == (1, ["brokers", "redis"])
    table = run("doctor", "--brokers", "127.0.0.1:1", "--redis", "redis://127.0.0.1:2", "--http", "127.0.0.1:3")[1]
    assert "--brokers HOST:PORT" in table


def test_the_doctor_sees_a_recreated_topic_and_redis_without_persistence(run, own_redis, kafka_options, prefix, tmp_path):
    (tmp_path / "x.csv").write_text("user_id,item_id\na,b\n")
    assert run("push", "x.csv", *kafka_options)[0] == 0
    with __import__("redis").Redis.from_url((server := own_redis(appendonly="no")).url) as client:
        client.hset(Keys(prefix).applied, mapping={0: 1_000_000})
    status, out, _ = run("doctor", "--json", "--http", "127.0.0.1:1", *kafka_options, "--redis", server.url, "--prefix", prefix)
    fixes = {check["check"]: check["fix"] for check in json.loads(out)["checks"] if not check["ok"]}
    assert status == 1
    assert fixes["offsets"] == "upwell reset"
    assert "appendonly yes" in fixes["redis persistence"]


@given(st.text())
def test_clean_text_is_printable_and_printable_text_is_left_alone(text):
    shown = output.clean(text)
    assert all(letter.isprintable() or letter in output.JOINERS for letter in shown)
    assert shown == text or not text.isprintable()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_output_is_one_line_that_says_the_same(value):
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as out:
        output.write_json(value)
    text = out.getvalue()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert json.loads(text) == value
