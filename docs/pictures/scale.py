"""The picture of docs/scale.md: what shards of the learned log hold, as the simulation has it."""

from __future__ import annotations

from matplotlib.figure import Figure

from docs.pictures.sources import INK, OTHER, PALE, axes_of
from streams.planning.growth import grown
from streams.planning.loads import MOST_PARTITIONS, Load, Tuning, spent
from streams.planning.plan import plan

LOAD = Load(users=100e6, items=1e6, rate=1e6, peak=1.0)


def shards(figure: Figure) -> None:
    """A million events a second, as many workers in all, over more and more shards; and what waits after a kill."""
    enough = plan(LOAD)
    workers = enough.shards * enough.shard.workers
    answered = axes_of(figure, "shards", "answered of offered", (1, 2, 1))
    counts = sorted({1, 2, 4, 6, 8, 10, 12, enough.shards})
    found = {}
    for count in counts:
        each = min(workers // count, MOST_PARTITIONS // 2)
        found[count] = grown(LOAD, count, spent(LOAD, count, each, Tuning()), seconds=180.0)
    answered.plot(counts, [100 * found[count].served / LOAD.rate for count in counts], color=INK, marker=".")
    answered.axvline(enough.shards, color=PALE, zorder=0)
    answered.text(enough.shards - 0.3, 4, "planned", color="#7b8188", ha="right")
    answered.set(ylim=(0, 104), yticks=(0, 50, 100), yticklabels=("0 %", "50 %", "100 %"))
    waiting = axes_of(figure, "seconds", "s of events that wait", (1, 2, 2))
    for count, color in ((counts[-3], OTHER), (enough.shards, INK)):
        lag = found[count].lag
        waiting.plot([0.2 * step for step in range(len(lag))], lag, color=color, label=f"{count} shards")
    waiting.legend(frameon=False, loc="upper left")
    waiting.set(ylim=(0, None))
