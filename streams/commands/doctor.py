"""`upwell doctor`."""

import asyncio
from typing import TYPE_CHECKING

import typer

from streams.commands.failures import FAILED
from streams.commands.options import Json, with_settings
from streams.commands.output import clean, console, table, write_json

if TYPE_CHECKING:
    from streams.checks.check import Check
    from streams.settings import Settings


@with_settings("brokers", "redis", "group", "prefix", "http", "partitions")
def doctor(settings: "Settings", json: Json = False) -> None:
    """Check brokers, topics, how long events are kept, snapshots, lag, clocks, Redis and its rights; print the fixes.

    It changes nothing. The exit status is 1 when something is wrong.

    \b
    upwell doctor
    upwell doctor --brokers kafka:9092 --redis redis://redis:6379/0
    upwell doctor --json | jq -r '.checks[] | select(.ok | not) | .fix'
    """
    from streams.checks.look import checks

    found = asyncio.run(checks(settings))
    healthy = all(check.ok for check in found)
    if json:
        write_json({"ok": healthy, "checks": [_told(check) for check in found]})
    else:
        _show(found)
    if not healthy:
        raise typer.Exit(FAILED)


def _told(check: "Check") -> dict[str, object]:
    return {"check": check.name, "ok": check.ok, "found": check.found, "fix": check.fix}


def _show(found: "list[Check]") -> None:
    screen = console()
    screen.print(table(("", "check", "found"), [("✓" if one.ok else "✗", one.name, one.found) for one in found]))
    fixes = [one for one in found if one.fix]
    for one in fixes:
        # Not wrapped by the table: a command is there to be copied.
        screen.print(f"{one.name}: {clean(one.fix)}", soft_wrap=True)
