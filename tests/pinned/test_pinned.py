"""What earlier versions wrote is read, and folds to the very arrays that it folded to then, on whichever machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.follower import Fold
from streams.learned import Taught
from streams.models.models import Models
from streams.records import VERSION, Kind, decode
from streams.settings import Settings
from streams.snapshots import thaw
from tests.pinned.make import checksums, log_of

HERE = Path(__file__).parent
FOLDERS = sorted(path for path in HERE.iterdir() if (path / "learned.z").exists())
PARAMETERS = Settings().parameters()


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def promised(folder):
    return json.loads((folder / "folded.json").read_text())


def follow(fold, records):
    accepted = [fold.fold(decode(records[at], at), at) for at in range(fold.models.version, len(records))]
    assert not all(accepted)  # the late retry
    return fold


def assert_as_then(fold, folder):
    then, now = promised(folder), checksums(fold.models)
    # Later versions may have arrays that there were none of then.
    assert {name: now.get(name) for name in then["arrays"]} == then["arrays"]
    assert {str(partition): end for partition, end in fold.taught.ends.items()} == then["taught"]
    assert fold.models.events == then["events"] > 0


def test_this_version_has_a_folder():
    newest = next(folder for folder in FOLDERS if folder.name == f"records-{VERSION}")
    assert set(promised(newest)["arrays"]) == set(Models(**PARAMETERS).arrays())
    assert VERSION in {decode(value, at).version for at, value in enumerate(log_of(newest))}


def test_the_log_has_every_kind_of_record(folder):
    assert {decode(value, at).kind for at, value in enumerate(log_of(folder))} == set(Kind)


def test_a_log_from_its_beginning_folds_to_what_it_did(folder):
    assert_as_then(follow(Fold(Models(**PARAMETERS), Taught()), log_of(folder)), folder)


def test_a_snapshot_and_the_log_after_it_fold_to_what_they_did(folder):
    fold = thaw((folder / "snapshot.bin").read_bytes(), PARAMETERS)
    assert 0 < fold.models.version < len(log_of(folder))
    assert_as_then(follow(fold, log_of(folder)), folder)
