"""Whether Redis lets this user do what workers do, and how soon a cluster replaces a primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from state.connection import Client, is_cluster
from streams.checks.check import Check

if TYPE_CHECKING:
    from state.keys import Keys

# What a worker and its scripts do to keys. Each changes nothing, for its key is not there, or lacks a value (HSET);
# refused it is for want of the right all the same.
HARMLESS: Final = (
    ("EXISTS",),
    ("GET",),
    ("HGET", "x"),
    ("HGETALL",),
    ("HMGET", "x"),
    ("DEL",),
    ("EXPIRE", "1"),
    ("HDEL", "x"),
    ("HSET", "x", "x", "x"),
    ("PERSIST",),
    ("SET", "x", "XX"),
    ("UNLINK",),
    ("ZADD", "XX", "1", "x"),
)


async def rights(redis: Client, keys: Keys) -> Check:
    """Try what changes nothing."""
    refused = [said for command, *rest in HARMLESS if (said := await _refused(redis, command, keys.user("\x00doctor"), *rest))]
    refused += [said] if (said := await _refused(redis, "EVAL", "return 0", 1, keys.user("\x00doctor"))) else []
    refused += [said] if (said := await _refused(redis, "SCAN", 0, "COUNT", 1)) else []
    if not refused:
        return Check("redis rights", ok=True, found="reads, writes, deletes and runs scripts on Upwell's keys")
    if any(said.startswith("READONLY") for _, said in refused):
        fix = "name the primary in --redis; after a fail-over, use an address that follows it"
        return Check("redis rights", ok=False, found="this Redis is a replica, which takes no writes", fix=fix)
    commands = " ".join(sorted(command for command, _ in refused))
    prefix = keys.user("").decode().removesuffix("user:")
    return Check(
        "redis rights",
        ok=False,
        found=f"Redis refuses {commands} on {prefix}*",
        fix=f"redis-cli ACL SETUSER USER '~{prefix}*' {' '.join(f'+{command.lower()}' for command in commands.split())}",
    )


async def _refused(redis: Client, command: str, *arguments: Any) -> tuple[str, str] | None:  # noqa: ANN401 - what a client sends
    try:
        await redis.execute_command(command, *arguments)  # type: ignore[no-untyped-call]
    except (exceptions.NoPermissionError, exceptions.ReadOnlyError) as error:
        return command, str(error) if isinstance(error, exceptions.NoPermissionError) else f"READONLY {error}"
    except exceptions.ResponseError as error:
        # Who may do it is told that it lacks a value.
        if not str(error).startswith("wrong number of arguments"):
            raise
    return None


async def fail_over(redis: Client, rewind: float) -> list[Check]:
    """On a cluster: what a primary that is cut off may take until it is replaced, beside how far back workers then go."""
    if not is_cluster(redis):
        return []
    try:
        wait, copies = [int(await _configured(redis, name)) for name in ("cluster-node-timeout", "min-replicas-to-write")]
    except exceptions.ResponseError:
        return []  # who may not read the settings is told nothing of them
    said = f"a primary that is gone is replaced after {wait / 1000:g} s; workers go back {rewind:g} s"
    fix = (
        "a primary that is cut off together with a worker takes writes until then: redis-cli CONFIG SET min-replicas-to-write 1 "
        f"on every node, or set intake.rewind_s above {wait / 1000:g}"
    )
    return [Check("redis fail-over", ok=True, found=said, fix=fix if rewind * 1000 < wait and copies == 0 else None)]


async def _configured(redis: Client, name: str) -> str:
    told: Any = await redis.config_get(name)
    nodes = [node for node in told.values() if isinstance(node, dict)] or [told]
    return str(nodes[0][name])
