"""What the commands print: tables for people, one JSON object for programs, no control character from outside."""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

JOINERS = "\u200c\u200d"  # parts of words in Persian and of many emoji: not printable by themselves, harmless in text
GLANCE = 80  # characters of a foreign message that tell what it is without filling the screen


def clean(value: object) -> str:
    """Text as it can be printed: what would move the cursor, hide or reorder letters is shown as its code."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in JOINERS else _code(letter) for letter in text)


def _code(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def glance(value: bytes, most: int = GLANCE) -> str:
    """The first letters of bytes that may be anything."""
    shown = clean(value[: most * 4].decode(errors="backslashreplace"))
    return shown if len(shown) <= most and len(value) <= most * 4 else shown[: most - 1] + "…"


def write_json(answer: Mapping[str, Any]) -> None:
    """One JSON object on standard output; letters that a terminal would obey are written as escapes."""
    text = json.dumps(answer, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> "Console":
    """A terminal on which text is only text: no markup, no emoji codes, no guessing of what is a number."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(message: str) -> None:
    """One line for people, beside the output."""
    sys.stderr.write(f"{clean(message)}\n")
    sys.stderr.flush()


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, title: str | None = None) -> "Table":
    """A plain table; numbers stand on the right."""
    from rich import box
    from rich.table import Table

    body = [list(row) for row in rows]
    shown = Table(title=title and clean(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for place, name in enumerate(columns):
        numeric = bool(body) and all(isinstance(row[place], (int, float)) for row in body)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        shown.add_row(*(figure(cell) for cell in row))
    return shown


def figure(cell: object) -> str:
    """A cell: small numbers with their digits, large ones in groups of three."""
    if isinstance(cell, float):
        return f"{cell:,.4g}" if abs(cell) < 1000 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else clean(cell)


def moment(seconds: float | None) -> str:
    """A time as people read it, in UTC; as the number where it is beyond the calendar."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"
