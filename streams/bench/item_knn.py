"""Peers in quality: implicit's item-kNN and ALS, refitted every twentieth of the stream, counted as the blend is counted."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streams.evaluation.outcome import DEPTH, Figures, measured
from streams.evaluation.run import Evaluation

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["installed", "peers"]

REFITS = 20
# ALS's default of factors; more than the default of near items, which is little where histories are long.
_FACTORS, _NEAR = 100, 100


def installed() -> bool:
    """Tell whether implicit is there to be measured beside."""
    return importlib.util.find_spec("implicit") is not None


def peers(evaluation: Evaluation) -> dict[str, Figures]:
    """Give the measures of implicit's models over the events that an evaluation counted, by name.

    A model knows what happened up to its last refit; it is asked with all that the user did until the event, which is more
    than a nightly batch would know. A user of whom it knows no item gets nothing, a miss.
    """
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from implicit.utils import ParameterWarning
    from threadpoolctl import threadpool_limits

    models: dict[str, Callable[[], Any]] = {
        "implicit cosine": lambda: CosineRecommender(K=_NEAR, num_threads=1),
        "implicit BM25": lambda: BM25Recommender(K=_NEAR, num_threads=1),
        "implicit ALS": lambda: AlternatingLeastSquares(factors=_FACTORS, random_state=0, num_threads=1),
    }
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        # It tells itself that it converts a matrix of its own.
        warnings.simplefilter("ignore", ParameterWarning)
        ranks = _ranks(evaluation, models)
    return {name: measured(found) for name, found in ranks.items()}


def _ranks(evaluation: Evaluation, models: dict[str, Callable[[], Any]]) -> dict[str, NDArray[np.uint8]]:
    events, places = evaluation.events, evaluation.protocol.places
    found = {name: np.zeros(len(places), np.uint8) for name in models}
    for until, first, last, rows in _stretches(evaluation):
        known = _matrix(evaluation, until)
        targets = events.items[places[first:last]]
        for name, make in models.items():
            model = make()
            model.fit(known, show_progress=False)
            given: dict[str, Any] = {"recalculate_user": True} if name == "implicit ALS" else {}
            filtered = evaluation.settings.exclude == "seen"
            listed, _ = model.recommend(np.arange(last - first), rows, DEPTH, filter_already_liked_items=filtered, **given)
            hits = np.asarray(listed) == targets[:, None]
            found[name][first:last] = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
    return found


def _stretches(evaluation: Evaluation) -> Iterator[tuple[int, int, int, csr_matrix]]:
    """Give, for each stretch with counted events: where it begins, the counted ones, and what each one's user had done before."""
    from scipy.sparse import csr_matrix

    events, places = evaluation.events, evaluation.protocol.places
    weights = _weights(evaluation)
    done: dict[int, dict[int, float]] = {}
    for stretch in range(REFITS):
        begin, end = len(events) * stretch // REFITS, len(events) * (stretch + 1) // REFITS
        first, last = np.searchsorted(places, [begin, end]).tolist()
        rows: list[dict[int, float]] = []
        for number in range(begin, end):
            mine = done.setdefault(int(events.users[number]), {})
            if evaluation.protocol.counted[number]:
                rows.append(dict(mine))
            if weights[number] > 0:
                item = int(events.items[number])
                mine[item] = mine.get(item, 0.0) + weights[number]
        if rows:
            ends = np.cumsum([0, *map(len, rows)])
            columns = np.fromiter((item for row in rows for item in row), np.int32, ends[-1])
            values = np.fromiter((value for row in rows for value in row.values()), np.float32, ends[-1])
            yield begin, first, last, csr_matrix((values, columns, ends), shape=(len(rows), len(events.item_ids)))


def _matrix(evaluation: Evaluation, until: int) -> csr_matrix:
    """What all users did before an event: users by items, the sums of the weights above 0."""
    from scipy.sparse import coo_matrix

    events, weights = evaluation.events, _weights(evaluation)[:until]
    taught = weights > 0
    cells = weights[taught].astype(np.float32), (events.users[:until][taught], events.items[:until][taught])
    return coo_matrix(cells, shape=(len(events.user_ids), len(events.item_ids))).tocsr()


def _weights(evaluation: Evaluation) -> NDArray[np.float64]:
    """Give each event the weight that it has for the sources."""
    events, weigh = evaluation.events, evaluation.settings.weights.of
    pairs = zip(events.types.tolist(), events.values.tolist(), strict=True)
    return np.array([weigh(events.kinds[kind], value) for kind, value in pairs])
