"""Which figures there are, in one table; light, for the command's help reads it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

EVENTS: Final = 200_000  # of the drain
RUNS: Final = 3
SECONDS: Final = 1_800.0  # of the soak
RATE: Final = 2_000.0  # events/s of the soak


@dataclass(frozen=True, slots=True)
class Kind:
    """A figure: how many events it takes for each of the drain, whether it needs servers, whether `all` measures it."""

    share: float
    servers: bool = True
    with_all: bool = True


# 20 s at 2,000/s; 20,000 reads; a million events; 150,000 purchases; before the soak as many as fill the users' histories.
FIGURES: Final[Mapping[str, Kind]] = {
    "throughput": Kind(1.0),
    "workers": Kind(0.5),
    "handover": Kind(0.1, with_all=False),
    "latency": Kind(0.2),
    "http": Kind(0.1),
    "memory": Kind(5.0),
    "restart": Kind(5.0),
    "models": Kind(0.5, servers=False),
    "quality": Kind(0.75, servers=False),
    "soak": Kind(10.0, with_all=False),
}
EVERY: Final = "all"
NAMES: Final = (*FIGURES, EVERY)


def needs_servers(name: str) -> bool:
    """Whether a figure, or one of all, needs servers."""
    return name == EVERY or FIGURES[name].servers
