from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.models.blend import Blend, BlendDelta
from streams.models.hidden import CONTEXT, Hidden, Net
from streams.models.sources import FEATURES, SOURCES, TRAITS

S = len(SOURCES)
NONE = np.int16(-1)


class Shown:
    """Random candidates; in each event the source drawn from ``right`` ranks what the user does next high."""

    def __init__(self, seed: int, right: dict[int, float], n: int = 200, c: int = 40) -> None:
        random = np.random.default_rng(seed)
        self.items = np.array([random.permutation(1000)[:c] for _ in range(n)], np.int32)
        place = random.integers(0, c, n)
        self.targets = self.items[np.arange(n), place]
        noise = random.random((n, c, S))
        who = random.choice(list(right), n, p=list(right.values()))
        noise[np.arange(n), place, who] += random.random(n)
        ranks = (-noise).argsort(axis=1).argsort(axis=1) + 1
        scores = np.sqrt(noise / noise.max(axis=1, keepdims=True))
        traits = random.random((n, c, len(TRAITS)))
        self.features = np.concatenate([scores, 1 / ranks, traits], axis=2).astype(np.float32)
        self.segments = np.full(n, -1, np.int16)
        self.contexts = random.random((n, CONTEXT)).astype(np.float32)

    def __iter__(self):  # type: ignore[no-untyped-def]  # unpacks as the arguments of gradients
        return iter((self.items, self.features, self.targets, self.segments, self.contexts))

    def part(self, rows: slice) -> tuple[NDArray[np.generic], ...]:
        return self.items[rows], self.features[rows], self.targets[rows], self.segments[rows], self.contexts[rows]

    def hits(self, weights: NDArray[np.float64] | Blend, depth: int = 10) -> float:
        scores = self.scores(weights.net(self.segments)) if isinstance(weights, Blend) else self.features @ weights
        best = np.argsort(-scores, axis=1)[:, :depth]
        return float((np.take_along_axis(self.items, best, axis=1) == self.targets[:, None]).any(axis=1).mean())

    def scores(self, net: Net) -> NDArray[np.float64]:
        """What the net makes of every candidate, by matrices."""
        layer = self.features @ net.hidden.astype(np.float64) + (self.contexts @ net.context.astype(np.float64))[:, None]
        found: NDArray[np.float64] = np.einsum("ncf,nf->nc", self.features, net.linear.astype(np.float64))
        return found + np.maximum(layer, 0) @ net.out


def loss(blend: Blend, shown: Shown) -> float:
    net = Net(
        np.tile(blend.weights, (len(shown.items), 1)),
        blend.hidden.weights[:FEATURES],
        blend.hidden.weights[FEATURES:],
        blend.hidden.out,
    )
    scores = shown.scores(net)
    right = (scores * (shown.items == shown.targets[:, None])).sum(axis=1)
    return float((np.log(np.exp(scores).sum(axis=1)) - right).sum())


def taught(right: dict[int, float], batch: int = 50, rounds: int = 40, **parameters: float) -> Blend:
    blend = Blend(**parameters)  # type: ignore[arg-type]
    for seed in range(rounds):
        shown = Shown(seed, right)
        for start in range(0, len(shown.items), batch):
            blend.apply(blend.gradients(*shown.part(slice(start, start + batch))))
    return blend


def only(source: int) -> NDArray[np.float64]:
    weights = np.zeros(FEATURES)
    weights[source] = 1
    return weights


def learned(seed: int) -> Blend:
    """A blend whose hidden layer has something to say."""
    blend, random = Blend(floor=0.0), np.random.default_rng(seed)
    blend.hidden.out[:] = random.normal(size=len(blend.hidden.out))
    return blend


