"""Measure on this machine what the planner counts with: python -m streams.planning.measure.

It prints Markdown: costs over three sizes of users, items and log, what servers cost, and each constant of the planner
beside what this machine says of it. Times are CPU times of this process, so that others on the machine matter little.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import math
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streams.planning import clients
from streams.planning.constants import CONSTANTS
from streams.planning.markdown import write
from streams.planning.stages import STAGES, Costs, costs
from streams.planning.worlds import Sized
from streams.settings import Settings
from streams.warm import warm

__all__ = ["arguments", "main"]

US = 1e6
ENTRIES = (1, 10, 40, 100)
COLUMNS = ("users", "items", "visits learned", *STAGES, "fold", "all", "fold of a visit", "fold of a record")
SIZES = ("users", "items", "visits learned", "B a user", "B an item", "B a cached profile", "B a visit", "B a record", "B a list")


def main(given: Sequence[str] | None = None) -> None:
    """Print all tables."""
    asked = arguments().parse_args(given)
    base, worlds = _worlds(asked.users, asked.items, asked.visits)
    costs(Sized(1_000, 1_000))  # the first to run pays for what is loaded once
    found = []
    for world in worlds:
        sys.stderr.write(f"{world.users:,} users, {world.items:,} items, {world.users * world.visits:,} visits\n")
        rounds = [costs(world, keep=world == base and asked.servers) for _ in range(asked.rounds)]
        found.append(min(rounds, key=lambda one: sum(one.stages.values())))  # the least disturbed
    write(COLUMNS, _costs(found))
    write(SIZES, _sizes(found))
    measured = constants_of(found, base)
    if asked.servers:
        measured |= _servers(found[worlds.index(base)])
    write(("constant", "in the table", "here", "unit"), _constants(measured))


def arguments() -> argparse.ArgumentParser:
    """The options of this program."""
    parser = argparse.ArgumentParser(prog="python -m streams.planning.measure", description="Measure the planner's constants.")
    parser.add_argument(
        "--users", type=_counts, default=_counts("20000,80000,320000,1280000"), metavar="N,…", help="sizes; the first is kept"
    )
    parser.add_argument("--items", type=_counts, default=_counts("10000,40000,160000"), metavar="N,…", help="as --users")
    parser.add_argument("--visits", type=_counts, default=_counts("8,32,128"), metavar="N,…", help="visits of each user before")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often each is measured; the cheapest is told")
    parser.add_argument("--no-servers", dest="servers", action="store_false", help="leave Redis and the broker out")
    return parser


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _worlds(users: Sequence[int], items: Sequence[int], visits: Sequence[int]) -> tuple[Sized, list[Sized]]:
    """Three axes through one world: more log, more users who share the log's visits, more items."""
    base = Sized(users[0], items[0], visits[-1])
    log = [replace(base, visits=count) for count in visits]
    crowd = [replace(base, users=count, visits=max(1, base.visits * base.users // count)) for count in users]
    shelf = [replace(base, items=count) for count in items]
    return base, list(dict.fromkeys([*log, *crowd, *shelf]))


def _costs(found: Iterable[Costs]) -> list[list[str]]:
    rows = []
    for one in found:
        stages = [US * one.stages[name] for name in (*STAGES, "fold")]
        pieces = [US * one.fold_visit, US * one.fold_record]
        rows.append([*_world(one), *(f"{value:.1f}" for value in (*stages, US * sum(one.stages.values()), *pieces))])
    return rows


def _sizes(found: Iterable[Costs]) -> list[list[str]]:
    rows = []
    for one in found:
        sizes = (one.user_bytes, one.item_bytes, one.profile_bytes, one.visit_bytes, one.record_bytes, one.message_bytes)
        rows.append([*_world(one), *(f"{size:,.0f}" for size in sizes)])
    return rows


def _world(one: Costs) -> list[str]:
    world = one.world
    return [f"{world.users:,}", f"{world.items:,}", f"{world.users * world.visits:,}"]


def constants_of(found: Sequence[Costs], base: Sized) -> dict[str, float]:
    """What these worlds say of the constants that need no server."""
    few = next(one for one in found if one.world == base)
    crowd = max((one for one in found if one.world.items == base.items), key=lambda one: one.world.users)
    many = max((one for one in found if one.world.users == base.users), key=lambda one: one.world.items)
    return {
        "measured_users": float(base.users),
        "measured_items": float(base.items),
        "event": US * few.event,
        "event_by_users": _growth(few, crowd, crowd.world.users / base.users),
        "event_by_items": _growth(few, many, many.world.items / base.items),
        "record": US * _middle(one.record for one in found),
        "batch": US * _middle(one.batch for one in found),
        "fold_visit": US * _middle(one.fold_visit for one in found),
        "fold_record": US * _middle(one.fold_record for one in found),
        "visit_bytes": max(one.visit_bytes for one in found),
        "record_bytes": max(one.record_bytes for one in found),
        "event_bytes": crowd.event_bytes,
        "message_bytes": max(one.message_bytes for one in found),
        "segment_bytes": crowd.segment_bytes,
        "user_bytes": crowd.user_bytes,
        "item_bytes": many.item_bytes,
        "profile_bytes": max(one.profile_bytes for one in found),
        "snapshot_share": max(one.snapshot_bytes / one.snapshot_raw for one in found),
        "snapshot_rate": _middle(one.snapshot_raw / one.snapshot_seconds for one in found),
        "base_bytes": _idle(),
    }


def _growth(few: Costs, many: Costs, times: float) -> float:
    """What an event costs more with four times as many; no less than nothing."""
    return max(0.0, many.event / few.event - 1.0) / math.log(times, 4) if times > 1 else 0.0


def _middle(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def _idle() -> float:
    """Bytes of a process that has everything a worker has but users and items."""
    code = f"from {__spec__.name} import idle; idle()"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def idle() -> None:
    """Bring in what a worker needs, and print this process's resident bytes."""
    importlib.import_module("streams.app")
    asyncio.run(warm(Settings()))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    sys.stdout.write(str(pages * resource.getpagesize()))


def _servers(base: Costs) -> dict[str, float]:
    stored = clients.redis(base.answered)
    by_entries = clients.histories(base.answered, ENTRIES)
    write(("entries of history", "B in Redis"), [[str(n), f"{size:,.0f}"] for n, size in by_entries.items()])
    entry = (by_entries[ENTRIES[-1]] - by_entries[ENTRIES[0]]) / (ENTRIES[-1] - ENTRIES[0])
    most = max(answer.events for answer in base.answered)
    kafka = clients.broker([answer for answer in base.answered if answer.events > most / 2])
    micro = ("write_client", "write_server", "write_server_cluster", "read_client", "read_server")
    return {
        **{name: US * stored[name] for name in micro},
        "stored_user_bytes": by_entries[ENTRIES[0]] - entry * ENTRIES[0],
        "stored_entry_bytes": entry,
        "stored_item_bytes": stored["stored_item_bytes"],
        **{name: US * value for name, value in kafka.items()},
    }


def _constants(measured: dict[str, float]) -> list[list[str]]:
    return [[one.name, f"{one.value:,.6g}", f"{measured[one.name]:,.6g}", one.unit] for one in CONSTANTS if one.name in measured]


if __name__ == "__main__":
    main()
