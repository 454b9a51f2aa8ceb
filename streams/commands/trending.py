"""`upwell trending`."""

from typing import TYPE_CHECKING

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, table, write_json
from streams.commands.reading import Top, names, reader

if TYPE_CHECKING:
    from streams.settings import Settings


@with_settings("redis", "prefix")
def trending(settings: "Settings", top: Top = 20, json: Json = False) -> None:
    """Show the items that are visited most these days.

    \b
    upwell trending
    upwell trending -n 5 --json | jq -r '.trending[].item_id'
    """
    with reader(settings) as state:
        found = state.trending(top)
        known = names(state, [one.item_id for one in found])
    rows = [{"item_id": one.item_id, "name": known[one.item_id], "count": round(one.count, 3)} for one in found]
    if json:
        write_json({"trending": rows})
        return
    if not rows:
        raise Failed("nothing trends yet: it is written some seconds after the first events (upwell push)")
    shown = [(place, row["item_id"], row["name"], row["count"]) for place, row in enumerate(rows, 1)]
    console().print(table(("#", "item", "name", "decayed count"), shown))
