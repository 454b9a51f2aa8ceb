"""Connections that pack commands in C: redis-py's own do it in Python, at more than the cost of all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Plain", "Tls", "Unix"]


class _Packing:
    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's signature
        head = args[0].encode() if isinstance(args[0], str) else args[0]
        return [hiredis.pack_command((*head.split(), *args[1:]))]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [packed for command in commands for packed in self.pack_command(*command)]


class Plain(_Packing, Connection):
    """Over TCP."""


class Tls(_Packing, SSLConnection):
    """Over TLS."""


class Unix(_Packing, UnixDomainSocketConnection):
    """Over a Unix socket."""
