"""Parts of the HTTP API by themselves: how requests are counted."""

from __future__ import annotations

import pytest

from streams.web import guard
from streams.web.guard import Buckets


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_second_of_requests_and_fills_as_time_passes():
    clock = Clock()
    buckets = Buckets(4.0, clock)
    assert [buckets.take("ada") for _ in range(4)] == [0.0] * 4
    assert buckets.take("ada") == pytest.approx(0.25)
    assert buckets.take("ben") == 0.0
    clock.now = 0.5
    assert [buckets.take("ada") == 0.0 for _ in range(3)] == [True, True, False]
    clock.now = 1e6
    assert [buckets.take("ada") == 0.0 for _ in range(5)] == [True] * 4 + [False]


def test_one_request_a_second_is_the_least():
    clock = Clock()
    buckets = Buckets(1.0, clock)
    assert (buckets.take("ada"), buckets.take("ada")) == (0.0, 1.0)
    clock.now = 1.0
    assert buckets.take("ada") == 0.0


def test_only_so_many_addresses_are_remembered(monkeypatch):
    monkeypatch.setattr(guard, "KNOWN", 3)
    buckets = Buckets(1.0, Clock())
    for address in "abcd":
        assert buckets.take(address) == 0.0
    assert buckets.take("d") > 0.0
    assert buckets.take("a") == 0.0


def test_addresses_of_one_ipv6_network_are_one_client():
    assert guard._client("2001:db8:1:2:3::4") == guard._client("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert guard._client("2001:db8:1:3::1") != guard._client("2001:db8:1:2::1")
    assert [guard._client(one) for one in ("10.0.0.1", "", "unix:")] == ["10.0.0.1", "", "unix:"]
