"""`upwell recommend`."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from streams.commands.failures import Failed
from streams.commands.options import Json, with_settings
from streams.commands.output import console, moment, table, write_json
from streams.commands.reading import UserId, names, reader

if TYPE_CHECKING:
    from state.reader import Reason, Recommendation
    from streams.settings import Settings


@with_settings("redis", "prefix")
def recommend(settings: "Settings", user: UserId, json: Json = False) -> None:
    """Show a user's newest recommendation, and why each item is in it.

    \b
    upwell recommend 42
    upwell recommend 42 --json | jq -r '.items[].item_id'
    upwell recommend 42 --redis redis://redis:6379/0 --prefix shop:

    --json prints the message of the recommendations topic.
    """
    import msgspec

    with reader(settings) as state:
        found = state.recommendations(user)
        if found is None:
            raise Failed(
                f"no recommendation for user {user!r} yet: it comes with the user's first event "
                "(upwell push; is a worker running? upwell doctor); what all like now: upwell trending"
            )
        if json:
            write_json(msgspec.to_builtins(found))
            return
        because = [item for one in found.items for reason in one.reasons for item in reason.because]
        known = names(state, [*(one.item_id for one in found.items), *because])
    _show(found, known)


def _show(found: "Recommendation", known: dict[str, str]) -> None:
    trigger = found.trigger
    rows = [
        (place, one.item_id, known[one.item_id], one.score, why(one.reasons, known) + _drawn(one.propensity))
        for place, one in enumerate(found.items, 1)
    ]
    at = _when(found.generated_at)
    title = f"for {found.user_id}, after event {trigger.offset} of partition {trigger.partition}, {at}"
    console().print(table(("#", "item", "name", "score", "why"), rows, title=title))


def _drawn(propensity: float | None) -> str:
    return "" if propensity is None else f"; drawn, with a chance of {propensity:.1%}"


def _when(at: float | str) -> str:
    return at if isinstance(at, str) else f"{moment(at)} UTC"


def why(reasons: "Iterable[Reason]", known: Mapping[str, str]) -> str:
    """Reasons as people read them: "covisit 61 % (Salmon, Milk), popular 20 %"."""
    parts = []
    for reason in reasons:
        items = ", ".join(known[item] for item in reason.because)
        parts.append(f"{reason.source} {reason.share:.0%}" + (f" ({items})" if items else ""))
    return ", ".join(parts)
