"""`upwell plan` and the programs beside it, as a person runs them."""

from __future__ import annotations

import importlib
import json

import pytest
import typer

from streams import cli
from streams.planning import clients, measure, simulate
from streams.planning.constants import ASSUMED, CONSTANTS
from streams.planning.stages import costs
from streams.planning.worlds import Sized

ASKED = ("plan", "--users", "10M", "--items", "1M", "--rate", "50k")
TINY = ["--users", "300,600", "--items", "100", "--visits", "4", "--rounds", "1"]


@pytest.fixture
def run(capsys):
    """Run a command; give its exit status, standard output and standard error."""

    def ran(*arguments: str):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        return ended.value.code or 0, *capsys.readouterr()

    return ran


def test_json_has_every_need_with_its_unit_and_constants(run):
    status, out, err = run(*ASKED, "--json")
    told = json.loads(out)
    assert (status, err) == (0, "")
    assert set(told) == {"load", "shards", "needs", "bottlenecks", "constants"}
    assert told["load"] | {"users": 10e6, "items": 1e6, "rate": 50e3, "peak": 3.0} == told["load"]
    assert told["needs"]["shards"]["value"] == told["shards"]
    assert all(set(one) == {"value", "unit", "says", "from"} for one in told["needs"].values())
    assert {"partitions", "workers", "memory", "redis_memory", "redis_nodes", "http_readers"} <= set(told["needs"])
    assert {f"{topic}_kept" for topic in ("events", "recommendations", "segments", "learned")} <= set(told["needs"])
    named = {name for one in [*told["needs"].values(), *told["bottlenecks"]] for name in one["from"]}
    assert named <= set(told["constants"])


def test_the_tables_name_the_first_bottleneck_and_with_explain_the_constants(run):
    _, brief, _ = run(*ASKED)
    status, long, _ = run(*ASKED, "--explain")
    assert status == 0
    assert "memory of a worker" in brief
    assert "fold_record" not in brief
    assert "fold_record" in long
    assert measure.__name__ in long


@pytest.mark.parametrize("option", ["--users", "--items", "--rate", "--memory", "--reads"])
def test_a_wrong_number_is_told_with_its_option_and_what_to_write(run, option):
    status, out, err = run(*ASKED, option, "10x")
    assert (status, out) == (2, "")
    assert option in err
    assert "1.5M" in err


def test_too_much_is_told_with_what_helps(run):
    assert "leave --shards out" in run(*ASKED, "--shards", "1")[2]
    status, _, err = run(*ASKED[:-1], "1000M")
    assert status == 2
    assert "intake.batch_ms" in err


def test_settings_count(run):
    wide = json.loads(run(*ASKED, "--json")[1])["needs"]["memory"]["value"]
    narrow = json.loads(run(*ASKED, "--json", "--set", "models.visitors=64", "--set", "intake.cached_users=1000")[1])
    assert narrow["needs"]["memory"]["value"] < wide


@pytest.mark.parametrize("command", sorted({one.command for one in CONSTANTS}))
def test_the_table_names_only_commands_that_exist(command):
    words = command.split()
    if words[0] == "python":
        assert words[1] == "-m"
        module = importlib.import_module(words[2])
        assert module.arguments().parse_args(words[3:])
    else:
        group = typer.main.get_command(cli.app)
        assert words[0] == "upwell"
        assert words[1] in group.commands


def test_a_constant_is_measured_or_chosen():
    assert all(one.command for one in CONSTANTS)
    assert not any(one.command for one in ASSUMED)
    names = [one.name for one in (*CONSTANTS, *ASSUMED)]
    assert len(names) == len(set(names))


def test_measuring_prints_every_constant_it_is_named_for(capsys):
    measure.main(TINY)
    out = capsys.readouterr().out
    rows = {line.split(" | ")[0].strip("| "): line for line in out.splitlines() if line.startswith("| ")}
    named = [one.name for one in CONSTANTS if one.command == f"python -m {measure.__name__}"]
    assert not [name for name in named if name not in rows]
    assert "| 600 | 100 | 1,200 |" in out, "twice the users share the visits of the first"


def test_costs_are_above_nothing_and_sizes_those_of_the_arrays():
    found = costs(Sized(users=500, items=3_000, visits=4))
    assert min(found.stages.values()) > 0
    assert found.event > 0
    # Noise of a few batches may give a small record's cost to its visits: then it is measured anew.
    assert found.fold_record > 0 or any(costs(found.world).fold_record > 0 for _ in range(4))
    assert 1_000 < found.user_bytes < 1_300, "as ARCHITECTURE.md says, and the id"
    assert 1_850 < found.item_bytes < 2_000


def test_a_longer_history_takes_more_of_redis():
    answers = costs(Sized(users=300, items=100, visits=2), keep=True).answered
    few, many = clients.histories(answers, (1, 100)).values()
    assert 60 * 99 < many - few < 100 * 99


def test_the_simulation_is_the_same_every_time_and_holds_with_enough_shards(capsys):
    small = ["--users", "1M", "--items", "10k", "--rate", "200k", "--shards", "1", "--rounds", "3"]
    shown = []
    for _ in range(2):
        simulate.main(small)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    first, *_, enough = [line for line in shown[0].split("\n\n", maxsplit=1)[0].splitlines()[2:] if line]
    assert "| never |" in first
    assert "| 100% |" in enough
    assert "| never |" not in enough
