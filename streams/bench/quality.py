"""Quality: hit rate and reciprocal rank of the blend and of each source, on purchases that come along and on given files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams import sample
from streams.bench.figures import Figure
from streams.bench.place import Place
from streams.evaluation.recorded import Recorded, events_of, items_of, recorded
from streams.evaluation.report import report
from streams.evaluation.run import Evaluation
from streams.schemas import Item, decode_event, decode_item
from streams.settings import Settings

WARMUP = 0.2
MEASURES = ("hr@10", "mrr@20")
EVERY = 10.0  # s between two words on how far it is


def run(place: Place, count: int, files: Sequence[str] = ()) -> tuple[list[Figure], dict[str, Any]]:
    """Evaluate the sample's first `count` purchases, then the first `count` events of each file."""
    settings = place.settings.model_copy(update={"exclude": "none"})
    results = {"Complete Journey": _evaluated(place, settings, _purchases(count), _products(), "Complete Journey")}
    for file in files:
        name = Path(file).resolve().parent.name if Path(file).stem.startswith("events") else Path(file).stem
        events, _ = events_of(file, limit=count)
        results[name] = _evaluated(place, settings, events, _catalogue(Path(file)), name)
    told = [_figure(measure, name, result) for name, result in results.items() for measure in MEASURES]
    return told, {"quality": results}


def _evaluated(place: Place, settings: Settings, events: Recorded, items: Iterable[Item], name: str) -> dict[str, Any]:
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
    return report(evaluation, time.monotonic() - begun)


def _figure(measure: str, name: str, result: dict[str, Any]) -> Figure:
    sources = {source: figures[measure] for source, figures in result["sources"].items()}
    ranked = dict(sorted(sources.items(), key=lambda one: -one[1]))
    title = f"{measure.upper()} of the blend, {name}"
    return Figure(title, result["blend"][measure], "", at_least=max(sources.values()), peers=ranked)


def _catalogue(events: Path) -> list[Item]:
    """The items beside a file of events: items.csv.gz beside events.csv.gz."""
    beside = events.with_name(events.name.replace("events", "items"))
    return items_of(str(beside))[0] if beside != events and beside.exists() else []


def _purchases(count: int) -> Recorded:
    encode = msgspec.json.encode
    return recorded(
        decode_event(encode(event), received=event["timestamp"], skew=0.0) for event in sample.purchases(count).events()
    )


def _products() -> list[Item]:
    entries = (decode_item(None, msgspec.json.encode(entry)) for entry in sample.catalogue().values())
    return [entry for entry in entries if isinstance(entry, Item)]
