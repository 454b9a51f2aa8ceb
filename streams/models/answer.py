"""The way from a question to an answer: what the kernels of all sources, of the blend and of the reasons do for each user."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.candidates import Candidates, blend, choose, dread, unite
from streams.models.compile import inlined, lean
from streams.models.content import look_alike
from streams.models.covisits import count_covisits
from streams.models.hidden import Net, activate, context_of
from streams.models.lists import COMMON, put
from streams.models.neighbors import EUCLIDEAN, PEARSON, Crowd, disperse, gather, nearest, weigh
from streams.models.paths import Decays, walk
from streams.models.pool import Pool, drain
from streams.models.reasons import Evidence, because, share_out, trace_back
from streams.models.recent import Recent, read_history
from streams.models.rerank import PIN, PLACES, Room, rerank
from streams.models.sources import NEIGHBORS, PATH
from streams.models.top import index_of, score_of

__all__ = ["Answer", "Options", "Question", "Scratch", "answer_all"]

COMMON_LISTS = len(COMMON)
# A candidate that is written already.
COPIED = 2


class Question(NamedTuple):
    """A query as the kernels take it; shapes as in :class:`streams.models.query.Query`."""

    users: NDArray[np.int32]
    now: NDArray[np.float64]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.float64]
    weights: NDArray[np.float32]
    blocked: NDArray[np.uint8]
    vectors: NDArray[np.float32]
    aversions: NDArray[np.float32]
    net: Net
    population: int
    seeds: NDArray[np.uint64]


class Options(NamedTuple):
    """The recommender's parameters as the kernels take them."""

    measure: int
    judged: int
    keep: int
    query_half_life: float
    repeat_half_life: float
    path: Decays
    covisit: NDArray[np.float64]
    near: NDArray[np.float64]
    dampings: NDArray[np.int64]
    heard: NDArray[np.uint8]


class Scratch(NamedTuple):
    """Everything a user's scoring writes to, made once and grown with the models."""

    pool: Pool
    recent: Recent
    crowd: Crowd
    candidates: Candidates
    room: Room
    evidence: Evidence
    bias: NDArray[np.float32]
    tokens: NDArray[np.int32]
    found: NDArray[np.int32]


class Answer(NamedTuple):
    """The arrays of a :class:`streams.models.query.Ranked`, the last three with room for every user's ``keep``."""

    counts: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    source: NDArray[np.int8]
    share: NDArray[np.float32]
    because: NDArray[np.int32]
    neighbors: NDArray[np.int32]
    similarity: NDArray[np.float32]
    context: NDArray[np.float32]
    propensity: NDArray[np.float32]
    starts: NDArray[np.int64]
    candidates: NDArray[np.int32]
    features: NDArray[np.float32]
    shown: NDArray[np.uint8]


@lean
def _ask(question: Any, user: int, rings: Any, shelves: Any, options: Any, scratch: Any, context: Any) -> None:
    """Let every source that depends on the user score its items into the pool, and tell the blend about the user."""
    pool, recent, crowd, me = scratch.pool, scratch.recent, scratch.crowd, np.int64(question.users[user])
    entries, distinct, gap = read_history(question, user, options.repeat_half_life, recent, pool)
    context_of(question.net, entries, distinct, gap, context, scratch.bias)
    count_covisits(rings, me, recent, options.query_half_life, options.covisit, options.near, pool)
    square = weigh(rings, recent, question.population, options.query_half_life, crowd)
    gather(rings, me, recent, options.measure in (PEARSON, EUCLIDEAN), crowd)
    nearest(recent, options.measure, square, crowd)
    walk(rings, crowd, question.now[user], options.path, pool)
    look_alike(shelves, recent, question.vectors[user], scratch.tokens, scratch.found, pool)


@lean
def _name(user: int, net: Any, bias: Any, pool: Any, candidates: Any, answer: Any) -> None:
    """Write the sources of the items listed; what is pinned has its own."""
    for rank in range(answer.counts[user]):
        if answer.source[user, rank, 0] == PIN:
            continue
        features = candidates.features[candidates.member[pool.slots[answer.items[user, rank]]]]
        activate(net, bias, features, candidates.layer)
        share_out(net, net.linear[user], features, candidates.layer, answer.source[user, rank], answer.share[user, rank])


