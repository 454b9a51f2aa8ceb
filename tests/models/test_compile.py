from __future__ import annotations

import types

import numpy as np
from numba.extending import intrinsic

from streams.models import decay
from streams.models.compile import column, fingerprint
from streams.models.content import likeness
from streams.models.dot import dot
from streams.models.popularity import _count


def test_the_fingerprint_of_a_kernel_covers_constants_of_kernels_in_other_files() -> None:
    fresh = types.FunctionType(decay.exp2.py_func.__code__, {**vars(decay), "C5": 0.5})
    assert fingerprint(decay.exp2.py_func) == fingerprint(decay.exp2.py_func) != fingerprint(fresh)


def test_the_fingerprint_of_a_kernel_covers_the_code_it_calls() -> None:
    globals_ = dict(_count.py_func.__globals__)
    before = fingerprint(types.FunctionType(_count.py_func.__code__, globals_))
    after = fingerprint(types.FunctionType(_count.py_func.__code__, {**globals_, "gains": decay.weight}))
    assert before == fingerprint(_count.py_func) != after


def test_the_fingerprint_of_a_kernel_covers_the_instructions_of_intrinsics() -> None:
    globals_ = dict(likeness.py_func.__globals__)
    before = fingerprint(types.FunctionType(likeness.py_func.__code__, globals_))
    wider = types.FunctionType(dot._defn.__code__, {**dot._defn.__globals__, "LANES": 16})
    after = fingerprint(types.FunctionType(likeness.py_func.__code__, {**globals_, "dot": intrinsic(wider)}))
    assert before == fingerprint(likeness.py_func) != after


def test_a_column_that_fits_is_not_copied() -> None:
    values = np.arange(3, dtype=np.int32)
    assert column(values, np.int32) is values


def test_read_only_unaligned_and_strided_columns_become_plain_ones() -> None:
    raw = np.frombuffer(b"\0" + np.arange(6, dtype=np.int32).tobytes(), np.uint8)[1:].view(np.int32)
    for values in (raw, np.arange(6, dtype=np.int32)[::-1][::-1], range(6), np.arange(6, dtype=np.int64)):
        found = column(values, np.int32)
        assert found.flags.carray
        assert found.tolist() == list(range(6))
