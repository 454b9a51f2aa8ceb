"""Profile a drain: python -m docs.pictures.drain [EVENTS] samples a worker's stacks with py-spy and draws docs/drain.svg of them.

It starts Apache Kafka and Redis as `upwell bench` does, and prints the table of docs/performance.md. py-spy is not among
the dependencies, for it may need root: pip install py-spy.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

from docs.pictures.__main__ import STYLE
from streams.bench.filling import fill
from streams.bench.place import Place, own_servers, reading, wait_applied
from streams.bench.world import World
from streams.demo_worker import Worker
from streams.settings import load

PICTURE = Path(__file__).parents[1] / "drain.svg"
EVENTS = 600_000
RATE = "200"  # samples a second
SECONDS = "60"
LEAST, NAMED = 0.004, 0.0065  # of all samples: what is drawn, and what each letter of its name takes
DEPTH = 7
WAITING = ("select (selectors.py", "_worker (concurrent/futures/thread.py", "wait (threading.py")
OWN = re.compile(r"\((streams|state)/([\w/]+)\.py")
LIBRARY = re.compile(r"\((aiokafka|redis|prometheus_client|msgspec|numpy|numba|asyncio)/")

# The first of these that is anywhere in a stack says what the worker was doing.
PARTS: Mapping[str, Sequence[str]] = {
    "solve segments and write snapshots, in a thread of their own": ("streams/models/solving.py", "streams/snapshots.py"),
    "describe segments, trending items and the model for Redis": ("streams/keeper.py", "streams/similar.py"),
    "fold the learned log": ("streams/follower.py",),
    "fold events into profiles": ("streams/observe.py", "streams/observed.py"),
    "judge earlier lists": ("Scorer._judge",),
    "rank by all sources: the compiled kernels": ("Recommender.recommend", "streams/models/recommend.py"),
    "rank: the questions before and the answers' arrays after": ("streams/scoring.py", "streams/models/"),
    "make and encode lessons": ("Pipeline.lessons", "streams/lessons.py", "Pipeline.teach"),
    "encode items and neighbors": ("streams/encode.py",),
    "assemble messages and writes": ("streams/answer.py", "Profile.write", "Pipeline._recommend"),
    "decode and check events": ("streams/decode.py",),
    "profiles from the cache or Redis": ("streams/profiles.py", "Store.load"),
    "write Redis": ("Store.commit", "redis/"),
    "publish": ("streams/publisher.py", "aiokafka/producer/"),
    "fetch": ("streams/fetching.py", "aiokafka/consumer/", "aiokafka/record/"),
    "Kafka's connections": ("aiokafka/",),
}
OTHER = "the loop itself, and all else"

Stack = tuple[tuple[str, ...], int]


def main(events: int = EVENTS) -> None:
    """Profile, draw, and print the table."""
    stacks = list(_busy(_profiled(events)))
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")
        draw(figure, stacks)
        figure.savefig(PICTURE, metadata={"Date": None})
    print("| part | share of the time |\n|---|---|")  # noqa: T201 - what it is for
    for part, share in parts(stacks):
        print(f"| {part} | {share:.0%} |")  # noqa: T201 - what it is for


def parts(stacks: Sequence[Stack]) -> list[tuple[str, float]]:
    """The share of the samples of each part, the largest first."""
    found: Counter[str] = Counter()
    for frames, count in stacks:
        text = ";".join(frames)
        found[next((part for part, marks in PARTS.items() if any(mark in text for mark in marks)), OTHER)] += count
    return [(part, count / found.total()) for part, count in found.most_common()]


def draw(figure: Figure, stacks: Sequence[Stack]) -> None:
    """Draw modules below the modules that called them, as wide as they took time."""
    axes = figure.add_subplot()
    axes.set(xlim=(0, 1), ylim=(DEPTH, 0), xticks=(), yticks=())
    axes.set_frame_on(False)
    paths = Counter[tuple[str, ...]]()
    for frames, count in stacks:
        paths[_modules(frames)] += count
    total = paths.total()
    for path, begin, width in _boxes(paths, (), 0.0, total):
        color = colormaps["YlOrBr"](0.12 + 0.45 * (sum(path[-1].encode()) % 97) / 97)
        axes.barh(len(path) - 0.5, width, 0.94, begin, align="center", color=color, edgecolor="white", linewidth=0.5)
        if width >= NAMED * len(path[-1]):
            axes.text(begin + width / 2, len(path) - 0.5, path[-1], ha="center", va="center", fontsize=6)


def _boxes(
    paths: Mapping[tuple[str, ...], int], above: tuple[str, ...], begin: float, total: int
) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """Each box below one: its path, where it begins and how wide it is, of one."""
    depth = len(above)
    below: Counter[str] = Counter()
    for path, count in paths.items():
        if len(path) > depth and path[:depth] == above:
            below[path[depth]] += count
    for name, count in below.most_common():
        width = count / total
        if width >= LEAST and depth < DEPTH:
            yield (*above, name), begin, width
            yield from _boxes(paths, (*above, name), begin, total)
        begin += width


def _modules(frames: Sequence[str]) -> tuple[str, ...]:
    """The thread, then module after module of ours, and the library that they called last."""
    thread = "event loop" if "MainThread" in frames[0] else re.sub(r"^thread \(\d+\): |_\d+$", "", frames[0])
    path = [f"thread {thread}" if thread != "event loop" else thread]
    for frame in frames:
        if found := OWN.search(frame):
            name = found[2]
        elif (found := LIBRARY.search(frame)) and found[1] != "asyncio":
            name = found[1]
        else:
            continue
        if path[-1] != name and name not in {"cli", "app", "commands/worker", "commands/options"}:
            path.append(name)
    return tuple(path)


def _busy(lines: Sequence[str]) -> Iterator[Stack]:
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        if not any(mark in frames[-1] for mark in WAITING):
            yield frames, int(count)


def _profiled(events: int) -> list[str]:
    """Sampled stacks of a worker while it drains."""
    with ExitStack() as stack:
        given, _ = own_servers(stack, brokers=True, redis=True)
        folder = stack.enter_context(TemporaryDirectory())
        with Place(load(None, given), "").figure("profile") as settings, reading(settings) as reader:
            fill(settings, World(), events)
            worker = Worker(settings).start()
            try:
                file = Path(folder) / "stacks"
                _sample(worker.pid, file)
                wait_applied(worker, reader, events)
            finally:
                worker.end()
            return file.read_text(encoding="utf-8").splitlines()


def _sample(process: int, file: Path) -> None:
    command = ["py-spy", "record", "--pid", str(process), "--duration", SECONDS, "--rate", RATE, "--threads", "--nonblocking"]
    subprocess.run([*command, "--format", "raw", "--output", str(file)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
