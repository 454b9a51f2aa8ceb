"""The service where users are erased from its models: nobody is taken for another whose place moved."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from streams.memory import Loop
from streams.models.erasing import erase
from streams.models.ids import pack
from streams.settings import Settings
from tests.test_bounds import batches, prepare


@pytest.mark.parametrize("seed", range(3))
def test_lists_and_neighbors_are_of_users_and_items_that_are_there(seed: int) -> None:
    loop, random, shown = Loop(Settings()), np.random.default_rng(seed), 0
    models = loop.fold.models
    for n, batch in enumerate(batches(seed, 60)):
        answer = prepare(loop, batch, 8 * n)
        users, items = (ids.names(range(len(ids))) for ids in (models.users, models.items))
        for write in (write for writes in answer.writes.values() for write in writes):
            near = {one["user_id"].encode() for one in json.loads(write.values[7] or b"[]")}
            assert near <= set(users) - {write.user_id.encode()}, "nobody is their own neighbor"
            shown += len(near)
        for _, value in answer.recommendations:
            assert {one["item_id"].encode() for one in json.loads(value)["items"]} <= set(items)
        loop.finish(answer)
        if n % 4 == 3:
            gone = random.choice(users, 2, replace=False).tolist()
            erase(models, pack(gone))
            assert models.items.names(range(len(items))) == items, "of an item its id stays, and its place"
            assert models.users.find(pack(gone)).tolist() == [-1, -1]
    assert shown > 100


@pytest.mark.parametrize("most", ["", "models=ModelKnobs(max_users=10_000, max_items=10_000)"])
def test_the_kernels_that_erase_are_compiled_before_the_first_event(most: str) -> None:
    code = (
        "import asyncio; from streams.knobs.models import ModelKnobs; from streams.settings import Settings;"
        "from streams.warm import warm; from streams.models import erasing, ids, popularity, unvisiting, visits;"
        f"asyncio.run(warm(Settings({most})));"
        "kernels = erasing._close, erasing._look, unvisiting.unvisit, popularity._recount, popularity._best, visits._forget;"
        "print(*[len(one.signatures) for one in (*kernels, ids._copy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1 1 1 1 2 1 1", "")
