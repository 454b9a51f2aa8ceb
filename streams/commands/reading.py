"""What the commands that read Redis share."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from state.reader import Reader
    from streams.settings import Settings


def utf8(value: str) -> str:
    """An id as it was given, if it is one."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("is not UTF-8, as every id is") from None
    return value


UserId = Annotated[str, typer.Argument(metavar="USER", callback=utf8, help="The user's id; after -- it may begin with -.")]
ItemId = Annotated[str, typer.Argument(metavar="ITEM", callback=utf8, help="The item's id; after -- it may begin with -.")]
Top = Annotated[int, typer.Option("-n", "--top", metavar="N", min=1, help="How many.")]


def reader(settings: "Settings") -> "Reader":
    """The public reader on the settings' Redis."""
    from state.reader import Reader
    from streams.security import redis_url

    pseudonyms = settings.pseudonymize
    return Reader(redis_url(settings), settings.prefix, pseudonym=pseudonyms.of if pseudonyms else str)


def names(state: "Reader", items: Iterable[str]) -> dict[str, str]:
    """Items' names where the catalogue has them, else their ids."""
    found = {item: state.item(item) for item in dict.fromkeys(items)}
    return {item: entry.name if entry and entry.name else item for item, entry in found.items()}
