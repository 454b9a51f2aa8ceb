"""The segments in Redis, one hash each under its stable id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from state.connection import send
from state.keys import SEGMENTS, Keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from state.connection import Client

__all__ = ["Segment", "TopItem", "decode", "keep_only", "read", "write"]


class TopItem(msgspec.Struct, frozen=True):
    """An item that this segment likes more than the others do; ``lift`` is the ratio of the shares."""

    item_id: str
    lift: float


class Segment(msgspec.Struct, frozen=True):
    """One segment; ``share`` of all users who are in one, ``growth`` over 7 days (0.1: a tenth more; None: not known yet).

    ``since`` is in seconds, ``drift`` the distance its centroid moved since then.
    """

    id: int
    name: str
    size: int
    share: float
    growth: float | None
    top: list[TopItem]
    centroid: list[float]
    since: float
    drift: float


_top: Final = msgspec.json.Decoder(list[TopItem])
_centroid: Final = msgspec.json.Decoder(list[float])


async def write(
    redis: Client,
    keys: Keys,
    segment: int,
    *,
    name: str,
    size: int,
    share: float,
    growth: float | None,
    top: Iterable[tuple[str, float]],
    centroid: Sequence[float],
    since: float,
    drift: float,
) -> None:
    """Write one segment; ``top`` are (item, lift), best first."""
    if not 0 <= segment < SEGMENTS:
        message = f"segment ids run from 0 to {SEGMENTS - 1}, not {segment}"
        raise ValueError(message)
    fields: dict[str, str | bytes] = {
        "name": name,
        "size": str(size),
        "share": repr(float(share)),
        "growth": "" if growth is None else repr(float(growth)),
        "top": msgspec.json.encode([TopItem(item_id, lift) for item_id, lift in top]),
        "centroid": msgspec.json.encode(list(centroid)),
        "since": repr(float(since)),
        "drift": repr(float(drift)),
    }
    await redis.hset(keys.segment(segment), mapping=fields)  # type: ignore[arg-type]


async def keep_only(redis: Client, keys: Keys, ids: Iterable[int]) -> None:
    """Remove all segments but these: the others are gone."""
    await send(redis, [("UNLINK", keys.segment(segment)) for segment in sorted(set(range(SEGMENTS)) - set(ids))])


def decode(segment: int, stored: Mapping[bytes, bytes]) -> Segment | None:
    """Decode a segment hash; None: there is no such segment, or somebody else wrote what is there and it is to be replaced."""
    try:
        return Segment(
            id=segment,
            name=stored[b"name"].decode(),
            size=int(stored[b"size"]),
            # A hash may be older than these two fields.
            share=float(stored.get(b"share", 0.0)),
            growth=float(stored[b"growth"]) if stored.get(b"growth") else None,
            top=_top.decode(stored[b"top"]),
            centroid=_centroid.decode(stored[b"centroid"]),
            since=float(stored[b"since"]),
            drift=float(stored[b"drift"]),
        )
    except (KeyError, ValueError, msgspec.DecodeError):
        return None


async def read(redis: Client, keys: Keys) -> list[Segment]:
    """Read all segments by id."""
    stored = await send(redis, [("HGETALL", keys.segment(k)) for k in range(SEGMENTS)])
    found = [decode(k, fields) for k, fields in enumerate(stored)]
    return [segment for segment in found if segment]
