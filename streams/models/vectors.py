"""The catalogue's kernels: hashed vectors of tokens and items, posting rings, and users' interests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.models.chance import GOLDEN, mix
from streams.models.compile import inlined, kernel
from streams.models.decay import weight
from streams.models.pool import LINE
from streams.models.prefetch import AHEAD, prefetch

__all__ = ["KEPT", "enter", "mean_interest", "origin", "spread", "visit"]

# Dimensions that a hash touches, half up and half down on average: a clash of two tokens is then never total.
SPREAD = 4

# A word or a price band says less of an item than its brand, category or tags.
MINOR = 0.5

# What an item keeps of its context at each visit: it follows what it is visited with lately and never outgrows float32.
KEPT = 1.0 - 1.0 / 512.0

# 64-bit FNV-1a.
BASIS = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x100000001B3)
TOP = np.uint64(63)

PRICE, WORD = ord("p"), ord("w")

# Entries of a history between asking for their vectors and adding them up: each takes some 100 ns.
ENTRIES_AHEAD = 4


@inlined
def _remainder(number: Any, size: Any) -> Any:
    """Divide and give what is left; where the size is a power of two, as it mostly is, without the division."""
    less = size - np.uint64(1)
    return number & less if size & less == np.uint64(0) else number % size


@kernel
def spread(state: Any, amount: float, vector: Any) -> None:
    """Add a hash's random vector: the amount, up or down, at a few places."""
    size = np.uint64(vector.shape[0])
    for _ in range(SPREAD):
        state += GOLDEN
        mixed = mix(state)
        place = np.int64(_remainder(mixed >> np.uint64(1), size))
        vector[place] += amount if mixed >> TOP == np.uint64(0) else -amount


@kernel
def _post(item: int, tokens: Any, postings: Any, posting_count: Any) -> None:
    """Put an item under its tokens, where it is not yet."""
    for t in range(tokens.shape[0]):
        token = tokens[t]
        if token < 0:
            return
        there = False
        for place in range(postings.shape[1]):  # without an early exit, so that it compiles to wide compares
            there |= postings[token, place] == item
        if not there:
            postings[token, posting_count[token] % postings.shape[1]] = item
            posting_count[token] += 1


@kernel
def enter(
    items: NDArray[np.int32],
    tokens: NDArray[np.int32],
    blob: NDArray[np.uint8],
    ends: NDArray[np.int64],
    starts: NDArray[np.int64],
    now_available: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    offset: NDArray[np.int64],
    known: NDArray[np.uint8],
    available: NDArray[np.uint8],
    item_tokens: NDArray[np.int32],
    content: NDArray[np.float32],
    postings: NDArray[np.int32],
    posting_count: NDArray[np.int64],
) -> None:
    """Write entries over older ones: tokens, content, availability; and put what is available under its tokens."""
    for n in range(items.shape[0]):
        item = items[n]
        if offsets[n] <= offset[item]:
            continue
        offset[item], known[item], available[item] = offsets[n], 1, now_available[n]
        item_tokens[item] = -1
        content[item] = 0
        for t in range(min(starts[n + 1] - starts[n], item_tokens.shape[1])):
            token = starts[n] + t
            first = ends[token - 1] if token > 0 else 0
            item_tokens[item, t] = tokens[token]
            state = BASIS
            for byte in range(first, ends[token]):
                state = (state ^ np.uint64(blob[byte])) * PRIME
            minor = ends[token] > first and (blob[first] == WORD or blob[first] == PRICE)
            spread(state, MINOR if minor else 1.0, content[item])
        if available[item]:
            _post(item, item_tokens[item], postings, posting_count)


@kernel
def origin(numbers: Any, item: int) -> Any:
    """Give what an item's random vector is made from: its number, or without numbers its index, by code of its own for each."""
    if numbers is None:
        return np.uint64(item)
    return np.uint64(numbers[item])


@inlined
def _ask_for(item: int, visited: Any, context: Any) -> None:
    """Have an item's context at hand some steps later."""
    prefetch(visited, item, 0)
    for d in range(0, context.shape[1], LINE):
        prefetch(context, item, d)


@kernel
def visit(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    numbers: NDArray[np.int64] | None,
    recent: NDArray[np.int32],
    visited: NDArray[np.int64],
    context: NDArray[np.float32],
    item_tokens: NDArray[np.int32],
    postings: NDArray[np.int32],
    posting_count: NDArray[np.int64],
) -> None:
    """Exchange index vectors between each visited item and the user's last ones, and put it under its tokens."""
    kept = recent.shape[1]
    for n in range(items.shape[0]):
        if n + 2 * AHEAD < items.shape[0]:
            prefetch(recent, users[n + 2 * AHEAD], 0)
        if n + AHEAD < items.shape[0]:
            _ask_for(items[n + AHEAD], visited, context)
            prefetch(item_tokens, items[n + AHEAD], 0)
            for place in range(kept):
                _ask_for(max(recent[users[n + AHEAD], place], 0), visited, context)
        item, last = items[n], recent[users[n]]
        if last[0] == item:
            continue
        for d in range(context.shape[1]):
            context[item, d] *= KEPT
        visited[item] += 1
        mine = 1.0 / math.sqrt(visited[item])
        there = kept - 1
        for place in range(kept):
            other = last[place]
            if other == item:
                there = place
            elif other >= 0:
                spread(origin(numbers, other), 1.0 / math.sqrt(visited[other]) / (place + 1), context[item])
                spread(origin(numbers, item), mine / (place + 1), context[other])
        for place in range(there, 0, -1):
            last[place] = last[place - 1]
        last[0] = item
        _post(item, item_tokens[item], postings, posting_count)


@inlined
def _inverse_root(square: float) -> float:
    # Content and context that cancel leave rounding errors, no direction.
    return 1.0 / math.sqrt(square) if square > 1e-9 else 0.0


@kernel
def mean_interest(
    now: NDArray[np.float64],
    starts: NDArray[np.int64],
    items: NDArray[np.int32],
    times: NDArray[np.float64],
    weights: NDArray[np.float32],
    half_life: float,
    content: NDArray[np.float32],
    context: NDArray[np.float32],
    found: NDArray[np.float32],
) -> None:
    """Add up each user's items, decayed, each as unit content plus unit context made unit; then make the sum unit."""
    dimensions, known = content.shape[1], content.shape[0]
    one, total = np.empty(dimensions), np.empty(dimensions)
    for n in range(now.shape[0]):
        total[:] = 0.0
        for entry in range(starts[n], starts[n + 1]):
            if entry + ENTRIES_AHEAD < starts[n + 1] and 0 <= items[entry + ENTRIES_AHEAD] < known:
                for d in range(0, dimensions, LINE):
                    prefetch(content, items[entry + ENTRIES_AHEAD], d)
                    prefetch(context, items[entry + ENTRIES_AHEAD], d)
            item = items[entry]
            if not 0 <= item < known:
                continue
            # Sums that wait for nothing but themselves go on side by side.
            aa = bb = square = 0.0
            for d in range(dimensions):
                aa += content[item, d] * content[item, d]
                bb += context[item, d] * context[item, d]
            a, b = _inverse_root(aa), _inverse_root(bb)
            for d in range(dimensions):
                one[d] = a * content[item, d] + b * context[item, d]
                square += one[d] * one[d]
            share = weights[entry] * weight(now[n] - times[entry], half_life) * _inverse_root(square)
            for d in range(dimensions):
                total[d] += share * one[d]
        square = 0.0
        for d in range(dimensions):
            square += total[d] * total[d]
        length = _inverse_root(square)
        for d in range(dimensions):
            found[n, d] = length * total[d]
