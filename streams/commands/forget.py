"""`upwell forget`."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.failures import FAILED, Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import clean, console, figure, moment, table, write_json
from streams.commands.reading import reader, utf8

if TYPE_CHECKING:
    from streams.settings import Settings

Users = Annotated[
    list[str],
    typer.Argument(metavar="USER…", callback=lambda users: [*map(utf8, users)], help="Whom; after -- an id may begin with -."),
]
Verify = Annotated[bool, typer.Option("--verify", help="Look for traces only; change nothing.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0, help="How long to wait until no trace is left.")]


@with_settings("brokers", "redis", "prefix")
def forget(settings: "Settings", users: Users, verify: Verify = False, timeout: Timeout = 60.0, json: Json = False) -> None:
    """Have users forgotten, wait until no trace of them is left, and certify it.

    \b
    upwell forget 42
    upwell forget 42 43 44 --json > certificates.json
    upwell forget --verify 42                       # look only

    A trace is whatever names the user in Redis, in the snapshots there, in the learned log, or as newest message on the
    topic `segments`. What names the user in `events`, `recommendations` and `events.dead` is told as well: it is yours,
    and goes with the retention of those topics. A user who refused (consent: false) leaves that refusal behind.
    A person goes with all anonymous ids that were merged into the person, and any of those ids names the person.

    Exit status: 0 no trace is left, 1 some are.
    """
    found = asyncio.run(_run(settings, users, timeout, verify=verify, quiet=json))
    if json:
        write_json({"certificates": found})
    else:
        for one in found:
            _show(one)
    if any(one["traces"] for one in found):
        raise typer.Exit(FAILED)


async def _run(settings: "Settings", users: list[str], patience: float, *, verify: bool, quiet: bool) -> list[dict[str, Any]]:
    from state.connection import open_redis
    from streams.erasure import certificate, sent, settled, until_gone
    from streams.security import redis_url
    from streams.servers import redis_or_failed

    names = list(dict.fromkeys(users))
    deadline = 0.0 if verify else time.monotonic() + patience
    found = []
    others = {user: _known_as(settings, user) for user in names}
    # Those are pseudonyms where there is a key: they are looked for with the id that was told, and named nowhere.
    hidden = others if settings.pseudonymize else {}
    with _status(quiet=quiet) as status, redis_or_failed(settings):
        async with open_redis(redis_url(settings)) as redis:
            told = names
            names = list(dict.fromkeys([*told, *(other for user in told if not hidden for other in others[user])]))
            sent_to = {} if verify else dict(zip(told, await sent(settings, told), strict=True))
            places = [sent_to.get(user) for user in names]
            status("waiting for the workers")
            if not verify and not await settled(settings, redis, [one for one in places if one], deadline):
                raise Failed(
                    f"the events are sent, but no worker applied them within {patience:g} s; start one (upwell worker), "
                    "then look again with --verify"
                )
            for user, place in zip(names, places, strict=True):
                status(f"looking for traces of {user}")
                also = hidden.get(user, ())
                traces = await until_gone(settings, redis, user, deadline, others=also)
                found.append(await certificate(settings, user, traces, place, len(also)))
    return found


def _known_as(settings: "Settings", user: str) -> list[str]:
    """All other ids of the person whom an id stands for, as they are stored; of who is alone none."""
    pseudonyms = settings.pseudonymize
    with reader(settings) as state:
        found = state.user(user)
    own = {user, pseudonyms.of(user)} if pseudonyms else {user}
    return [one for one in (found.user_id, *found.aliases) if one not in own] if found else []


@contextmanager
def _status(*, quiet: bool) -> "Iterator[Callable[[str], None]]":
    """A line that tells a person what is waited for; gives what to call with it."""
    screen = console(stderr=True)
    if quiet or not screen.is_terminal:
        yield lambda _said: None
        return
    with screen.status("sending") as status:
        yield lambda said: status.update(clean(said))


def _show(one: dict[str, Any]) -> None:
    screen = console()
    looked = ", ".join(f"{figure(count)} {name}" for name, count in one["searched"].items() if count)
    also = f" and {figure(one['others'])} more pseudonyms of the person" if one["others"] else ""
    screen.print(f"{clean(one['user'])}{also}: {one['verdict']} ({moment(one['at'])} UTC; looked at {looked or 'nothing'})")
    if one["refusal"]:
        screen.print("the user's refusal is kept, and nothing else")
    if one["traces"]:
        screen.print(table(("place", "where", "what"), [tuple(trace.values()) for trace in one["traces"]]))
    if one["operator"]:
        screen.print("Yours, until the retention of the topic removes it:")
        rows = [
            (held["topic"], held["partition"], held["first"], held["last"], held["messages"], moment(held["until"]) or "never")
            for held in one["operator"]
        ]
        screen.print(table(("topic", "partition", "first", "last", "messages", "gone by (UTC)"), rows))
