"""Rows of images on one sheet."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cpchub.errors import OutputError, QueryError
from cpchub.media.contact_sheet import ACCENT, TILE, Tile, contact_sheet
from tests.cpchub.images import an_image, save


def test_every_image_is_on_the_sheet_in_its_place(tmp_path: Path) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]
    images = [Image.new("RGB", (40, 40), colour) for colour in colours]
    out = contact_sheet(
        [[Tile(images[0]), Tile(images[1])], [Tile(images[2]), Tile(images[3])]], tmp_path / "sheet.png"
    )
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        centres = {}
        for x in range(0, sheet.width, 4):
            for y in range(0, sheet.height, 4):
                centres.setdefault(sheet.getpixel((x, y)), (x, y))
    first = [centres[colour] for colour in colours]
    assert first[0][0] < first[1][0]
    assert first[0][1] < first[2][1]
    assert first[2][0] < first[3][0]


def test_a_sheet_takes_paths_and_grows_with_its_rows_columns_and_title(tmp_path: Path) -> None:
    tile = Tile(save(an_image(1, (300, 100)), tmp_path / "a.jpg"), "0.987")
    small = Image.open(contact_sheet([[tile]], tmp_path / "small.png"))
    large = Image.open(contact_sheet([[tile] * 4, [tile] * 2], tmp_path / "large.png", title="Neighbours"))
    assert large.width - small.width > 3 * TILE
    assert large.height - small.height > TILE
    small.close()
    large.close()


def test_a_highlighted_image_has_a_frame(tmp_path: Path) -> None:
    accent = tuple(int(ACCENT[at : at + 2], 16) for at in (1, 3, 5))
    for highlighted in (True, False):
        out = contact_sheet([[Tile(an_image(1), highlighted=highlighted)]], tmp_path / "sheet.png")
        with Image.open(out) as sheet:
            colours = {colour for _, colour in sheet.getcolors(1 << 24)}
        assert (accent in colours) is highlighted


def test_an_image_that_cannot_be_read_leaves_an_empty_card(tmp_path: Path) -> None:
    assert contact_sheet([[Tile(tmp_path / "gone.jpg", "a" * 200), Tile(an_image(2))]], tmp_path / "sheet.png").exists()


def test_a_caption_of_several_lines_stands_on_one(tmp_path: Path) -> None:
    sheets = [
        contact_sheet([[Tile(an_image(0), caption)]], tmp_path / f"{number}.png")
        for number, caption in enumerate(("two\nlines", "two lines"))
    ]
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


def test_no_images_and_an_unwritable_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="at least one image"):
        contact_sheet([[]], tmp_path / "sheet.png")
    with pytest.raises(OutputError, match="cannot write"):
        contact_sheet([[Tile(an_image(1))]], tmp_path / "nowhere" / "sheet.png")
