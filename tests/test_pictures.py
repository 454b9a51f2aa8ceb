"""The pictures of docs/models.md and docs/scale.md: one for every model, each as it is drawn now."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest

from docs.pictures.__main__ import HERE, PICTURES, draw

MODELS, SCALE = ((Path(__file__).parents[1] / "docs" / name).read_text(encoding="utf-8") for name in ("models.md", "scale.md"))

WORDS = re.compile(r">([^<>]+)</text>")


def test_every_section_shows_a_picture_with_its_words():
    for section in MODELS.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        assert re.search(r"!\[.{20,}\]\(.+\.(svg|png)\)", text), title


def test_every_picture_is_shown():
    assert {f"{name}.svg" for name in PICTURES} == {path.name for path in HERE.glob("*.svg")}
    assert {f"pictures/{name}.svg" for name in PICTURES} == {*re.findall(r"\((pictures/[^)]+)\)", MODELS + SCALE)}


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_is_what_the_models_draw(name, tmp_path):
    kept = (HERE / f"{name}.svg").read_text(encoding="utf-8")
    if f"Matplotlib v{mpl.__version__}," not in kept:
        pytest.skip(f"drawn with another matplotlib than {mpl.__version__}: python -m docs.pictures draws all anew")
    drawn = draw(name, tmp_path).read_text(encoding="utf-8")
    assert WORDS.findall(drawn) == WORDS.findall(kept)
    # To a third of a point: a solve of K-means may round otherwise on another processor.
    assert places(drawn) == pytest.approx(places(kept), abs=0.33)


def places(svg: str) -> list[float]:
    """All coordinates, without the names that are made of them and what is drawn as dots."""
    plain = re.sub(r'(?:xlink:href|id|clip-path)="[^"]*"', "", svg)
    return [float(number) for number in re.findall(r"-?\d+\.\d+", plain)]
