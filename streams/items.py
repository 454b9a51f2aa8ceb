"""The worker's own numbers for items, so that a history can hold an item before the learned log has shown it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.models.ids import Ids, pack

__all__ = ["ItemNumbers"]


class ItemNumbers:
    """Item ids numbered in the order this worker met them, with each one's JSON text and its index in the models."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.ids: list[bytes] = []
        self.json: list[bytes] = []
        self._indexes = np.full(1024, -1, np.int32)
        self._unresolved: list[int] = []
        self._resolved_at = 0

    def __len__(self) -> int:
        """Count the items."""
        return len(self.ids)

    def number(self, item_id: str) -> int:
        """Give an item's number, a new one at its first appearance."""
        number = self._numbers.get(item_id)
        return self._add(item_id) if number is None else number

    def _add(self, item_id: str) -> int:
        number = self._numbers[item_id] = len(self.ids)
        self.ids.append(item_id.encode())
        self.json.append(msgspec.json.encode(item_id))
        self._unresolved.append(number)
        self._resolved_at = -1
        if number == len(self._indexes):
            self._indexes = np.concatenate([self._indexes, np.full(number, -1, np.int32)])
        return number

    def indexes(self, items: Ids) -> NDArray[np.int32]:
        """Give each number's index in the models, -1 for an item that the learned log has not shown yet."""
        if self._unresolved and self._resolved_at != len(items):
            found = items.find(pack([self.ids[number] for number in self._unresolved]))
            self._indexes[self._unresolved] = found
            self._unresolved = [number for number, index in zip(self._unresolved, found, strict=True) if index < 0]
            self._resolved_at = len(items)
        return self._indexes
