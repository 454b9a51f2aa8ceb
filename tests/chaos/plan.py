"""Which faults befall whom, and when: a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """A fault; ``worker`` is whom it befalls, None for a server; ``seconds`` how long it lasts, ``size`` how bad it is."""

    name: str
    worker: int | None
    seconds: float
    size: float

    @property
    def target(self) -> str:
        """Whom it befalls, in a word."""
        return self.name.partition(" ")[0] if self.worker is None else f"worker {self.worker}"


class Round(NamedTuple):
    """Faults at one time; they begin after this share of the round's events, and the next round may not wait for the end."""

    number: int
    faults: tuple[Fault, ...]
    after: float
    settle: bool


class Kind(NamedTuple):
    """How often a fault comes, how long it lasts (seconds, from and to), and its sizes."""

    weight: int
    seconds: tuple[float, float] = (0.0, 0.0)
    sizes: Sequence[float] = (0.0,)


# Of one worker. Its group gives its partitions to others after six seconds of silence.
WORKERS = {
    "kill": Kind(4),
    "freeze": Kind(3, (7.5, 10.0)),
    "blink": Kind(2, (0.5, 4.0)),
    "stop": Kind(3),
    "kafka cut": Kind(2, (0.1, 9.0)),
    "redis cut": Kind(2, (0.1, 9.0)),
    "both cut": Kind(1, (1.0, 9.0)),
    "kafka hung": Kind(2, (1.0, 9.0)),
    "redis hung": Kind(2, (1.0, 12.0)),
    "both hung": Kind(2, (1.0, 9.0)),
    "kafka slow": Kind(1, (2.0, 5.0), (0.02, 0.1, 0.3)),
    "redis slow": Kind(1, (2.0, 5.0), (0.02, 0.1, 0.3)),
    "kafka narrow": Kind(1, (2.0, 5.0), (20_000.0, 100_000.0)),
    "redis narrow": Kind(1, (2.0, 5.0), (20_000.0, 100_000.0)),
    "clock": Kind(2, (2.0, 4.0), (-86_400.0, -5_400.0, -30.0, 30.0, 1_800.0, 7_200.0, 86_400.0)),
    "hung and killed": Kind(2, (0.5, 2.0)),
}
# Of a server, or of all workers.
SERVERS = {
    "workers rolled": Kind(1),
    "workers killed": Kind(1),
    "kafka restarted": Kind(2),
    "kafka killed": Kind(2),
    "kafka frozen": Kind(1, (1.0, 4.0)),
    "redis restarted": Kind(2),
    "redis killed": Kind(2),
    "redis rolled back": Kind(3, (0.2, 1.5)),
    "redis frozen": Kind(1, (1.0, 12.0)),
    "redis failed over": Kind(2),
    "redis failed over late": Kind(3, (0.2, 2.0)),
    "redis split": Kind(2, (0.5, 2.5)),
    "redis full": Kind(2, (1.0, 5.0)),
}
TWO_AT_ONCE = 0.25  # how often a server's fault comes with one of a worker
AT_ONCE = 0.3  # how often the next round does not wait until this one's events are answered


def plan(seed: int, rounds: int, workers: int) -> list[Round]:
    """Give the rounds of a run: every fault comes once before chance chooses."""
    chance = random.Random(seed)
    first = [*WORKERS, *SERVERS]
    chance.shuffle(first)
    made = []
    for number in range(1, rounds + 1):
        name = first.pop() if first else _chosen(chance, WORKERS | SERVERS)
        faults = [_fault(chance, name, workers)]
        if name in SERVERS and not name.startswith("workers") and chance.random() < TWO_AT_ONCE:
            faults.append(_fault(chance, _chosen(chance, WORKERS), workers))
        made.append(Round(number, tuple(faults), chance.uniform(0.1, 0.5), chance.random() >= AT_ONCE))
    return made


def _chosen(chance: random.Random, kinds: dict[str, Kind]) -> str:
    return chance.choices([*kinds], [kind.weight for kind in kinds.values()])[0]


def _fault(chance: random.Random, name: str, workers: int) -> Fault:
    kind = WORKERS.get(name) or SERVERS[name]
    seconds, size, worker = round(chance.uniform(*kind.seconds), 1), chance.choice(kind.sizes), chance.randrange(workers)
    return Fault(name, worker if name in WORKERS else None, seconds, size)
