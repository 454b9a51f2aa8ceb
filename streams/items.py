"""The worker's own numbers for what comes from outside as text, so that a history is made of numbers."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.models.ids import Ids, pack

__all__ = ["ItemNumbers", "Numbers"]


Number = TypeVar("Number", np.uint8, np.int64)


class Numbers:
    """Texts numbered in the order this worker met them; kernels find each one's JSON in ``json``, ending at ``ends``."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.json: NDArray[np.uint8] = np.zeros(1 << 14, np.uint8)
        self.ends: NDArray[np.int64] = np.zeros(1024, np.int64)

    def __len__(self) -> int:
        """Count the texts."""
        return len(self._numbers)

    def number(self, text: str) -> int:
        """Give a text's number, a new one at its first appearance."""
        number = self._numbers.get(text)
        return self._add(text) if number is None else number

    def _add(self, text: str) -> int:
        number = self._numbers[text] = len(self._numbers)
        written = np.frombuffer(msgspec.json.encode(text), np.uint8)
        begin = int(self.ends[number - 1]) if number else 0
        end = begin + len(written)
        self.json, self.ends = _room(self.json, end), _room(self.ends, number + 1)
        self.json[begin:end] = written
        self.ends[number] = end
        return number

    def keep(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Forget all but these, int64[n] ascending, which get the numbers from 0 on; give each old number's new one, or -1."""
        renumbered = np.full(len(self), -1, np.int32)
        renumbered[numbers] = np.arange(len(numbers))
        texts, begins = list(self._numbers), np.append(0, self.ends[: len(self)])[numbers]
        self._numbers = {texts[old]: new for new, old in enumerate(numbers.tolist())}
        lengths = self.ends[numbers] - begins
        ends = np.cumsum(lengths)
        places = np.repeat(begins - (ends - lengths), lengths) + np.arange(lengths.sum())
        self.json, self.ends = _room(self.json[places], len(self.json) // 2), _room(ends, len(self.ends) // 2)
        return renumbered


class ItemNumbers(Numbers):
    """Item ids with each one's index in the models: a history can hold an item before the learned log has shown it."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[bytes] = []
        self._indexes = np.full(1024, -1, np.int32)
        self._unresolved: list[int] = []
        self._resolved_at = 0
        self._known: Ids | None = None
        self._seen = 0
        self._left = False

    def _add(self, text: str) -> int:
        number = super()._add(text)
        self.ids.append(text.encode())
        self._unresolved.append(number)
        self._resolved_at = -1
        if number == len(self._indexes):
            self._indexes = np.append(self._indexes, np.full(number, -1, np.int32))
        return number

    def indexes(self, items: Ids) -> NDArray[np.int32]:
        """Give each number's index in the models, -1 for an item that the learned log has not shown yet."""
        if items is not self._known:
            self._renumber(items)
        if (self._unresolved or self._left) and self._resolved_at != len(items):
            self._resolve(items)
        return self._indexes

    def keep(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Forget all but these, as of any text."""
        renumbered = super().keep(numbers)
        self.ids = [self.ids[old] for old in numbers.tolist()]
        self._indexes = np.append(self._indexes[numbers], np.full(len(self.ids) + 1, -1, np.int32))
        self._unresolved = [new for old in self._unresolved if (new := int(renumbered[old])) >= 0]
        return renumbered

    def _renumber(self, items: Ids) -> None:
        """Look all numbers up anew: some items left the models, and the others have other indexes."""
        self._left = self._known is not None
        self._indexes[: len(self.ids)] = items.find(pack(self.ids))
        self._known, self._seen, self._resolved_at = items, len(items), len(items)

    def _resolve(self, items: Ids) -> None:
        """Look up those that are awaited; and, among the items that are new, those that were here before and had left."""
        found = items.find(pack([self.ids[number] for number in self._unresolved]))
        self._indexes[self._unresolved] = found
        self._unresolved = [number for number, index in zip(self._unresolved, found, strict=True) if index < 0]
        for index in range(self._seen, len(items)) if self._left else ():
            number = self._numbers.get(items.name(index).decode())
            if number is not None:
                self._indexes[number] = index
        self._seen = self._resolved_at = len(items)


def _room(array: NDArray[Number], size: int) -> NDArray[Number]:
    """Copy into twice the room where there is too little."""
    if size <= len(array):
        return array
    longer: NDArray[Number] = np.zeros(max(size, 2 * len(array)), array.dtype)
    longer[: len(array)] = array
    return longer
