"""`upwell export`."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.commands.options import with_settings
from streams.commands.output import write_json
from streams.commands.reading import UserId, reader

if TYPE_CHECKING:
    from streams.settings import Settings

Topics = Annotated[bool, typer.Option("--topics", help="Also the user's messages in Kafka's topics: it reads all of them.")]


@with_settings("brokers", "redis", "prefix")
def export(settings: "Settings", user: UserId, topics: Topics = False) -> None:
    """Print all that is stored of a user, as one JSON object: docs/privacy.md lists its fields.

    \b
    upwell export 42
    upwell export 42 --topics > 42.json
    """
    import msgspec

    with reader(settings) as state:
        found = state.user(user)
        names = {one.id: one.name for one in state.segments()}
    segment = None if found is None or found.segment is None else {"id": found.segment, "name": names.get(found.segment)}
    answer = {"user_id": user, "profile": msgspec.to_builtins(found), "segment": segment}
    write_json(answer | asyncio.run(_elsewhere(settings, user, topics=topics)))


async def _elsewhere(settings: "Settings", user: str, *, topics: bool) -> dict[str, Any]:
    """Where others name the user, and with --topics the messages."""
    from state.connection import open_redis
    from state.forgetting import named_by
    from state.keys import Keys
    from streams.security import redis_url
    from streams.servers import redis_or_failed
    from streams.traces import held

    with redis_or_failed(settings):
        async with open_redis(redis_url(settings)) as redis:
            pseudonyms = settings.pseudonymize
            stored_as = pseudonyms.of(user) if pseudonyms else user
            found: dict[str, Any] = {"named_by": await named_by(redis, Keys(settings.prefix), stored_as)}
    if topics:
        messages: list[dict[str, Any]] = []
        await held(settings, user, lambda topic, message: messages.append(_message(topic, message)))
        found["messages"] = messages
    return found


def _message(topic: str, message: Any) -> dict[str, Any]:  # noqa: ANN401 - aiokafka's record
    place = {"topic": topic, "partition": message.partition, "offset": message.offset, "at": message.timestamp / 1000}
    texts = {"key": message.key, "value": message.value}
    return place | {name: None if text is None else text.decode(errors="backslashreplace") for name, text in texts.items()}
