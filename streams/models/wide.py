"""Whole numbers of 128 bits in two int64: sums of products that no rounding touches, whatever their order.

A number is ``upper * 2**64 + low``, where the bits of ``low`` count from 0 to 2**64 - 1; all is modulo 2**128.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from streams.models.compile import inlined

__all__ = ["add", "negative", "product", "real"]

TWO_32 = 2.0**32
TWO_64 = 2.0**64
LOW_HALF = (1 << 32) - 1
# Turns a comparison of signed numbers into one of unsigned ones.
SIGN = -(1 << 63)


def _high(_context: Any, _left: Any, _right: Any) -> Any:
    """Give the upper 64 of the 128 bits of a product; ``left * right`` is the lower half."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        left, right = (builder.sext(argument, wide) for argument in arguments)
        return builder.trunc(builder.ashr(builder.mul(left, right), wide(64)), ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


high: Any = intrinsic(_high)


@inlined
def product(left: int, right: int) -> Any:
    """Multiply two int64: low, upper."""
    return left * right, high(left, right)


@inlined
def add(low: int, upper: int, more: int, upper_more: int) -> Any:
    """Add two numbers: low, upper."""
    total = low + more
    carry = 1 if total ^ SIGN < low ^ SIGN else 0
    return total, upper + upper_more + carry


@inlined
def negative(low: int, upper: int) -> Any:
    """Give the number below zero: low, upper."""
    return -low, -upper - (1 if low != 0 else 0)


@inlined
def real(low: int, upper: int) -> float:
    """Give the nearest float, or one beside it."""
    # From the magnitude, or a small negative number would be the difference of two great ones.
    if upper < 0:
        low, upper = negative(low, upper)
        return -_magnitude(low, upper)
    return _magnitude(low, upper)


@inlined
def _magnitude(low: int, upper: int) -> float:
    return float(upper) * TWO_64 + (float((low >> 32) & LOW_HALF) * TWO_32 + float(low & LOW_HALF))