def test_the_gradient_is_that_of_the_loss() -> None:
    blend, shown = learned(0), Shown(0, {2: 1.0}, n=30)
    delta = blend.gradients(*shown)
    found = np.concatenate([delta.gradient[0, :FEATURES], delta.hidden[0, : blend.hidden.size]])
    parameters = [blend.weights, blend.hidden.weights.reshape(-1), blend.hidden.out]
    slopes, step = [], 1e-5
    for weights in parameters:
        for n in range(len(weights)):
            before = weights[n]
            weights[n] = before + step
            above = loss(blend, shown)
            weights[n] = before - step
            slopes.append((above - loss(blend, shown)) / (2 * step))
            weights[n] = before
    # Candidates that have next to no chance are left out, and the scores are float32.
    np.testing.assert_allclose(found, slopes, atol=5e-3)


def test_the_hidden_layers_squares_are_those_of_single_events_by_row_unit_and_way_out() -> None:
    blend, shown = learned(1), Shown(1, {2: 1.0}, n=20)
    each = blend.each(*shown)[:, FEATURES:-1]
    within, out = (
        np.square(each[:, : -len(blend.hidden.out)]).sum(axis=0),
        np.square(each[:, -len(blend.hidden.out) :]).sum(axis=0),
    )
    by_pair = within.reshape(blend.hidden.weights.shape)
    found = blend.gradients(*shown).hidden[0, blend.hidden.size :]
    np.testing.assert_allclose(found, [*by_pair.sum(axis=1), *by_pair.sum(axis=0), *out])
    assert len(found) == blend.hidden.taught_size - blend.hidden.size


def test_an_untrained_hidden_layer_says_nothing() -> None:
    shown = Shown(0, {2: 1.0}, n=5)
    np.testing.assert_allclose(shown.scores(Blend().net(shown.segments)), shown.features @ Blend().weights, rtol=1e-6)


def test_the_hidden_layer_learns_what_no_weighted_sum_can() -> None:
    """Source 1 is right for users with context 0, source 8 for the others: a sum of weights must choose."""

    def world(seed: int, n: int) -> Shown:
        shown, other = Shown(seed, {1: 1.0}, n), Shown(seed + 50_000, {8: 1.0}, n)
        shown.contexts[:] = 0
        shown.contexts[:, 0] = 1
        odd = np.arange(n) % 2 == 1
        shown.contexts[odd, 1] = 1
        for name in ("items", "features", "targets"):
            getattr(shown, name)[odd] = getattr(other, name)[odd]
        return shown

    both, linear = Blend(), Blend()
    for seed in range(30):
        shown = world(seed, 100)
        both.apply(both.gradients(*shown))
        delta = linear.gradients(*shown)
        linear.apply(BlendDelta(delta.segment, delta.events, delta.gradient))
    late = world(999_000, 2000)
    assert late.hits(both, depth=1) > 1.4 * late.hits(linear, depth=1)


def test_a_lesson_never_moves_the_hidden_layer_far() -> None:
    hidden = Hidden(FEATURES, 0.1)
    before = hidden.weights.copy()
    hidden.apply(np.full(hidden.taught_size, 1e9), 1.0)
    assert np.abs(hidden.weights - before).max() <= 0.1 + 1e-9
    assert np.abs(hidden.out).max() <= 0.1


def test_squares_are_summed_event_by_event() -> None:
    blend, shown = Blend(), Shown(0, {2: 1.0}, n=30)
    each = [blend.gradients(*shown.part(slice(n, n + 1))).gradient[0, :FEATURES] for n in range(30)]
    np.testing.assert_allclose(blend.gradients(*shown).gradient[0, FEATURES:], np.square(each).sum(axis=0))


@pytest.mark.parametrize("source", [0, 4, 9])
def test_the_source_that_is_right_gains_weight_and_the_blend_becomes_as_good(source: int) -> None:
    blend, late = taught({source: 1.0}), Shown(999, {source: 1.0}, n=3000)
    before, after = Blend().named_weights(), blend.named_weights()
    assert after[SOURCES[source]] > max(0.35, before[SOURCES[source]])
    assert max(after, key=lambda name: after[name]) == SOURCES[source]
    assert late.hits(blend) >= late.hits(only(source)) - 0.02


