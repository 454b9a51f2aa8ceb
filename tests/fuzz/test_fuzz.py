"""Nothing from outside is trusted: bad inputs by the thousand for every door, in a process that may die of them."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("UPWELL_TEST_FUZZ_SECONDS", "2"))


@pytest.mark.parametrize("target", TARGETS)
def test_what_comes_in_is_taken_or_refused_as_documented(target):
    result = fuzz(target, SECONDS, seed=1)
    assert not result.faults, "\n".join(words for _, words in result.faults.values())
    assert result.tried > result.taken > 0
