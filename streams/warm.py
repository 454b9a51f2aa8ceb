"""Compile every kernel once, by carrying a small made-up world through the real pipeline: `python -m streams.warm`."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import numpy as np

from streams.decode import Batch
from streams.facets import Facets
from streams.memory import Loop
from streams.models.clusterers import clusterer
from streams.models.ids import Ids, pack
from streams.models.kmeans import KMeans
from streams.models.lloyd import halve
from streams.settings import Settings
from streams.similar import Similar

__all__ = ["warm"]

_FEW = 8  # the smallest buffer
_LONG = 64  # windows after which everything that recurs has come once


async def warm(settings: Settings) -> None:
    """Bring the compiled kernels into this process; the first time on a machine it compiles them for all processes to come."""
    loop = Loop(settings)
    for offset in range(0, 12, 4):
        messages = [_message(offset + place) for place in range(4)]
        loop.finish(await loop.pipeline.prepare(Batch({0: messages}, {0: offset}), 1))
    Facets(0.0).of(loop.fold.models, [0])
    _group(settings)
    Similar(settings).rows(loop.fold.models, loop.fold.models.visits.item_users[:1, :0].astype("int32").ravel())


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
    value = b'{"type":"view","user_id":"u%d","item_id":"i%d","timestamp":%d}' % (offset % 3, offset % 5, 1 + offset)
    return SimpleNamespace(offset=offset, timestamp=1000 * (1 + offset), key=None, value=value, headers=())


if __name__ == "__main__":
    began = time.monotonic()
    asyncio.run(warm(Settings()))
    print(f"kernels compiled in {time.monotonic() - began:.0f} s")  # noqa: T201 - run by hand and by make
