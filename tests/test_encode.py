"""The compiled JSON is what plain Python would write, whatever the ids hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.encode import items_json, neighbors_json
from streams.models.hidden import CONTEXT
from streams.models.ids import Ids, pack
from streams.models.query import Ranked
from streams.models.rerank import PIN
from streams.models.sources import FEATURES, SOURCES

HOSTILE = [
    "",
    '"',
    "\\",
    "\x00",
    "\x1f\x7f",
    '\\"',
    "\n\r\t\b\f",
    "日本",
    "😀",
    "</script>",
    "\u2028",
    "a" * 512,
    "\x01" * 512,
    "🦊" * 128,
]

texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
numbers = st.floats(0, 1e6, width=32) | st.sampled_from([0.0, 0.03125, 0.00005, 0.99995, 1.0, 123456.78])


def ids_of(names: list[str]) -> Ids:
    ids = Ids()
    ids.add(pack([name.encode() for name in names]))
    return ids


def ranked_of(n: int, size: int, names: int, seed: int, values: list[float]) -> Ranked:
    """Make random arrays of the right form; what they say need not make sense."""
    chance = np.random.default_rng(seed)

    def padded(shape: tuple[int, ...], most: int, dtype: Any) -> Any:
        array = chance.integers(0, most, shape).astype(dtype)
        array[np.arange(shape[-1]) >= chance.integers(0, shape[-1] + 1, shape[:-1])[..., None]] = -1
        return array

    items = padded((n, size), names, np.int32)
    picked = np.array(values, np.float32)
    return Ranked(
        count=(items >= 0).sum(axis=1).astype(np.int32),
        items=items,
        scores=chance.choice(picked, (n, size)),
        source=padded((n, size, 3), PIN + 1, np.int8),
        share=chance.choice(picked, (n, size, 3)),
        because=padded((n, size, 3, 2), names, np.int32),
        neighbors=padded((n, size), names, np.int32),
        similarity=chance.choice(picked, (n, size)),
        context=np.zeros((n, CONTEXT), np.float32),
        propensity=chance.choice(np.array([0, 0, 1, 1 / 3, 1 / 187, 1e-6], np.float32), (n, size)),
        starts=np.zeros(n + 1, np.int64),
        candidates=np.zeros(0, np.int32),
        features=np.zeros((0, FEATURES), np.float32),
        shown=np.zeros(0, np.uint8),
    )


def plain_items(ranked: Ranked, names: list[str], user: int) -> list[dict[str, Any]]:
    return [
        {
            "item_id": names[ranked.items[user, rank]],
            "score": round(float(ranked.scores[user, rank]), 4),
            "reasons": [
                {
                    "source": (*SOURCES, "pin")[source],
                    "share": round(float(ranked.share[user, rank, place]), 4),
                    "because": [names[item] for item in ranked.because[user, rank, place] if item >= 0],
                }
                for place, source in enumerate(ranked.source[user, rank])
                if source >= 0
            ],
        }
        | ({"propensity": round(float(drawn), 8)} if (drawn := ranked.propensity[user, rank]) > 0 else {})
        for rank in range(ranked.count[user])
    ]


def plain_neighbors(ranked: Ranked, names: list[str], user: int, n: int) -> list[dict[str, Any]]:
    pairs = zip(ranked.neighbors[user, :n].tolist(), ranked.similarity[user, :n].tolist(), strict=True)
    return [{"user_id": names[other], "similarity": round(similarity, 4)} for other, similarity in pairs if other >= 0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(texts, min_size=1, max_size=12, unique=True),
    st.integers(0, 5),
    st.integers(1, 12),
    st.integers(0, 2**32),
    st.lists(numbers, min_size=1, max_size=20),
)
def test_json_is_what_plain_python_writes(names: list[str], n: int, size: int, seed: int, values: list[float]) -> None:
    ranked, ids = ranked_of(n, size, len(names), seed, values), ids_of(names)
    lists, near = items_json(ranked, ids), neighbors_json(ranked, ids, 5)
    assert [json.loads(text) for text in lists] == [plain_items(ranked, names, user) for user in range(n)]
    assert [json.loads(text) for text in near] == [plain_neighbors(ranked, names, user, 5) for user in range(n)]


def test_bytes_are_those_of_json_dumps_without_spaces() -> None:
    ranked, names = ranked_of(3, 4, 3, 7, [0.1234, 2.5678]), ["a", 'q"uo\\te', "ü😀"]
    ranked.propensity[:] = 1 / 187  # eight decimals, as the scores here have four
    for user, text in enumerate(items_json(ranked, ids_of(names))):
        assert text.decode() == json.dumps(plain_items(ranked, names, user), ensure_ascii=False, separators=(",", ":"))


def test_numbers_that_are_none_do_not_break_the_json() -> None:
    ranked = ranked_of(1, 6, 1, 1, [0.0])
    ranked.neighbors[:] = 0
    ranked.similarity[0] = [np.nan, np.inf, -np.inf, -0.5, -0.00001, 1e30]
    found = [entry["similarity"] for entry in json.loads(neighbors_json(ranked, ids_of(["a"]))[0])]
    assert found == [0.0, 9e11, -9e11, -0.5, 0.0, 9e11]


def test_nobody_gives_nothing() -> None:
    ranked = ranked_of(0, 3, 1, 1, [0.0])
    assert items_json(ranked, Ids()) == neighbors_json(ranked, Ids()) == []
