import aiokafka.partitioner
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.partition import murmur2, partition_for, partitions_for

# From Kafka's own UtilsTest.testMurmur2; Java's int is signed.
KAFKA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
KEYS = st.lists(st.binary(max_size=40), max_size=50)


@pytest.mark.parametrize(("key", "hashed"), KAFKA_VECTORS.items())
def test_hashes_as_kafkas_own_test_vectors(key, hashed):
    assert murmur2(key) == hashed % 2**32


@given(st.binary(max_size=600), st.integers(1, 10_000))
def test_agrees_with_the_port_in_aiokafka(key, count):
    assert murmur2(key) == aiokafka.partitioner.murmur2(key) % 2**32
    assert partition_for(key, count) == (aiokafka.partitioner.murmur2(key) & 0x7FFFFFFF) % count


@given(KEYS, st.integers(1, 10_000))
def test_a_batch_is_placed_as_its_keys_one_by_one(keys, count):
    placed = partitions_for(keys, count)
    assert placed.dtype == np.int32
    assert placed.tolist() == [partition_for(key, count) for key in keys]


def test_a_batch_may_hold_over_long_and_non_ascii_keys():
    keys = ["ünïcode".encode(), b"\x00\xff" * 256, b"", b"x"]
    assert partitions_for(keys, 8).tolist() == [partition_for(key, 8) for key in keys]


def test_an_empty_batch_has_no_partitions():
    assert partitions_for([], 8).tolist() == []


def test_users_spread_evenly_over_the_partitions():
    counts = np.bincount(partitions_for([b"user-%d" % n for n in range(8_000)], 8), minlength=8)
    assert counts.min() > 850
    assert counts.max() < 1150
