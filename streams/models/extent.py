"""The least and the greatest of some numbers: numpy's own take longer than all else that is done with a few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.models.compile import kernel

if TYPE_CHECKING:
    from streams.models.compile import Array

__all__ = ["extent"]


@kernel
def extent(numbers: Array) -> tuple[Any, Any]:
    """Give the least and the greatest of a column, number[n] with n above 0."""
    least = greatest = numbers[0]
    for number in numbers:
        least, greatest = min(least, number), max(greatest, number)
    return least, greatest
