"""Partitions are shared evenly, move seldom, and never have two owners."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import Claim, Cooperative, shared_out

PARTITIONS = st.integers(1, 24)
NAMES = st.sampled_from("abcdefg")


class Group:
    """Workers that take what they are given, let go of the rest, and then ask for another round."""

    def __init__(self, partitions: int) -> None:
        self.partitions = range(partitions)
        self.members: dict[str, Cooperative] = {}

    def meet(self) -> dict[str, frozenset[int]]:
        """One round: what each was given."""
        leader = next(iter(self.members.values()))
        cluster = SimpleNamespace(partitions_for_topic=lambda _: set(self.partitions))
        answers = leader.assign(cluster, {name: member.metadata(["t"]) for name, member in self.members.items()})
        given = {}
        for name, answer in answers.items():
            self.members[name].on_assignment(type(answer).decode(answer.encode()))
            given[name] = frozenset(place.partition for place in answer.partitions())
        return given

    def settle(self) -> int:
        """Meet until nobody lets go of anything; tell how often that was."""
        rounds = 0
        while True:
            given, rounds = self.meet(), rounds + 1
            self.disjoint(given)
            let_go = False
            for name, member in self.members.items():
                let_go |= bool(member.claimed - given[name])
                member.claimed = given[name]
            if not let_go:
                return rounds

    def disjoint(self, given: dict[str, frozenset[int]]) -> None:
        """Nobody is given what another still reads."""
        for name, partitions in given.items():
            for other, member in self.members.items():
                assert name == other or not partitions & member.claimed

    def sizes(self) -> list[int]:
        """How many partitions each has, fewest first."""
        return sorted(len(member.claimed) for member in self.members.values())


@given(PARTITIONS, st.lists(NAMES, min_size=1, max_size=12))
def test_however_workers_come_and_go_each_partition_has_one_owner_and_all_have_their_share(partitions, coming_and_going):
    group = Group(partitions)
    group.members["z"] = Cooperative("t")
    group.settle()
    for name in coming_and_going:
        if name in group.members:
            del group.members[name]
        else:
            group.members[name] = Cooperative("t")
        before = {other: member.claimed for other, member in group.members.items()}
        assert group.settle() <= 2
        assert sorted(partition for member in group.members.values() for partition in member.claimed) == list(range(partitions))
        sizes = group.sizes()
        assert sizes[-1] - sizes[0] <= 1
        _assert_few_moved(before, group)


def _assert_few_moved(before: dict[str, frozenset[int]], group: Group) -> None:
    """Who is within the share keeps all it had; who is above it gives just what is too much."""
    for name, held in before.items():
        now = group.members[name].claimed
        assert held <= now or now <= held
        assert held <= now or len(now) >= len(group.partitions) // len(before)


def test_of_two_who_claim_a_partition_the_one_that_was_away_loses_it():
    claims = {"a": Claim(3, (0, 1, 2, 3)), "b": Claim(5, (0, 1)), "c": Claim(5, (2,))}
    assert shared_out(range(4), claims) == {"a": [3], "b": [0, 1], "c": [2]}


def test_a_worker_that_comes_back_hears_that_it_missed_a_round():
    group = Group(4)
    group.members = {"a": Cooperative("t"), "b": Cooperative("t")}
    group.settle()
    away = group.members.pop("a")
    group.settle()
    group.members["a"] = away
    group.meet()
    assert away.missed
    assert not group.members["b"].missed


def test_a_claim_on_a_partition_that_is_not_there_is_none():
    assert shared_out(range(2), {"a": Claim(1, (0, 7))}) == {"a": [0, 1]}


@given(st.builds(Claim, st.integers(-1, 2**40), st.lists(st.integers(0, 9999)).map(tuple)))
def test_claims_survive_the_way_to_the_leader(claim):
    assert Claim.decode(claim.encode()) == claim