def test_where_the_sources_take_turns_the_blend_beats_every_single_one() -> None:
    right = {1: 0.4, 2: 0.35, 8: 0.25}
    blend, late = taught(right), Shown(999, right, n=3000)
    assert late.hits(blend) > 1.1 * max(late.hits(only(source)) for source in range(S))
    assert late.hits(blend) > late.hits(np.ones(FEATURES))


def test_the_size_of_batches_hardly_matters() -> None:
    right = {1: 0.6, 8: 0.4}
    late = Shown(999, right, n=3000)
    rates = [late.hits(taught(right, batch=batch)) for batch in (1, 20, 200)]
    assert max(rates) - min(rates) < 0.02


def test_a_blend_that_falls_behind_its_best_source_falls_back_on_it_and_lets_go_again() -> None:
    blend, late = Blend(rate=1e-9), Shown(999, {9: 1.0}, n=1000)
    best = late.hits(only(9))
    assert late.hits(blend) < 0.6 * best
    for seed in range(60):
        shown = Shown(seed, {9: 1.0}, n=50)
        order = np.argsort(-shown.scores(blend.net(shown.segments)), axis=1)
        items, features = np.take_along_axis(shown.items, order, 1), np.take_along_axis(shown.features, order[..., None], 1)
        blend.watch(blend.judge(items, features, shown.targets), 50)
    assert late.hits(blend) > 0.97 * best
    assert blend.guard.argmax() == 9
    for _ in range(200):
        blend.watch(np.array([0] * S + [30]), 50)
    assert blend.guard.max() < 0.01


def test_when_another_source_is_right_the_blend_follows_within_hundreds_of_events() -> None:
    blend, late = Blend(), Shown(999, {9: 1.0}, n=1000)
    for step in range(200):
        shown = Shown(step, {1: 1.0} if step < 150 else {9: 1.0}, n=10)
        order = np.argsort(-shown.scores(blend.net(shown.segments)), axis=1)
        items, features = np.take_along_axis(shown.items, order, 1), np.take_along_axis(shown.features, order[..., None], 1)
        blend.watch(blend.judge(items, features, shown.targets), 10)
        blend.apply(blend.gradients(items, features, *shown.part(slice(None))[2:]))
    assert late.hits(blend) > 0.9 * late.hits(only(9))


def test_what_is_learned_does_not_depend_on_the_guard() -> None:
    quiet, loud, shown = Blend(), Blend(), Shown(3, {1: 1.0}, n=50)
    loud.guard[:] = 20.0
    taught = [blend.each(*shown) for blend in (quiet, loud)]
    assert taught[0].any()
    np.testing.assert_array_equal(*taught)
    assert (loud.weights_for([-1]) > quiet.weights_for([-1]) + 19).any()


def test_no_weight_falls_below_the_floor() -> None:
    blend, against = Blend(floor=0.05), np.ones((1, 2 * FEATURES))
    for _ in range(200):
        blend.apply(BlendDelta(np.array([-1], np.int16), np.array([1]), against))
    assert blend.weights[2 * S :].max() < 0
    assert blend.weights[: 2 * S].min() == 0.05
    assert blend.weights_for(np.array([-1, 3], np.int16))[:, : 2 * S].min() == np.float32(0.05)


def test_a_segment_gets_its_own_weights_as_it_shows_more_events() -> None:
    blend = Blend(shrink=200.0)
    for seed in range(30):
        for segment, source in ((3, 1), (5, 8)):
            shown = Shown(seed, {source: 1.0}, n=20)
            shown.segments[:] = segment
            blend.apply(blend.gradients(*shown))
    assert blend.events[[3, 5]].tolist() == [600, 600]
    one, other, new, none = blend.weights_for([3, 5, 7, -1])
    np.testing.assert_allclose(one, np.maximum(blend.weights + 0.75 * blend.offsets[3], blend.floor), rtol=1e-6)
    assert one[1] > other[1]
    assert one[8] < other[8]
    assert (new == none).all()
    assert (none == blend.weights.astype(np.float32)).all()


