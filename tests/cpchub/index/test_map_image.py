"""The map of a collection shows its images, where they can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import colormaps
from PIL import Image

from cpchub.errors import BrokenImageError
from cpchub.index import map_image
from cpchub.index.map_image import draw_plane

CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def drawn(out: Path, points: npt.NDArray[Any], labels: list[str | None], image_of: Any) -> npt.NDArray[np.uint8]:
    draw_plane(points, labels, image_of, title="a map", out=out)
    return np.asarray(Image.open(out).convert("RGB"))


def plain(row: int) -> Image.Image:
    return Image.new("RGB", (40, 30), COLOURS[row % 4])


def middle_of(pixels: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[float, float]:
    """Where a colour is, as shares of width and height from the lower left."""
    y, x = np.nonzero((pixels == colour).all(axis=2))
    return float(x.mean() / pixels.shape[1]), 1 - float(y.mean() / pixels.shape[0])


def test_each_image_is_drawn_where_its_point_is(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "map.png", CORNERS, [None] * 4, plain)
    for (right, up), colour in zip(CORNERS, COLOURS, strict=True):
        x, y = middle_of(pixels, colour)
        assert (x > 0.5, y > 0.5) == (right > 0.5, up > 0.5)
        assert (pixels == colour).all(axis=2).sum() == (map_image.LARGEST - 2 * map_image.GAP) ** 2


def test_of_images_in_one_place_the_one_nearest_to_its_middle_is_drawn(tmp_path: Path) -> None:
    read: list[int] = []

    def image_of(row: int) -> Image.Image:
        read.append(row)
        return plain(row)

    drawn(tmp_path / "map.png", np.repeat(CORNERS, 500, axis=0), [None] * 2000, image_of)
    assert len(read) == 4
    at = np.array([[1.0, 1.0], [6.0, 4.0], [19.0, 19.0], [99.0, 99.0]])
    rows, corners = map_image._one_a_cell(at, np.zeros(2), np.array([20.0, 20.0]), 10)
    assert rows == [1, 2]  # the last one is of the outermost cell too, and farther from its middle
    assert corners == [(0, 0), (10, 10)]


def test_a_label_is_the_colour_of_the_frame(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "map.png", CORNERS, ["cat", "dog", "cat", None], plain)
    for number in (0, 1):
        colour = tuple(round(255 * part) for part in colormaps["tab10"](number)[:3])
        assert (pixels == colour).all(axis=2).sum() > map_image.FRAME * map_image.LARGEST


def test_where_no_image_can_be_read_every_image_is_a_dot_and_reading_stops_early(tmp_path: Path) -> None:
    read: list[int] = []

    def gone(row: int) -> Image.Image:
        read.append(row)
        raise BrokenImageError("it is gone")

    points = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    pixels = drawn(tmp_path / "map.png", points, [None] * 500, gone)
    assert len(read) == map_image.GIVEN_UP
    assert (pixels != 255).any(axis=2).mean() > 0.01


def test_an_image_that_cannot_be_read_among_others_is_a_dot(tmp_path: Path) -> None:
    def image_of(row: int) -> Image.Image:
        if row == 0:
            raise BrokenImageError("it is gone")
        return plain(row)

    pixels = drawn(tmp_path / "map.png", CORNERS, [None] * 4, image_of)
    present = [bool((pixels == colour).all(axis=2).any()) for colour in COLOURS]
    assert present == [False, True, True, True]


@pytest.mark.parametrize("points", [np.zeros((3, 2), np.float32), np.array([[0, 0], [0, 1], [0, 2]], np.float32)])
def test_images_on_a_point_or_a_line_are_drawn_too(points: npt.NDArray[Any], tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "map.png", points, [None] * 3, plain)
    assert any((pixels == colour).all(axis=2).any() for colour in COLOURS)
