"""`upwell user`."""

from typing import TYPE_CHECKING, Annotated

import typer

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import clean, console, figure, moment, table, write_json
from streams.commands.reading import UserId, names, reader

if TYPE_CHECKING:
    from state.reader import User
    from streams.settings import Settings

Events = Annotated[int, typer.Option("-n", "--top", metavar="N", min=0, help="How many events of the history.")]


@with_settings("redis", "prefix")
def user(settings: "Settings", user: UserId, top: Events = 10, json: Json = False) -> None:
    """Show a user's profile: segment, consent, interests, similar users and the last events.

    \b
    upwell user 42
    upwell user 42 -n 100
    upwell user 42 --json | jq .interests
    """
    import msgspec

    with reader(settings) as state:
        found = state.user(user)
        if found is None:
            raise Failed(f"no user {user!r} in Redis: a profile begins with the user's first event (upwell push)")
        if json:
            write_json(msgspec.to_builtins(found))
            return
        known = names(state, [entry.item_id for entry in found.history[:top]])
    _show(found, known, top)


def _show(found: "User", known: dict[str, str], top: int) -> None:
    screen = console()
    segment = "no segment yet" if found.segment is None else f"segment {found.segment}"
    when = moment(found.updated_at)
    if found.consent is False:
        screen.print(f"{clean(found.user_id)}: refuses; nothing else is kept")
        return
    said = ", consents" if found.consent else ""
    screen.print(f"{clean(found.user_id)}: {figure(found.events)} events, {segment}{said}, last change {when} UTC")
    interests = sorted(found.interests.items(), key=lambda pair: -pair[1])
    if interests:
        screen.print(table(("interest", "weight"), interests))
    if found.neighbors:
        screen.print(table(("similar user", "similarity"), [(one.user_id, one.similarity) for one in found.neighbors]))
    if found.history[:top]:
        rows = [(moment(one.at), one.type, one.item_id, known[one.item_id]) for one in found.history[:top]]
        screen.print(table(("at (UTC)", "type", "item", "name"), rows))