def test_deltas_add() -> None:
    blend, shown = Blend(), Shown(1, {2: 1.0})
    shown.segments = np.random.default_rng(0).integers(-1, 4, 200).astype(np.int16)
    whole = blend.gradients(*shown)
    parts = blend.gradients(*shown.part(slice(0, 70))) + blend.gradients(*shown.part(slice(70, 200)))
    assert whole.segment.tolist() == parts.segment.tolist() == [-1, 0, 1, 2, 3]
    assert whole.events.tolist() == parts.events.tolist()
    np.testing.assert_allclose(whole.gradient, parts.gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.hidden, parts.hidden, rtol=1e-9, atol=1e-12)


def test_what_was_no_candidate_teaches_nothing() -> None:
    blend, shown = Blend(), Shown(0, {2: 1.0}, n=3)
    shown.targets = np.array([5000, -1, 5001], np.int32)
    shown.items[:, 30:] = -1
    before = {name: array.tobytes() for name, array in blend.arrays().items()}
    delta = blend.gradients(*shown)
    assert delta.segment.shape == (0,)
    assert delta.gradient.shape == (0, 2 * FEATURES)
    assert not delta.hidden.size
    blend.apply(delta)
    assert {name: array.tobytes() for name, array in blend.arrays().items()} == before


def test_gradients_leave_everything_unchanged() -> None:
    blend, shown, same = Blend(), Shown(0, {2: 1.0}), Shown(0, {2: 1.0})
    before = blend.weights.copy()
    blend.gradients(*shown)
    assert (blend.weights == before).all()
    assert all((one == other).all() for one, other in zip(shown, same, strict=True))


def test_a_segment_beyond_those_it_has_uses_the_global_weights() -> None:
    blend = Blend(segments=2)
    blend.apply(BlendDelta(np.array([7], np.int16), np.array([1]), np.ones((1, 2 * FEATURES))))
    assert (blend.weights_for([7]) == blend.weights.astype(np.float32)).all()
    assert not blend.events.any()


def test_hits_are_counted_by_source_and_blend() -> None:
    kept = np.array([[5, 6, 7, -1], [5, 6, 7, 8], [5, 6, 7, 8]], np.int32)
    features = np.zeros((3, 4, FEATURES), np.float32)
    features[0, 1, S + 2] = np.float16(1 / 10)
    features[1, 2, S + 2] = 1 / 11
    features[1, 2, S + 4] = 1
    features[2, 0, S + 4] = 1
    blend, targets = Blend(), np.array([6, 7, -1], np.int32)
    hits = blend.judge(kept, features, targets)
    assert hits.tolist() == [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 2]
    assert blend.judge(kept, features, targets, depth=2)[-1] == 1
    assert blend.judge(kept[:0], features[:0], targets[:0]).tolist() == [0] * (S + 1)


def test_an_untrained_blend_believes_those_who_know_the_user() -> None:
    weights = Blend().named_weights()
    personal = ("covisit", "next", "path", "neighbors", "repeat")
    common = ("popular", "trending", "segment", "new")
    assert min(weights[name] for name in personal) > max(weights[name] for name in common)
    assert sum(weights.values()) == pytest.approx(1)


def test_shapes_and_parameters_that_do_not_fit_are_refused() -> None:
    blend, shown = Blend(), Shown(0, {2: 1.0}, n=3)
    with pytest.raises(ValueError, match="targets"):
        blend.gradients(shown.items, shown.features, shown.targets[:2], shown.segments, shown.contexts)
    with pytest.raises(ValueError, match="contexts"):
        blend.gradients(shown.items, shown.features, shown.targets, shown.segments, shown.contexts[:2])
    with pytest.raises(ValueError, match="out of range: segments=-1"):
        Blend(-1)
