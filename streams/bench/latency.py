"""Latency: events arrive on a fixed schedule; from the moment each was due to its recommendation, read by another client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.bench import peers
from streams.bench.figures import Figure, Page, Told, Wanted, percentiles
from streams.bench.filling import fill
from streams.bench.listener import Arrival
from streams.bench.load import Sent, listening, sending
from streams.bench.panels import Distribution
from streams.bench.place import BenchFailed, Place, page, reading, wait_applied, working
from streams.bench.schedule import Answers, Schedule
from streams.bench.world import World

if TYPE_CHECKING:
    from state.reader import Reader
    from streams.demo_worker import Worker
    from streams.settings import Settings

# ms at the median and at the 99th percentile that are promised, by events/s
PROMISED = {2_000.0: {"p50": 12.0, "p99": 45.0}, 200.0: {"p50": 8.0, "p99": 30.0}}
SECONDS = 2_000.0  # of events/s that all events last: a slower rate gets so many fewer, over the same time
WARM = 0.1  # share of the events that are sent before it counts: clients connect, the worker's batches find their size
PEERS = 0.25  # share of the events that are enough for a peer
BEFORE = 2  # events that were learned before, for each that is sent: an empty model answers faster
SETTLE = 1.0  # s until a client has read what was published
QUIET = 3.0  # s until a worker has written what a drain leaves behind: segments, items, its figures
AGREED_MS = 2.0  # between the worker's own median and that of the client outside
PATIENCE = 60.0  # s for a peer's figures
HISTOGRAM = "upwell_event_to_recommendation_seconds"
OURS, FAUST, HARNESS = "Upwell", "faust doing nothing", "no worker (broker and harness)"


@dataclass(slots=True)
class Run:
    """One run at one rate: milliseconds of each event by who answered, the worker's own percentiles, what the senders said."""

    rate: float
    milliseconds: dict[str, Sequence[float]] = field(default_factory=dict)
    own: dict[str, float] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    @property
    def invalid(self) -> str:
        """Why the run does not count; empty where it does."""
        return next((sent.invalid for sent in self.sent if sent.invalid), "")


def run(place: Place, wanted: Wanted) -> Told:
    """Measure at each rate, some times over, each time beside the peers; `count` events at 2,000/s."""
    counts = {rate: max(10, int(wanted.count * rate / SECONDS)) for rate in PROMISED}
    found: dict[float, list[Run]] = {rate: [] for rate in PROMISED}
    with place.figure("latency") as settings:
        known = BEFORE * wanted.count
        place.say(f"latency: {known:,} events are learned before")
        fill(settings, World(), known)
        with reading(settings) as reader, working(settings) as worker:
            wait_applied(worker, reader, known)
            time.sleep(QUIET)
            load = _Load(settings, _Answering(worker, reader, known))
            for turn in range(wanted.runs):
                place.say(f"latency: run {turn + 1} of {wanted.runs}")
                for one in _turn(place, load, counts):
                    found[one.rate].append(one)
                    if one.invalid:
                        place.say(f"latency: run {turn + 1} at {one.rate:,.0f}/s does not count: {one.invalid}")
    figures = [figure for runs in found.values() for figure in _figures(runs)]
    senders = {f"{rate:,.0f}/s": [sent.told() for one in runs for sent in one.sent] for rate, runs in found.items()}
    return Told(figures, {"senders": senders}, [_panel(runs) for runs in found.values()])


def _turn(place: Place, load: _Load, counts: Mapping[float, int]) -> list[Run]:
    """One run at every rate: the harness alone, the do-nothing agent, then the worker, which had nothing to do meanwhile."""
    runs = {rate: Run(rate) for rate in counts}
    few = {rate: max(10, int(PEERS * count)) for rate, count in counts.items()}
    with place.figure("peers") as settings:
        fill(settings, World(), 0)
        alone = _Load(settings)
        for rate, count in few.items():
            sent, arrived = alone.heard(settings.topics.events, rate, count)
            _note(runs[rate], HARNESS, sent, [1000 * (at - due) for at, _, _, due in arrived])
    with place.figure("peers") as settings:
        fill(settings, World(), 0)
        _faust(settings, runs, few)
    load.send(max(counts), max(1, int(WARM * counts[max(counts)])))
    for rate, count in counts.items():
        before, first = load.page(), load.sent
        sent, arrived = load.heard(load.settings.topics.recommendations, rate, count)
        after = load.page()
        runs[rate].own = {p: 1000 * after.percentile(HISTOGRAM, q, before) for p, q in (("p50", 0.5), ("p99", 0.99))}
        _note(runs[rate], OURS, sent, answered(scheduled(rate, count, first).due(sent.begin), arrived))
    return list(runs.values())


