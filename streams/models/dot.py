"""Dot products of rows, eight lanes at a time: the compiler may not reorder a sum, so the order is written down here."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "dot"]

LANES, FLOAT = 8, 4  # lanes of a sum; bytes of a float, to which alone rows are aligned


def _dot(_context: Any, x: Any, y: Any) -> Any:
    """Add up ``x[d] * y[d]``, float32 of equal length: lane by lane, then the lanes in a tree, then what is left over.

    The same bytes on every CPU, whether its registers hold eight floats or four. A loop over one sum waits for each addition.
    """
    if x != y or x != types.Array(types.float32, 1, "C", readonly=not x.mutable, aligned=x.aligned):
        return None  # what lies with gaps would be read wrongly: no such kernel compiles

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.FloatType(), LANES)
        arrays = [context.make_array(kind)(context, builder, one) for kind, one in zip(signature.args, arguments, strict=True)]
        rows = [array.data for array in arrays]
        size = builder.extract_value(arrays[0].shape, 0)
        whole = builder.and_(size, ir.Constant(size.type, -LANES))
        sums = cgutils.alloca_once_value(builder, ir.Constant(lanes, [0.0] * LANES))  # type: ignore[no-untyped-call]
        step = ir.Constant(size.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(size.type, 0), whole, step) as (d, _):
            places = (builder.bitcast(builder.gep(row, [d]), lanes.as_pointer()) for row in rows)
            product = builder.fmul(*(builder.load(place, align=FLOAT) for place in places))
            builder.store(builder.fadd(builder.load(sums), product), sums)
        total = cgutils.alloca_once_value(builder, _tree(builder, builder.load(sums)))  # type: ignore[no-untyped-call]
        with cgutils.for_range_slice(builder, whole, size, ir.Constant(size.type, 1)) as (d, _):
            product = builder.fmul(*(builder.load(builder.gep(row, [d])) for row in rows))
            builder.store(builder.fadd(builder.load(total), product), total)
        return builder.load(total)

    return types.float32(x, y), generate


def _tree(builder: Any, vector: Any) -> Any:
    """Add up eight lanes: each to the one half of all further on, then the same with what is left."""
    parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), lane)) for lane in range(LANES)]
    while len(parts) > 1:
        half = len(parts) // 2
        parts = [builder.fadd(one, other) for one, other in zip(parts[:half], parts[half:], strict=True)]
    return parts[0]


dot: Any = intrinsic(_dot)
