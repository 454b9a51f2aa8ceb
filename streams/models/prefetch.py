"""Prefetch: ask for memory some steps before it is read, so that walks over rings do not wait for every jump."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["AHEAD", "prefetch"]

# Steps between asking and reading: a step takes some 10 ns, memory 100 to 200.
AHEAD = 16


def _prefetch(_context: Any, array: Any, _row: Any, _column: Any) -> Any:
    """Ask for the cache line of ``array[row, column]``, or of ``array[row]`` with any column; both must be in bounds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        data = context.make_array(kind)(context, builder, arguments[0])
        at = arguments[1 : 1 + kind.ndim]
        pointer = cgutils.get_item_pointer(context, builder, kind, data, at, wraparound=False)  # type: ignore[no-untyped-call]
        pointer = builder.bitcast(pointer, cgutils.voidptr_t)
        flag = ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, call, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # For reading, to be kept in all caches, of data.
        builder.call(function, [pointer, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


prefetch: Any = intrinsic(_prefetch)
