"""Quality: the blend beside each source and beside implicit's models, on purchases that come along and on given files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams import sample
from streams.bench import item_knn
from streams.bench.figures import Figure, Told, Wanted, bars
from streams.bench.place import Place
from streams.evaluation.recorded import Recorded, events_of, items_of, recorded
from streams.evaluation.report import report
from streams.evaluation.run import Evaluation
from streams.schemas import Item, decode_event, decode_item

WARMUP = 0.2
MEASURES = ("hr@10", "mrr@20")
PROTOCOLS = {"none": "", "seen": ", new to the user"}
EVERY = 10.0  # s between two words on how far it is

# What is promised beside being above every source and peer: on so many events of a set, with repeats.
BARS = {
    "yoochoose-2014": (83_000, {"hr@10": 0.610, "mrr@20": 0.357}),
    "online-retail-2010": (415_000, {"hr@10": 0.305, "mrr@20": 0.170}),
    "Complete Journey": (150_000, {"hr@10": 0.088, "mrr@20": 0.047}),
}


def run(place: Place, wanted: Wanted) -> Told:
    """Evaluate the sample's first `count` purchases, then the files, whole or as much of them, with and without repeats."""
    limit = None if wanted.whole else wanted.count
    told: list[Figure] = []
    results: dict[str, Any] = {}
    if not item_knn.installed():
        place.say("quality: implicit is not installed, so its models are left out (pip install implicit)")
    sets = [("Complete Journey", _purchases(wanted.count), _products())]
    sets += [(_name(file), events_of(file, limit=limit)[0], _catalogue(Path(file))) for file in wanted.files]
    for name, events, items in sets:
        for exclude, said in PROTOCOLS.items():
            result = _evaluated(place, exclude, events, items, f"{name}{said}")
            told += [_figure(measure, name, exclude, result) for measure in MEASURES]
            results[f"{name}{said}"] = result
    return Told(told, {"quality": results}, [bars(one, "the blend") for one in told])


def _name(file: str) -> str:
    path = Path(file).resolve()
    return path.parent.name if path.stem.startswith("events") else path.name.partition(".")[0]


def _evaluated(place: Place, exclude: str, events: Recorded, items: Sequence[Item], name: str) -> dict[str, Any]:
    settings = place.settings.model_copy(update={"exclude": exclude})
    evaluation = Evaluation(settings, events, int(WARMUP * len(events)))
    evaluation.stock(items)
    begun = said = time.monotonic()

    def tick(now: Evaluation) -> None:
        nonlocal said
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            place.say(f"quality: {name}, {now.done:,} of {len(events):,}, {now.done / (said - begun):,.0f}/s")

    place.say(f"quality: {name}, {len(events):,} events")
    asyncio.run(evaluation.run(tick))
    result = report(evaluation, time.monotonic() - begun)
    del result["ranks"]
    if item_knn.installed():
        place.say(f"quality: {name}, implicit's models")
        result["peers"] = item_knn.peers(evaluation)
    return result


def _figure(measure: str, name: str, exclude: str, result: dict[str, Any]) -> Figure:
    """The blend's figure beside the best source and the peers: promised above them all, and above the bar on a whole set."""
    best = max(result["sources"], key=lambda source: result["sources"][source][measure])
    beside = {other: (result["sources"] | result.get("peers", {}))[other][measure] for other in (best, *result.get("peers", ()))}
    events, bars = BARS.get(name, (0, {}))
    bar = bars.get(measure, 0.0) if exclude == "none" and result["events"] >= events else 0.0
    title = f"{measure.upper()} of the blend, {name}{PROTOCOLS[exclude]}"
    return Figure(title, result["blend"][measure], "", at_least=max(bar, *beside.values()), peers=beside)


def _catalogue(events: Path) -> list[Item]:
    """The items beside a file of events: items.csv.gz beside events.csv.gz."""
    beside = events.with_name(events.name.replace("events", "items"))
    return items_of(str(beside))[0] if beside != events and beside.exists() else []


def _purchases(count: int) -> Recorded:
    encode = msgspec.json.encode
    events = sample.purchases(count).events()
    return recorded(decode_event(encode(event), received=event["timestamp"], skew=0.0) for event in events)


def _products() -> list[Item]:
    entries = (decode_item(None, msgspec.json.encode(entry)) for entry in sample.catalogue().values())
    return [entry for entry in entries if isinstance(entry, Item)]
