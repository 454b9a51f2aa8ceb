"""`upwell item`."""

from typing import TYPE_CHECKING

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, table, write_json
from streams.commands.reading import ItemId, names, reader

if TYPE_CHECKING:
    from state.items import Item
    from streams.settings import Settings


@with_settings("redis", "prefix")
def item(settings: "Settings", item: ItemId, json: Json = False) -> None:
    """Show an item: its catalogue entry, how popular it is, and what is similar.

    \b
    upwell item 1095275
    upwell item 1095275 --json | jq .similar
    """
    import msgspec

    with reader(settings) as state:
        found = state.item(item)
        if found is None:
            raise Failed(
                f"no item {item!r} in Redis: it comes with its entry on the topic {settings.topics.items} "
                "(upwell push FILE --items) or, some seconds later, with its first event"
            )
        if json:
            write_json(msgspec.to_builtins(found))
            return
        known = names(state, [one.item_id for one in found.similar])
    _show(found, known)


def _show(found: "Item", known: dict[str, str]) -> None:
    screen = console()
    fields = {name: getattr(found, name) for name in found.__struct_fields__ if name != "similar"}
    rows = [(name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in fields.items()]
    screen.print(table(("field", "value"), [(name, str(value)) for name, value in rows if value not in (None, "")]))
    if found.similar:
        similar = [(one.item_id, known[one.item_id], one.score) for one in found.similar]
        screen.print(table(("similar item", "name", "score"), similar))
