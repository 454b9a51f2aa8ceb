"""`upwell segments`."""

from typing import TYPE_CHECKING

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, moment, table, write_json
from streams.commands.reading import names, reader

if TYPE_CHECKING:
    from streams.settings import Settings


@with_settings("redis", "prefix")
def segments(settings: "Settings", json: Json = False) -> None:
    """Show the segments of users: their names, how many users, how they move, and what they like more than others.

    \b
    upwell segments
    upwell segments --json | jq '.segments[] | {id, name, size}'
    """
    import msgspec

    with reader(settings) as state:
        found = state.segments()
        known = {} if json else names(state, [one.item_id for segment in found for one in segment.top[:3]])
    if json:
        write_json({"segments": msgspec.to_builtins(found)})
        return
    if not found:
        raise Failed("no segments yet: they form when some hundred users have a history")
    total = sum(segment.size for segment in found) or 1
    rows = [
        (
            one.id,
            one.name,
            one.size,
            f"{one.size / total:.0%}",
            one.drift,
            moment(one.since),
            ", ".join(f"{known[item.item_id]} {item.lift:.1f}x" for item in one.top[:3]),
        )
        for one in found
    ]
    console().print(table(("id", "name", "users", "share", "drift", "since (UTC)", "likes more than others"), rows))
