"""A door through which bytes come in."""

from __future__ import annotations

from random import Random
from typing import Protocol

__all__ = ["Target"]


class Target(Protocol):
    """A door through which bytes come in."""

    def make(self, chance: Random) -> bytes:
        """Give a bad input."""
        ...

    def run(self, data: bytes) -> bool:
        """Try an input; tell whether it was taken. Whatever it raises is a fault."""
        ...

    def close(self) -> None:
        """Let go of what it opened."""
