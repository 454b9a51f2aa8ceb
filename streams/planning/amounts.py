"""Numbers as people write and read them: 10M, 50k, 16G in; 1.2 GB, 340 µs out."""

from __future__ import annotations

import re

__all__ = ["WrongAmount", "amount", "shown"]

_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kmgbt]?)", re.IGNORECASE)
_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class WrongAmount(ValueError):
    """A text that is no number above 0; the message says how to write one."""


def amount(text: str) -> float:
    """Read a number above 0.

    >>> amount("10M"), amount("50k"), amount("1.5M"), amount("1,000")
    (10000000.0, 50000.0, 1500000.0, 1000.0)
    """
    match = _AMOUNT.fullmatch(text.strip().replace(",", "").replace("_", ""))
    if not match or not (found := float(match[1]) * _FACTORS[match[2].lower()]):
        raise WrongAmount(f"{text!r} is no number above 0; write it as 50000, 50k, 1.5M or 2G")
    return found


def shown(value: float, unit: str) -> str:
    """Write a number with three digits that count, bytes in thousands.

    >>> shown(1_234_567, "B"), shown(3, "workers"), shown(12_000, "/s")
    ('1.23 MB', '3 workers', '12,000 /s')
    """
    if unit.startswith(("B", "bit")):
        step, letter = next(((step, letter) for step, letter in _STEPS if value >= step), (1.0, ""))
        return f"{value / step:.3g} {letter}{unit}"
    return f"{value:,.0f} {unit}" if value >= 100 or value == int(value) else f"{value:.3g} {unit}"
