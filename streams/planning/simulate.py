"""Simulate a load over shards of the learned log, and the rule that keeps them exact: python -m streams.planning.simulate.

It prints Markdown, the same for the same seed. The costs are those of streams/planning/constants.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from streams.planning.amounts import amount, shown
from streams.planning.growth import Outcome, grown
from streams.planning.loads import MOST_PARTITIONS, Load, Tuning, spent
from streams.planning.markdown import write
from streams.planning.needs import needs
from streams.planning.plan import Plan, plan
from streams.planning.shards import crossing, same_models

__all__ = ["arguments", "main"]

COLUMNS = (
    *("shards", "workers", "partitions of each", "answered of offered", "busy", "busiest", "behind after a kill, s"),
    *("worked off after, s", "memory of a worker", "Redis nodes", "learned logs a day"),
)


def main(given: Sequence[str] | None = None) -> None:
    """Print what each number of shards comes to, and how often the rule held."""
    asked = arguments().parse_args(given)
    load = Load(amount(asked.users), amount(asked.items), amount(asked.rate), peak=1.0)
    enough = plan(load)
    rows = [_row(load, count, enough, asked.seed) for count in sorted({*asked.shards, enough.shards})]
    write(COLUMNS, rows)
    write(("simulated", "histories", "held"), _rules(asked.rounds))


def arguments() -> argparse.ArgumentParser:
    """The options of this program."""
    parser = argparse.ArgumentParser(
        prog="python -m streams.planning.simulate", description="Simulate shards of the learned log."
    )
    parser.add_argument("--users", default="100M", metavar="N", help="users, as 100M")
    parser.add_argument("--items", default="1M", metavar="N", help="items, as 1M")
    parser.add_argument("--rate", default="1M", metavar="N", help="events a second, as 1M")
    parser.add_argument("--shards", default=[1, 4, 8], type=_counts, metavar="N,…", help="beside the fewest that hold it")
    parser.add_argument("--rounds", default=200, type=int, metavar="N", help="histories of the rule")
    parser.add_argument("--seed", default=0, type=int, metavar="N", help="of what is drawn")
    return parser


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _row(load: Load, shards: int, enough: Plan, seed: int) -> list[str]:
    """Run a number of shards with as many workers in all as the fewest that hold have, or as many as may be."""
    tuning = Tuning()
    workers = min(max(1, enough.shards * enough.shard.workers // shards), MOST_PARTITIONS // 2)
    shard = spent(load, shards, workers, tuning)
    found = grown(load, shards, shard, seed=seed)
    by_name = {need.name: need for need in needs(load, tuning, shards, shard)}
    held = [shown(by_name[name].value, "B") for name in ("memory", "learned_day")]
    return [
        f"{shards:,}",
        f"{shards * workers:,}",
        f"{shard.partitions:,}",
        *_seen(found),
        held[0],
        f"{by_name['redis_nodes'].value:,.0f}",
        held[1],
    ]


def _seen(found: Outcome) -> list[str]:
    return [
        f"{found.served / found.offered:.0%}",
        f"{found.busy:.0%}",
        f"{found.busiest:.0%}",
        f"{found.behind:,.1f}",
        "never" if found.worked_off is None else f"{found.worked_off:,.1f}",
    ]


def _rules(rounds: int) -> list[list[str]]:
    """Each rule as it is, and broken."""
    fenced, open_ = ([crossing(seed, fenced=one) for seed in range(rounds)] for one in (True, False))
    held = (
        ("several log partitions folded by marks: followers equal", sum(same_models(seed) for seed in range(rounds))),
        ("the same folded as records come", sum(same_models(seed, marks=False) for seed in range(rounds))),
        (
            "events that cross shards: each taught once, at home, followers equal",
            sum(one.once and one.at_home and one.equal for one in fenced),
        ),
        ("the same without the fence of origins", sum(one.once for one in open_)),
    )
    return [[name, f"{rounds:,}", f"{count:,}"] for name, count in held]


if __name__ == "__main__":
    main()
