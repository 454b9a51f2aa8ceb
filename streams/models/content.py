"""Content: items of the brands, categories and tags the user was last at, by likeness to the user's interest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.models.compile import inlined, lean
from streams.models.dot import dot
from streams.models.pool import CONTENT_AT, LINE, MET, SEEN, place
from streams.models.prefetch import AHEAD, prefetch

if TYPE_CHECKING:
    from streams.models.catalog import Catalog

__all__ = ["Shelves", "likeness", "look_alike", "resemblance", "shelves", "speaks"]


class Shelves(NamedTuple):
    """The arrays of the catalogue as the kernels take them; shapes as in :class:`streams.models.catalog.Catalog`."""

    item_tokens: NDArray[np.int32]
    postings: NDArray[np.int32]
    posting_count: NDArray[np.int64]
    content: NDArray[np.float32]
    context: NDArray[np.float32]
    available: NDArray[np.uint8]


def shelves(catalog: Catalog) -> Shelves:
    """Take the arrays of the catalogue, without a copy."""
    # Written out: this runs for every list.
    return Shelves(
        catalog.item_tokens, catalog.postings, catalog.posting_count, catalog.content, catalog.context, catalog.available
    )


@inlined
def likeness(shelves: Any, item: int, interest: Any) -> float:
    """Give the cosine of a unit interest vector and the item's: unit content plus unit context; 0 where either is unknown."""
    if item >= shelves.content.shape[0] or item >= shelves.context.shape[0]:
        return 0.0
    a, b = shelves.content[item], shelves.context[item]
    return _cosine(dot(a, a), dot(b, b), dot(a, b), dot(a, interest), dot(b, interest))


@inlined
def _cosine(aa: float, bb: float, ab: float, ai: float, bi: float) -> float:
    """Combine the products of content a, context b and interest i."""
    a = 1.0 / math.sqrt(aa) if aa > 0.0 else 0.0
    b = 1.0 / math.sqrt(bb) if bb > 0.0 else 0.0
    square = aa * a * a + bb * b * b + 2.0 * ab * a * b
    # Content and context that cancel leave rounding errors, no direction.
    return (ai * a + bi * b) / math.sqrt(square) if square > 1e-6 else 0.0


@lean
def resemblance(shelves: Any, item: int, other: int) -> float:
    """Give the cosine of the content and the context of two items, added up: from -2 to 2; 0 for an unknown item."""
    total = 0.0
    if max(item, other) >= min(shelves.content.shape[0], shelves.context.shape[0]):
        return total
    for vectors in (shelves.content, shelves.context):
        xx, yy, xy = dot(vectors[item], vectors[item]), dot(vectors[other], vectors[other]), dot(vectors[item], vectors[other])
        total += xy / math.sqrt(xx * yy) if xx > 0.0 and yy > 0.0 else 0.0
    return total


@lean
def look_alike(shelves: Any, recent: Any, interest: Any, tokens: Any, found: Any, pool: Any) -> None:
    """Score the items last seen under the tokens of the last recent items.

    Tokens take turns, newest item's first, so a crowded category leaves room for a rare brand. Items of the user's
    history are left to `repeat`.

    Parameters
    ----------
    shelves, recent
        Where to look and for what.
    interest : float32[D]
        Unit vector of the user's interest; nothing is scored where it is 0.
    tokens : int32[asked * tokens per item]
        Scratch; its length says how many recent items are asked about.
    found : int32[budget]
        Scratch; its length says how many items are compared at most.
    pool
        Receives the scores above 0.
    """
    size = _browse(shelves, tokens, _tokens(shelves, recent, tokens), found, pool) if speaks(interest) else 0
    rows = min(shelves.content.shape[0], shelves.context.shape[0])
    for n in range(-AHEAD, size):
        if n + AHEAD < size and found[n + AHEAD] < rows:
            for d in range(0, interest.shape[0], LINE):
                prefetch(shelves.content, found[n + AHEAD], d)
                prefetch(shelves.context, found[n + AHEAD], d)
        if n >= 0:
            pool.rows[pool.slots[found[n]], CONTENT_AT] = max(likeness(shelves, np.int64(found[n]), interest), 0.0)


@lean
def _browse(shelves: Any, tokens: Any, count: int, found: Any, pool: Any) -> int:
    """List the distinct items under the first ``count`` tokens, turn by turn, that are not in the user's history."""
    size, depth, known = 0, shelves.postings.shape[1], pool.slots.shape[0]
    for turn in range(depth):
        left = False
        for t in range(count):
            posted = shelves.posting_count[tokens[t]]
            if turn >= min(posted, depth):
                continue
            left = True
            item = np.int64(shelves.postings[tokens[t], (posted - 1 - turn) % depth])
            if item < 0 or item >= known:
                continue
            if size == found.shape[0]:
                return size
            row = place(pool, item)
            if pool.flags[row] & (MET | SEEN) == 0:
                pool.flags[row] |= SEEN
                found[size] = item
                size += 1
        if not left:
            break
    return size


@lean
def speaks(vector: Any) -> bool:
    """Tell whether a vector says anything."""
    for value in vector:  # noqa: SIM110  a generator would not compile
        if value != 0.0:
            return True
    return False


@lean
def _tokens(shelves: Any, recent: Any, tokens: Any) -> int:
    """List the distinct posted tokens of the last recent items."""
    found, width = 0, shelves.item_tokens.shape[1]
    for q in range(min(recent.size[0], tokens.shape[0] // max(width, 1))):
        item = recent.items[q]
        for place_ in range(width if item < shelves.item_tokens.shape[0] else 0):
            token = shelves.item_tokens[item, place_]
            if token < 0 or token >= shelves.posting_count.shape[0] or shelves.posting_count[token] == 0:
                continue
            known = False
            for t in range(found):
                known = known or tokens[t] == token
            if not known:
                tokens[found] = token
                found += 1
    return found
