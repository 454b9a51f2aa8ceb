"""Compile every kernel once, by carrying a small made-up world through the real pipeline.

`python -m streams.warm` compiles for the settings that are the default, with `all` at its end for every method of segments.
"""

from __future__ import annotations

import asyncio
import sys
import time
from types import SimpleNamespace
from typing import get_args

import numpy as np

from streams.decode import Batch
from streams.facets import Facets
from streams.knobs.models import ModelKnobs, Segments
from streams.memory import Loop
from streams.models.clusterers import clusterer
from streams.models.erasing import erase
from streams.models.ids import Ids, pack
from streams.models.kmeans import KMeans
from streams.models.lloyd import halve
from streams.models.popularity import Popularity
from streams.settings import Settings
from streams.similar import Similar

__all__ = ["warm"]

_FEW = 8  # the smallest buffer
_MOST = 2
_LONG = 64  # windows after which everything that recurs has come once


async def warm(settings: Settings) -> None:
    """Bring the compiled kernels into this process; the first time on a machine it compiles them for all processes to come."""
    loop = Loop(_crowded(settings))
    for offset in range(0, 16, 4):
        messages = [_message(offset + place) for place in range(4)]
        loop.finish(await loop.pipeline.prepare(Batch({0: messages}, {0: offset}), 1))
    Facets(0.0).of(loop.fold.models, [0])
    _group(settings)
    # In the loop no segment has a best list yet.
    listed = Popularity(segments=1)
    listed.apply([0, 1], [1.0, 1.0], [0.0, 0.0], [0, 0])
    listed.keep(np.array([1]))
    erase(loop.fold.models, pack(loop.fold.models.users.names([0])))
    Similar(settings).rows(loop.fold.models, loop.fold.models.visits.item_users[:1, :0].astype("int32").ravel())


def _crowded(settings: Settings) -> Settings:
    """Where users or items are limited, let so few in that some leave."""
    knobs = settings.models
    few = {"max_users": min(knobs.max_users, _MOST), "max_items": min(knobs.max_items, _MOST)}
    return settings.model_copy(update={"models": knobs.model_copy(update=few)})


def _group(settings: Settings) -> None:
    """Teach a clusterer of the method at once what in the loop begins only with a full buffer, or later."""
    knobs = settings.parameters()["segments"] | {"buffer": _FEW}
    spare = clusterer(**knobs)
    spare.partial_fit(np.arange(4.0 * _FEW).reshape(-1, 2))
    spare.predict(spare.cluster_centers_)
    if isinstance(spare, KMeans):
        # By itself it solves, watches for drift and mends, which in a worker is the keeper's and the log's to ask for.
        alone = KMeans(k=spare.k, buffer=_FEW, window=_FEW)
        alone.partial_fit(np.random.default_rng(0).random((_LONG * _FEW, 2)))
        halve(np.arange(8.0).reshape(-1, 2), np.ones(4))
    crowd = Ids()
    crowd.add(pack([b"%d" % number for number in range(len(crowd.ends) + 1)]))


def _message(offset: int) -> SimpleNamespace:
    late = offset // 12  # the last batch is of others
    names = offset % 3 + 3 * late, offset % 5 + 5 * late
    value = b'{"type":"view","user_id":"u%d","item_id":"i%d","timestamp":%d}' % (*names, 1 + offset)
    return SimpleNamespace(offset=offset, timestamp=1000 * (1 + offset), key=None, value=value, headers=())


if __name__ == "__main__":
    began = time.monotonic()
    asyncio.run(warm(Settings()))
    asyncio.run(warm(Settings(models=ModelKnobs(max_users=10_000, max_items=10_000))))
    for method in get_args(Segments.model_fields["method"].annotation) if sys.argv[1:] == ["all"] else ():
        asyncio.run(warm(Settings(segments=Segments(method=method))))
    print(f"kernels compiled in {time.monotonic() - began:.0f} s")  # noqa: T201 - run by hand and by make
