"""A history written by compiled code is what plain Python would write, whatever the ids hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.items import Numbers
from streams.models.histories import Histories
from streams.written import LATEST, history_json
from tests.state.strategies import ids

LENGTH = 5
SLOTS = 3
moments = st.floats(1, LATEST) | st.integers(1, 2**38).map(lambda n: n / 64) | st.sampled_from([1.7e9, 1700000000.123456, LATEST])
events = st.tuples(st.integers(0, SLOTS - 1), ids, ids, moments)


def write(sent: list[tuple[int, str, str, float]], slots: list[int]) -> list[bytes]:
    items, types, histories = Numbers(), Numbers(), Histories(slots=SLOTS, length=LENGTH)
    for slot, item, kind, at in sent:
        histories.push([slot], [items.number(item)], [1.0], [0.0], [0], [types.number(kind)], [at])
    return history_json(histories, np.array(slots, np.int32), items, types)


@given(st.lists(events, max_size=20), st.lists(st.integers(0, SLOTS - 1), max_size=4))
def test_it_holds_the_last_events_newest_first_and_reads_back_to_the_same_numbers(
    sent: list[tuple[int, str, str, float]], slots: list[int]
) -> None:
    for slot, text in zip(slots, write(sent, slots), strict=True):
        own = [event for event in reversed(sent) if event[0] == slot][:LENGTH]
        assert json.loads(text) == [{"item_id": item, "type": kind, "at": at} for _, item, kind, at in own]


@given(st.integers(0, 10**15), st.integers(0, 9))
def test_a_moment_of_few_decimals_is_written_as_python_writes_it(number: int, decimals: int) -> None:
    moment = 1e9 + number / 10**decimals % 1e9
    (text,) = write([(0, "a", "view", moment)], [0])
    assert text == b'[{"item_id":"a","type":"view","at":%a}]' % moment


@pytest.mark.parametrize(("sent", "written"), [(-5.0, 0.0), (1e300, LATEST), (np.inf, LATEST)])
def test_a_moment_out_of_all_bounds_is_written_as_the_bound(sent: float, written: float) -> None:
    (text,) = write([(0, "a", "view", sent)], [0])
    assert json.loads(text)[0]["at"] == written


def test_more_texts_than_there_was_room_for_keep_their_numbers() -> None:
    numbers = Numbers()
    texts = [f"item {n}" * 9 for n in range(5000)]
    assert [numbers.number(text) for text in texts] == list(range(5000)) == [numbers.number(text) for text in texts]
    starts = [0, *numbers.ends[:4999].tolist()]
    assert [json.loads(numbers.json[a:b].tobytes()) for a, b in zip(starts, numbers.ends[:5000], strict=True)] == texts
