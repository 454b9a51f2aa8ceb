"""Laws of every stateful model in the registry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Protocol

import numpy as np
import pytest

import streams.models
from tests.models.worlds import REGISTRY, Stateful, World, world

SPLITTING = [law for law in REGISTRY if law.splits]

law = pytest.mark.parametrize("law", REGISTRY, ids=[law.name for law in REGISTRY])
splitting_law = pytest.mark.parametrize("law", SPLITTING, ids=[law.name for law in SPLITTING])
SEEDS = range(5)


class Model(Protocol):
    def arrays(self) -> dict[str, np.ndarray]: ...


def bytes_of(model: Model) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in model.arrays().items()}


def taught(law: Stateful, *parts: World) -> Model:
    model = law.make()
    for part in parts:
        law.apply(model, part)
    return model


@law
@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_events_give_the_same_bytes(law: Stateful, seed: int) -> None:
    assert bytes_of(taught(law, world(seed))) == bytes_of(taught(law, world(seed)))


@splitting_law
@pytest.mark.parametrize("seed", SEEDS)
def test_one_batch_teaches_the_same_as_one_event_at_a_time(law: Stateful, seed: int) -> None:
    events = world(seed)
    one_by_one = [events[n : n + 1] for n in range(len(events))]
    assert bytes_of(taught(law, events)) == bytes_of(taught(law, *one_by_one))


@splitting_law
@pytest.mark.parametrize("cut", [0, 1, 150, 299, 300])
def test_two_batches_teach_the_same_as_both_in_one(law: Stateful, cut: int) -> None:
    events = world(7)
    assert bytes_of(taught(law, events[:cut], events[cut:])) == bytes_of(taught(law, events))


@law
def test_learning_nothing_changes_nothing(law: Stateful) -> None:
    events = world(3)
    assert bytes_of(taught(law, events, events[:0])) == bytes_of(taught(law, events))


@law
def test_what_is_learned_from_is_left_as_it_was(law: Stateful) -> None:
    events, copy = world(5), world(5).copy()
    taught(law, events)
    for name, column in copy.columns().items():
        np.testing.assert_array_equal(getattr(events, name), column)


@law
def test_read_only_events_teach_the_same(law: Stateful) -> None:
    events = world(5)
    for column in events.columns().values():
        column.flags.writeable = False
    assert bytes_of(taught(law, events)) == bytes_of(taught(law, world(5)))


@law
@pytest.mark.parametrize("events", [0, 1, 300])
def test_a_restored_model_holds_the_same_bytes(law: Stateful, events: int) -> None:
    model = taught(law, world(2, events=events))
    assert bytes_of(law.restore(model.arrays())) == bytes_of(model)


@law
@pytest.mark.parametrize("seed", SEEDS)
def test_going_on_from_a_restored_model_equals_never_having_stopped(law: Stateful, seed: int) -> None:
    events = world(seed)
    restored = law.restore(taught(law, events[:170]).arrays())
    law.apply(restored, events[170:])
    assert bytes_of(restored) == bytes_of(taught(law, events[:170], events[170:]))


@law
def test_arrays_are_a_picture_of_one_moment(law: Stateful) -> None:
    model = taught(law, world(4)[:100])
    picture, before = model.arrays(), bytes_of(model)
    restored = law.restore(picture)
    law.apply(model, world(4)[100:])
    law.apply(restored, world(4)[100:])
    assert {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in picture.items()} == before


@splitting_law
def test_growing_far_at_once_equals_growing_step_by_step(law: Stateful) -> None:
    events = world(6, users=3000, items=3000, events=3000)
    parts = [events[n : n + 100] for n in range(0, len(events), 100)]
    assert bytes_of(taught(law, events)) == bytes_of(taught(law, *parts))


def test_every_stateful_model_is_in_the_registry() -> None:
    modules = [
        importlib.import_module(f"streams.models.{module.name}") for module in pkgutil.iter_modules(streams.models.__path__)
    ]
    stateful = {
        name
        for module in modules
        for name, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and hasattr(value, "from_arrays")
    }
    assert stateful == {law.name for law in REGISTRY}
