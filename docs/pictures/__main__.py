"""Draw every picture of docs/models.md and docs/scale.md from what they tell of: python -m docs.pictures [NAME ...]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from docs.pictures import learners, scale, sources

HERE = Path(__file__).parent
# The salt and the missing date make a picture the same bytes every time; text stays text.
STYLE = {"svg.hashsalt": "upwell", "svg.fonttype": "none", "font.size": 9, "axes.labelcolor": "#444444"}

PICTURES: dict[str, Callable[[Figure], None]] = {
    one.__name__: one
    for one in (
        sources.visits,
        sources.neighbors,
        sources.path,
        sources.covisit,
        sources.popular,
        sources.segment,
        sources.content,
        sources.repeat,
        sources.new,
        learners.kmeans,
        learners.dbstream,
        learners.som,
        learners.similarity,
        learners.blend,
        learners.rerank,
        scale.shards,
    )
}


def draw(name: str, folder: Path = HERE) -> Path:
    """Draw one picture into a folder."""
    file = folder / f"{name}.svg"
    with rc_context(STYLE):
        figure = Figure(figsize=(6, 2.6), layout="constrained", facecolor="white")
        PICTURES[name](figure)
        figure.savefig(file, metadata={"Date": None})
    return file


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        draw(name)