@lean
def _explain(question: Any, user: int, rings: Any, shelves: Any, options: Any, scratch: Any, answer: Any) -> None:
    """Write which of the user's items each reason comes from."""
    items, traced = answer.items[user, : answer.counts[user]], False
    for rank in range(items.shape[0]):
        row = np.int64(scratch.pool.slots[items[rank]])
        for reason in range(answer.source.shape[2]):
            source = answer.source[user, rank, reason]
            if source < 0:
                break
            if not traced and source in (NEIGHBORS, PATH):
                trace_back(rings, scratch.crowd, question.now[user], options.path, items, scratch.evidence)
                traced = True
            found = answer.because[user, rank, reason]
            because(source, rank, items[rank], row, scratch.recent, scratch.pool, shelves, scratch.evidence, found)


@lean
def _keep(user: int, options: Any, pool: Any, candidates: Any, shown: Any, answer: Any) -> None:
    """Write the candidates to learn from, up to ``keep``: the blend's best in order, the list's, every source's, others."""
    begin = answer.starts[user]
    end, stop = begin, begin + options.keep
    for member in range(candidates.size[0]):
        if 0 < shown[member] & PLACES <= options.judged:
            candidates.judged[member] = 1
    for rank in range(min(options.judged, candidates.ordered[0])):
        member = candidates.member[pool.slots[index_of(candidates.order[0, rank])]]
        end = _copy(candidates, member, pool, shown, end, stop, answer)
    for wanted in (1, 0):
        for member in range(candidates.size[0]):
            if candidates.judged[member] == wanted:
                end = _copy(candidates, member, pool, shown, end, stop, answer)
    answer.starts[user + 1] = end


@inlined
def _copy(candidates: Any, member: int, pool: Any, shown: Any, end: int, stop: int, answer: Any) -> int:
    """Write one candidate, unless there is no room; it is not written again."""
    candidates.judged[member] = COPIED
    if end == stop:
        return end
    answer.candidates[end], answer.shown[end] = pool.items[candidates.rows[member]], shown[member]
    for feature in range(answer.features.shape[1]):
        answer.features[end, feature] = candidates.features[member, feature]
    return end + 1


@lean
def _near(user: int, crowd: Any, answer: Any) -> None:
    """Write the nearest users."""
    for near in range(crowd.best_size[0]):
        joined = crowd.best[0, near]
        answer.neighbors[user, near], answer.similarity[user, near] = crowd.users[index_of(joined)], score_of(joined)


@lean
def answer_all(question: Any, lists: Any, rings: Any, shelves: Any, options: Any, asked: Any, scratch: Any, answer: Any) -> None:
    """Answer every user, leaving the scratch as empty as it was."""
    pool, candidates, room = scratch.pool, scratch.candidates, scratch.room
    for user in range(question.users.shape[0]):
        _ask(question, user, rings, shelves, options, scratch, answer.context[user])
        candidates.sizes[:] = 0
        for row in range(COMMON_LISTS):
            put(lists, row, options.heard, shelves.available, pool, candidates)
        if lists.segment[user] >= 0:
            put(lists, lists.segment[user], options.heard, shelves.available, pool, candidates)
        choose(rings, question.population, options.dampings, options.heard, shelves.available, pool, candidates)
        unite(rings, pool, options.judged, candidates)
        dread(shelves, question.aversions[user], pool, candidates)
        blend(question.net, user, scratch.bias, pool, candidates)
        rerank(asked, question.seeds[user], shelves, pool, candidates, room, user, answer)
        _name(user, question.net, scratch.bias, pool, candidates, answer)
        _explain(question, user, rings, shelves, options, scratch, answer)
        _keep(user, options, pool, candidates, room.shown, answer)
        _near(user, scratch.crowd, answer)
        for member in range(candidates.size[0]):
            candidates.member[candidates.rows[member]] = -1
        drain(pool)
        disperse(scratch.crowd)
