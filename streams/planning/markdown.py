"""Tables in Markdown on standard output, to be pasted into docs/scale.md."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["write"]


def write(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table and an empty line."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]
    sys.stdout.write("\n".join(lines) + "\n\n")
    sys.stdout.flush()