def _note(run: Run, name: str, sent: Sent, milliseconds: Sequence[float]) -> None:
    run.sent.append(sent)
    run.milliseconds[name] = milliseconds


def _faust(settings: Settings, runs: Mapping[float, Run], counts: Mapping[float, int]) -> None:
    load = _Load(settings)
    warm = max(1, int(WARM * max(counts.values())))
    peer = peers.launched("faust-timed", settings, warm + sum(counts.values()))
    peers.wait_started(peer)
    load.send(max(counts), warm)
    sent = {rate: load.send(rate, count) for rate, count in counts.items()}
    milliseconds = peers.told(peer, PATIENCE)["latencies_ms"][warm:]
    for rate, count in counts.items():
        _note(runs[rate], FAUST, sent[rate], milliseconds[:count])
        milliseconds = milliseconds[count:]


def scheduled(rate: float, count: int, first: int) -> Schedule:
    """The schedule of the events from number `first` on."""
    return Schedule(rate, count, first, World(seed=1 + first))


@dataclass(frozen=True, slots=True)
class _Answering:
    """A worker that answers, who tells what it has applied, and how many events it knew before."""

    worker: Worker
    reader: Reader
    known: int


class _Load:
    """Sends events to one topic, each with a number of its own, and waits until a worker, if there is one, has applied them."""

    def __init__(self, settings: Settings, by: _Answering | None = None) -> None:
        self.settings, self._by = settings, by
        self.sent = 0

    def send(self, rate: float, count: int) -> Sent:
        """Send the next events, and wait for their end."""
        with sending(self.settings, scheduled(rate, count, self.sent)) as sender:
            sent = sender.told()
        self.sent += count
        if self._by is not None:
            wait_applied(self._by.worker, self._by.reader, self._by.known + self.sent)
        return sent

    def heard(self, topic: str, rate: float, count: int) -> tuple[Sent, list[Arrival]]:
        """Send the next events, and listen to a topic until all is read."""
        with listening(self.settings, topic) as listener:
            sent = self.send(rate, count)
            time.sleep(SETTLE)  # what is still under way
            listener.end()
            return sent, list(listener.taken())

    def page(self) -> Page:
        """What the worker says of itself."""
        return page(self._by.worker) if self._by else Page("")


def answered(events: Iterator[tuple[int, str, float]], arrived: Iterable[Arrival]) -> list[float]:
    """Milliseconds of each event until a recommendation covers it: its user's first that this or a later event triggered."""
    answers = Answers(events)
    found = [ms for at, user, trigger, _ in arrived for ms in answers.take(at, user, trigger)]
    if left := answers.left():
        raise BenchFailed(f"{left} events are without an answer")
    return found


def counted(runs: Sequence[Run]) -> tuple[Sequence[Run], str]:
    """The runs that count, and why none of them does, where none does; then all are shown."""
    valid = [one for one in runs if not one.invalid]
    return (valid, "") if valid else (runs, runs[0].invalid)


def _figures(runs: Sequence[Run]) -> Iterator[Figure]:
    valid, invalid = counted(runs)
    rate = runs[0].rate
    found = {name: [percentiles(one.milliseconds[name]) for one in valid] for name in (OURS, FAUST, HARNESS)}
    for share in ("p50", "p90", "p99", "max"):
        by = _taken(found, share)
        own, promised = by.pop(OURS), PROMISED[rate].get(share)
        yield Figure(f"event to recommendation, {rate:,.0f}/s, {share}", own, "ms", None, promised, by, invalid)
    for share, agreed in (("p50", AGREED_MS), ("p99", None)):
        beside = {"its histogram": [one.own[share] for one in valid], "outside": [one[share] for one in found[OURS]]}
        off = [abs(inside - outside) for inside, outside in zip(*beside.values(), strict=True)]
        yield Figure(f"worker's histogram, {rate:,.0f}/s, {share} off by", off, "ms", None, agreed, beside, invalid)


def _taken(found: Mapping[str, Sequence[Mapping[str, float]]], share: str) -> dict[str, list[float]]:
    return {name: [one[share] for one in runs] for name, runs in found.items()}


def _panel(runs: Sequence[Run]) -> Distribution:
    valid, invalid = counted(runs)
    together: dict[str, list[float]] = {OURS: [], FAUST: [], HARNESS: []}
    for one in valid:
        for name, milliseconds in one.milliseconds.items():
            together[name] += milliseconds
    title = f"event to recommendation, {runs[0].rate:,.0f}/s{', INVALID' if invalid else ''}"
    return Distribution(title, "ms", together)
