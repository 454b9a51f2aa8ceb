"""How long Kafka keeps what Upwell may have to read again, and whether dead letters have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.checks.check import Check, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streams.settings import Settings
    from streams.topics import Found

HOUR, DAY = 3_600.0, 86_400.0
# An event that was too large to be re-keyed comes with its reason: the headers of a dead letter are below this.
HEADERS_ROOM = 4_096


def kept(found: Mapping[str, Found], settings: Settings) -> Iterator[Check]:
    """Look at the settings of topics that are there; a broker that does not tell them is not judged."""
    names = settings.topics
    if (events := found.get(names.events)) and "retention.ms" in events.config:
        yield _retention(events.config, settings)
    if names.events in found and names.dead in found:
        events_take, dead_take = (found[name].config.get("max.message.bytes") for name in (names.events, names.dead))
        if events_take and dead_take:
            yield _room(int(events_take), int(dead_take), settings)


def _retention(config: Mapping[str, str], settings: Settings) -> Check:
    """Events must outlast the longest time that all workers, or Redis, are away: what is deleted before that is lost."""
    limit, most = float(config["retention.ms"]) / 1000, int(config.get("retention.bytes", -1))
    said = "are kept for ever" if limit < 0 else f"are kept {span(limit)}: so long may workers, or Redis, be away"
    if most >= 0:
        said += f"; but at most {most:,} bytes of a partition"
    short = 0 <= limit < DAY
    fix = (
        f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics "
        f"--entity-name {settings.topics.events} --add-config retention.ms=604800000"
    )
    return Check("events retention", ok=not 0 <= limit < HOUR, found=f"events {said}", fix=fix if short else None)


def _room(events: int, dead: int, settings: Settings) -> Check:
    if dead >= events + HEADERS_ROOM:
        return Check("dead letters", ok=True, found="have room for the largest event")
    return Check(
        "dead letters",
        ok=False,
        found=f"{settings.topics.events} takes {events:,} bytes, {settings.topics.dead} only {dead:,}: "
        "letters of large events would lose their bytes",
        fix=f"kafka-configs.sh --bootstrap-server {settings.brokers} --alter --entity-type topics "
        f"--entity-name {settings.topics.dead} --add-config max.message.bytes={2 * events}",
    )
