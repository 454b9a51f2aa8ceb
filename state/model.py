"""The published figures of the models: how far they learned, how they weigh, how well they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from state.connection import Client, script, send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from state.keys import Keys

__all__ = ["Model", "decode", "read", "write"]


class Model(msgspec.Struct, frozen=True):
    """``version`` is an offset of the learned log, ``events`` how many were taught up to there.

    ``hits`` counts, per source and for the blend, how often the next item was among the first ten of ``judged`` lists.
    """

    version: int
    events: int
    weights: dict[str, float] = {}
    hit_rate: dict[str, float] = {}
    hits: dict[str, int] = {}
    judged: int = 0
    inertia: float | None = None


_numbers: Final = msgspec.json.Decoder(dict[str, float])
_counts: Final = msgspec.json.Decoder(dict[str, int])


async def write(
    redis: Client,
    keys: Keys,
    *,
    version: int,
    events: int,
    weights: Mapping[str, float],
    hit_rate: Mapping[str, float],
    inertia: float | None = None,
    hits: Mapping[str, int] | None = None,
    judged: int = 0,
) -> bool:
    """Publish the figures unless those of this or a later version are there; tell whether they were written."""
    values: tuple[Any, ...] = (
        version,
        *("events", events),
        *("weights", msgspec.json.encode(weights)),
        *("hit_rate", msgspec.json.encode(hit_rate)),
        *("hits", msgspec.json.encode(hits or {})),
        *("judged", judged),
        *("inertia", "" if inertia is None else repr(float(inertia))),
    )
    (written,) = await send(redis, [("EVAL", script("write_model"), 1, keys.model, *values)])
    return bool(written)


def decode(stored: Mapping[bytes, bytes]) -> Model | None:
    """Decode the model hash; None: nothing was published yet."""
    if not stored:
        return None
    return Model(
        version=int(stored[b"version"]),
        events=int(stored[b"events"]),
        weights=_numbers.decode(stored[b"weights"]),
        hit_rate=_numbers.decode(stored[b"hit_rate"]),
        hits=_counts.decode(stored[b"hits"]),
        judged=int(stored[b"judged"]),
        inertia=float(stored[b"inertia"]) if stored[b"inertia"] else None,
    )


async def read(redis: Client, keys: Keys) -> Model | None:
    """Read the published figures."""
    stored: Any = await redis.hgetall(keys.model)
    return decode(stored)
