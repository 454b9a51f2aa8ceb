"""How the kernels are compiled, and what arrays they are given."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from zlib import crc32

import numpy as np
from numba import njit
from numba.core.caching import FunctionCache
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Float16",
    "Float32",
    "Float64",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "column",
    "inlined",
    "kernel",
    "lean",
]

Array: TypeAlias = NDArray[Any]
Bool: TypeAlias = NDArray[np.bool_]
Float16: TypeAlias = NDArray[np.float16]
Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int8: TypeAlias = NDArray[np.int8]
Int16: TypeAlias = NDArray[np.int16]
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]
UInt8: TypeAlias = NDArray[np.uint8]
UInt16: TypeAlias = NDArray[np.uint16]
UInt32: TypeAlias = NDArray[np.uint32]
UInt64: TypeAlias = NDArray[np.uint64]

# What a kernel takes is numba's to check: to mypy a number read from an array is no int.
R = TypeVar("R")

Constant = bool | int | float | str | bytes | np.generic


class Cache(FunctionCache):
    """Compiled kernels on disk, looked up by all that is compiled into them.

    Numba looks at the kernel's own file only, but a kernel inlines what it calls from other files: after an upgrade
    a worker could fold with an old ``exp2`` inside a new model, and from then on differ from all the others.
    """

    def _index_key(self, sig: object, codegen: object) -> tuple[object, ...]:
        return (*super()._index_key(sig, codegen), fingerprint(self._py_func))  # type: ignore[no-untyped-call]

    def load_overload(self, sig: object, target_context: object) -> object:
        """Look a kernel up; what an older version wrote and this one cannot read counts as not there."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except (AttributeError, EOFError, ImportError):
            self.flush()  # type: ignore[no-untyped-call]
            return None


def fingerprint(function: Callable[..., object]) -> int:
    """Sum up the code and constants of a kernel and of all kernels and intrinsics that it calls."""
    return crc32("\n".join(_parts(function, set())).encode())


def _parts(function: Callable[..., object], seen: set[object]) -> Iterator[str]:
    seen.add(function)
    values: list[object] = [function.__code__]
    for value in values:
        if isinstance(value, CodeType):
            yield value.co_code.hex()
            values += [*value.co_consts, *(function.__globals__.get(name) for name in value.co_names)]
        called = getattr(value, "py_func", getattr(value, "_defn", None))  # of a kernel, of an intrinsic
        if called is not None and called not in seen:
            yield from _parts(called, seen)
        elif isinstance(value, Constant):
            yield repr(value)
        elif isinstance(value, tuple):
            values.extend(value)
        elif isinstance(value, np.ndarray):
            yield value.tobytes().hex()


def kernel(function: Callable[..., R]) -> Callable[..., R]:
    """Compile on first call, without the GIL, kept on disk; never fastmath: every CPU must get the same bytes."""
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    # What cache=True does, with the class above.
    dispatcher._cache = Cache(function)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return cast("Callable[..., R]", dispatcher)


# _nrt, numba's run-time for memory, is an option numba does not advertise.
_LEAN: Any = {"nogil": True, "error_model": "numpy", "_nrt": False}


def lean(function: Callable[..., R]) -> Callable[..., R]:
    """Compile as :func:`kernel` does, without counting references: two times faster where tuples of arrays go from hand to hand.

    Such a kernel cannot allocate, it would not compile; the arrays it is given belong to its caller all the while.
    """
    dispatcher: Any = njit(**_LEAN)(function)
    dispatcher._cache = Cache(function)  # type: ignore[no-untyped-call]  # noqa: SLF001
    return cast("Callable[..., R]", dispatcher)


def inlined(function: Callable[..., R]) -> Callable[..., R]:
    """Compile as :func:`lean` does, into the body of every kernel that calls it: for a few lines in a hot loop."""
    return cast("Callable[..., R]", njit(**_LEAN, forceinline=True)(function))


def column(values: ArrayLike, dtype: DTypeLike) -> Array:
    """Give the values as a writable, aligned, contiguous array, copied only if needed: one signature per kernel."""
    array = np.ascontiguousarray(values, dtype)
    return array if array.flags.carray else array.copy()
