"""Segments that choose their own number, through pipeline, lessons and the learned log."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from streams.bench.world import World
from streams.decode import Batch
from streams.memory import Loop
from streams.records import Centers, decode_centers, encode_centers
from streams.segments import Describer
from streams.settings import Settings

EVENTS, BATCH = 8_000, 100


@pytest.fixture(scope="module")
def loop():
    """A loop that has learned a world of 20 tastes."""
    loop = Loop(Settings(segments={"k": "auto"}))
    values = [value for chunk in World(users=400, items=400).backlog(EVENTS, 1.7e9) for _, value in chunk]

    async def learn():
        for first in range(0, EVENTS, BATCH):
            rows = [
                SimpleNamespace(offset=n, timestamp=1_800_000_000_000, key=None, value=values[n], headers=())
                for n in range(first, first + BATCH)
            ]
            loop.finish(await loop.pipeline.prepare(Batch({0: rows}, {0: first}), 1))

    asyncio.run(learn())
    return loop


def test_segments_are_described_under_the_ids_in_use_with_exact_sizes(loop):
    models = loop.fold.models
    rows = Describer(Settings()).rows(models, {})
    assert [row.segment for row in rows] == models.segments.ids.tolist()
    assert 4 <= len(rows) <= 64
    counted = Counter(models.members.of_user[: len(models.users)].tolist())
    del counted[-1]
    assert {row.segment: row.fields["size"] for row in rows if row.fields["size"]} == counted
    assert all(np.isfinite(row.fields["centroid"]).all() and row.fields["drift"] >= 0 for row in rows)


def test_new_centers_pass_the_log_with_the_ids_that_are_free(loop):
    centers = loop.fold.models.segments.cluster_centers_
    found = decode_centers(encode_centers(Centers(7, 5.0, centers)))
    assert found.generation == 7
    assert found.centers.tobytes() == centers.tobytes()
    stay = decode_centers(encode_centers(Centers(8, 5.0, np.zeros((0, 32)))))
    assert stay.centers.shape == (0, 32)
