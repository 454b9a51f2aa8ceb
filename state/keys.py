"""Every key Upwell keeps in Redis: its name, type, time to live and writer, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FAMILIES", "ITEM_TTL", "PART_TTL", "SEGMENTS", "USER_TTL", "Family", "Keys"]

DAY: Final = 86_400
# Long enough for a customer who shops once a season, short enough that the ones who left make room.
USER_TTL: Final = 90 * DAY
ITEM_TTL: Final = 90 * DAY
# A writer that dies half-way leaves parts behind that no pointer names.
PART_TTL: Final = 3_600
# Segment ids are 0 to 63, so that all segments can be read without an index and without SCAN.
SEGMENTS: Final = 64


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of key; ``ttl`` is in seconds, and None means permanent."""

    pattern: str
    type: str
    ttl: int | None
    writer: str


FAMILIES: Final = {
    "user": Family("user:{id}", "hash", USER_TTL, "commit, fenced by write_users.lua"),
    "item": Family("item:{id}", "hash", ITEM_TTL, "catalog agent, owner of events partition 0"),
    "segment": Family("segment:{k}", "hash", None, "owner of events partition 0"),
    "trending": Family("trending", "zset", None, "owner of events partition 0"),
    "model": Family("model", "hash", None, "owner of events partition 0, forward only by write_model.lua"),
    "applied": Family("applied", "hash", None, "commit, by advance_applied.lua"),
    "safe": Family("safe", "hash", None, "on a Redis Cluster, the owner of each partition"),
    "catalogue": Family("catalogue", "hash", None, "catalog agent, owner of events partition 0"),
    "snapshot": Family("snapshot", "hash", None, "snapshot writer, by flip_snapshot.lua"),
    "snapshot part": Family("snapshot:{offset}:{writer}:{i}", "string", PART_TTL, "snapshot writer"),
}


class Keys:
    """The names of the keys under one prefix."""

    __slots__ = ("_user", "applied", "catalogue", "model", "prefix", "safe", "snapshot_pointer", "trending")

    def __init__(self, prefix: str = "upwell:") -> None:
        """Take the prefix that every key starts with."""
        self.prefix = prefix.encode()
        self._user = self.prefix + b"user:"
        self.trending = self.prefix + b"trending"
        self.model = self.prefix + b"model"
        self.applied = self.prefix + b"applied"
        self.safe = self.prefix + b"safe"
        self.catalogue = self.prefix + b"catalogue"
        self.snapshot_pointer = self.prefix + b"snapshot"

    def user(self, user_id: str) -> bytes:
        """Name the hash of a user, whatever characters the id holds."""
        return self._user + user_id.encode()

    def item(self, item_id: str) -> bytes:
        """Name the hash of an item."""
        return self.prefix + b"item:" + item_id.encode()

    def segment(self, segment: int) -> bytes:
        """Name the hash of a segment."""
        return b"%ssegment:%d" % (self.prefix, segment)

    def snapshot_part(self, offset: int, writer: str, part: int) -> bytes:
        """Name one part of a snapshot; the writer keeps two workers at one offset from mixing their parts."""
        return b"%ssnapshot:%d:%s:%d" % (self.prefix, offset, writer.encode(), part)

    def snapshot_offset(self, part: bytes) -> int:
        """Read the offset of a snapshot from the name of one of its parts."""
        return int(part[len(self.snapshot_pointer) + 1 :].partition(b":")[0])

    def user_of(self, key: bytes) -> bytes | None:
        """Give the id of the user whose hash this is; None: it is nobody's."""
        return key[len(self._user) :] if key.startswith(self._user) else None

    def family(self, key: bytes) -> str | None:
        """Tell which family of the table a key belongs to; None: it is not one of Upwell's."""
        if not key.startswith(self.prefix):
            return None
        head, colon, _ = key[len(self.prefix) :].partition(b":")
        name = head.decode(errors="replace")
        if colon and name == "snapshot":
            return "snapshot part"
        known = FAMILIES.get(name)
        return name if known and (":" in known.pattern) == bool(colon) else None

    def permanent(self, key: bytes) -> bool:
        """Tell whether a key may be without a TTL; a snapshot part may be once the pointer names it."""
        family = self.family(key)
        return family is not None and FAMILIES[family].ttl is None
