"""`upwell plan`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.options import Json, with_settings
from streams.commands.output import console, table, write_json

if TYPE_CHECKING:
    from streams.planning.loads import Tuning
    from streams.planning.plan import Plan
    from streams.settings import Settings


def _amount(metavar: str, says: str) -> Any:  # noqa: ANN401 - typer's own type
    return typer.Option(metavar=metavar, help=says)


Users = Annotated[str, _amount("N", "Users ever seen, as 10M; models.max_users limits those in memory.")]
Items = Annotated[str, _amount("N", "Items, as 1M.")]
Rate = Annotated[str, _amount("N", "Events a second, on the mean of a day, as 50k.")]
Peak = Annotated[float, typer.Option(metavar="X", min=1.0, help="How many times the mean the busiest minutes are.")]
Days = Annotated[float, typer.Option(metavar="N", min=0.0, help="How long Kafka keeps events and lists.")]
Reads = Annotated[str | None, _amount("N", "Reads over HTTP a second at the peak; as many as events by default.")]
Memory = Annotated[str, _amount("BYTES", "What a worker may take, as 16G.")]
Replicas = Annotated[int, typer.Option(metavar="N", min=1, max=10, help="Replicas of each topic.")]
Shards = Annotated[int | None, typer.Option(metavar="N", min=1, help="Learned logs; as few as hold the load by default.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show the constants, and the command that measures each.")]


@with_settings()
def plan(
    settings: "Settings",
    users: Users,
    items: Items,
    rate: Rate,
    peak: Peak = 3.0,
    days: Days = 7.0,
    reads: Reads = None,
    memory: Memory = "16G",
    replicas: Replicas = 3,
    shards: Shards = None,
    explain: Explain = False,
    json: Json = False,
) -> None:
    """Say what a load needs: workers, memory, Redis, Kafka; and what is full first, and why.

    It asks no server. It counts with measured constants, which are of one machine; docs/scale.md tells how to measure yours.
    Of the settings it heeds intake.batch_ms, intake.batch_events, intake.cached_users, models.visitors, models.length,
    models.max_users, models.max_items and snapshot.seconds.

    \b
    upwell plan --users 10M --items 1M --rate 50k
    upwell plan --users 200k --items 50k --rate 500 --peak 5 --days 3
    upwell plan --users 10M --items 1M --rate 10k --set intake.batch_ms=500
    upwell plan --users 10M --items 1M --rate 10k --set models.max_users=2000000
    upwell plan --users 10M --items 1M --rate 10k --explain     # every figure's constants, and where they are from
    upwell plan --users 10M --items 1M --rate 10k --json | jq '.needs.memory.value'
    """
    from streams.planning.amounts import WrongAmount, amount
    from streams.planning.loads import Load
    from streams.planning.plan import TooMuch
    from streams.planning.plan import plan as planned

    given = {"users": users, "items": items, "rate": rate, "memory": memory} | ({"reads": reads} if reads else {})
    numbers: dict[str, float] = {}
    for name, text in given.items():
        try:
            numbers[name] = amount(text)
        except WrongAmount as error:
            raise typer.BadParameter(str(error), param_hint=f"--{name}") from error
    load = Load(**numbers, peak=peak, days=days, replicas=replicas, shards=shards)
    try:
        found = planned(load, _tuning(settings))
    except TooMuch as error:
        raise typer.BadParameter(str(error), param_hint="--rate" if shards is None else "--shards") from error
    if json:
        write_json(_told(found))
    else:
        _show(found, explain=explain)


def _tuning(settings: "Settings") -> "Tuning":
    from streams.planning.loads import Tuning

    return Tuning(
        batch_s=settings.intake.batch_ms / 1000,
        batch_events=settings.intake.batch_events,
        cached_users=settings.intake.cached_users,
        visitors=settings.models.visitors,
        length=settings.models.length,
        snapshot_s=settings.snapshot.seconds,
        max_users=settings.models.max_users,
        max_items=settings.models.max_items,
    )


def _told(found: "Plan") -> dict[str, Any]:
    from streams.planning.constants import ASSUMED, CONSTANTS

    return {
        "load": asdict(found.load),
        "shards": found.shards,
        "needs": {
            one.name: {"value": one.value, "unit": one.unit, "says": one.says, "from": list(one.constants)} for one in found.needs
        },
        "bottlenecks": [
            {"name": one.name, "full": one.share, "why": one.why, "set": one.set, "from": list(one.constants)}
            for one in found.bottlenecks
        ],
        "constants": {one.name: asdict(one) for one in (*CONSTANTS, *ASSUMED)},
    }


def _show(found: "Plan", *, explain: bool) -> None:
    from streams.planning.amounts import shown
    from streams.planning.constants import ASSUMED, CONSTANTS

    screen = console()
    needs = [
        (one.name, shown(one.value, one.unit), one.says, *([", ".join(one.constants)] if explain else [])) for one in found.needs
    ]
    screen.print(table(("what", "needed", "of what", *(["from"] if explain else [])), needs))
    full = [(one.name, f"{one.share:.0%}", one.why, one.set) for one in found.bottlenecks]
    screen.print(table(("full first, at the peak", "full", "why", "what helps"), full))
    if explain:
        known = [(one.name, shown(one.value, one.unit), one.says) for one in (*CONSTANTS, *ASSUMED)]
        screen.print(table(("constant", "value", "is"), known))
        for command in dict.fromkeys(one.command for one in CONSTANTS):
            names = ", ".join(one.name for one in CONSTANTS if one.command == command)
            screen.print(f"{command} measures {names}.", soft_wrap=True)
        screen.print(f"Chosen: {', '.join(one.name for one in ASSUMED)}.", soft_wrap=True)
    else:
        screen.print("--explain names the constants behind each figure, and the command that measures each.")
