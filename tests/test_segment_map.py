"""The picture of the segments can be looked at, is the same each time, and takes any names and numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from state.segments import Segment
from streams.models.som import SOM, positions
from streams.segment_map import draw


def segments(count, *, growth=lambda _: 0.1, name="tea · number {}"):
    random = np.random.default_rng(count)
    return [
        Segment(
            id=2 * one,
            name=name.format(one),
            size=100 - one,
            share=1 / count,
            growth=growth(one),
            top=[],
            centroid=random.normal(size=8).tolist(),
            since=1.7e9,
            drift=0.1 * one,
        )
        for one in range(count)
    ]


def dots(path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:])


@pytest.mark.parametrize("count", [1, 2, 8, 64])
def test_a_png_is_large_enough_to_read(tmp_path, count):
    draw(segments(count), tmp_path / "map.png")
    width, height = dots(tmp_path / "map.png")
    assert 1_500 <= width <= 4_000
    assert 1_000 <= height <= 4_000
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_an_svg_holds_a_shape_for_each_segment_and_is_the_same_each_time(tmp_path):
    for name in ("one.svg", "other.svg"):
        draw(segments(5), tmp_path / name)
    written = (tmp_path / "one.svg").read_text()
    assert written.startswith("<?xml")
    assert written == (tmp_path / "other.svg").read_text()
    assert all(f"tea · number {one}" in written for one in range(5))


@pytest.mark.parametrize("growth", [lambda _: None, lambda one: None if one % 2 else 5.0, lambda _: -1.0, lambda _: 0.0])
def test_growth_may_be_unknown_or_extreme(tmp_path, growth):
    draw(segments(6, growth=growth), tmp_path / "map.png")
    assert dots(tmp_path / "map.png")[0] > 1_500


def test_names_are_text_and_nothing_else(tmp_path):
    draw(segments(3, name="$\\frac{{{}}} · <b> & $ · " + "long " * 30), tmp_path / "map.svg")
    written = (tmp_path / "map.svg").read_text()
    assert "$\\frac{1}" in written
    assert "&lt;b&gt;" in written


def test_a_self_organizing_map_is_drawn_on_its_own_grid(tmp_path):
    model = SOM(12)
    np.testing.assert_array_equal(positions(12), model.positions_)
    found = segments(6)
    draw(found, tmp_path / "grid.svg", positions(12))
    draw(found, tmp_path / "centers.svg")
    drawn, other = ((tmp_path / name).read_text() for name in ("grid.svg", "centers.svg"))
    assert drawn != other
    assert drawn.count("<!-- self-organizing map of 6 segments: neighbors are alike -->") == 1
