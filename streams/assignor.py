"""Who reads which partition: each keeps what it has, and a partition changes hands only after its owner let it go."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

__all__ = ["Claim", "Cooperative", "shared_out"]

_NEVER = -1  # the round of a worker that was never given partitions
_ROUND = struct.Struct("<q")


class Claim(NamedTuple):
    """What a worker says it reads, and the round in which it was last given partitions."""

    round: int
    partitions: tuple[int, ...]

    def encode(self) -> bytes:
        """Give the claim as bytes, little endian: int64 round, then int32 for each partition."""
        return struct.pack(f"<q{len(self.partitions)}i", self.round, *self.partitions)

    @classmethod
    def decode(cls, data: bytes) -> Claim:
        """Read what :meth:`encode` wrote."""
        number, *partitions = struct.unpack(f"<q{(len(data) - _ROUND.size) // 4}i", data)
        return cls(number, tuple(partitions))


def shared_out(partitions: Iterable[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Share the partitions out evenly among those who claim some or none, moving as few as that takes.

    A partition that must move is given to nobody in this round: its owner lets it go and asks for another round, in
    which it is free (the idea of KIP-429). So nobody else has to stop, and no two workers read one partition.
    """
    known = set(partitions)
    owned = _owned(known, claims)
    quota = _quotas(len(known), {member: len(held) for member, held in owned.items()})
    given = {member: held[: quota[member]] for member, held in owned.items()}
    for partition in sorted(known.difference(*owned.values())):
        given[min(given, key=lambda member: (len(given[member]) - quota[member], member))].append(partition)
    return given


def _owned(partitions: set[int], claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """Whose each partition is: of two who claim it the one of the later round, for the other was away."""
    owner: dict[int, str] = {}
    for member in sorted(claims, key=lambda member: (claims[member].round, member)):
        owner |= dict.fromkeys(partitions.intersection(claims[member].partitions), member)
    return {member: sorted(p for p, whose in owner.items() if whose == member) for member in sorted(claims)}


def _quotas(partitions: int, owned: Mapping[str, int]) -> dict[str, int]:
    """How many each may have; who has most gets what does not divide evenly."""
    each, more = divmod(partitions, len(owned))
    busiest = sorted(owned, key=lambda member: (-owned[member], member))
    return {member: each + (place < more) for place, member in enumerate(busiest)}


class Cooperative:
    """Kafka's view of it: what a worker tells the group, what the leader answers, and what the worker hears.

    ``claimed`` is what the worker reads or was last given, ``missed`` whether others met without it before it was given
    that: then somebody else may have read its partitions meanwhile.
    """

    name = "upwell-cooperative"

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._round = _NEVER
        self.claimed: frozenset[int] = frozenset()
        self.missed = False

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Tell the group what this worker reads."""
        claim = Claim(self._round, tuple(sorted(self.claimed)))
        return ConsumerProtocolMemberMetadata(0, list(topics), claim.encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the topic out, as the group's leader."""
        claims = {member: Claim.decode(metadata.user_data) for member, metadata in members.items()}
        number = _ROUND.pack(1 + max(claim.round for claim in claims.values()))
        given = shared_out(cluster.partitions_for_topic(self._topic) or (), claims)
        return {
            member: ConsumerProtocolMemberAssignment(0, [(self._topic, partitions)], number)
            for member, partitions in given.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Hear what this worker was given."""
        (number,) = _ROUND.unpack(assignment.user_data)
        self.missed = number != self._round + 1
        self._round = number
