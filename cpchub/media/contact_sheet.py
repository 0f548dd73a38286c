"""A contact sheet: rows of images with captions as one PNG, a query at the left and what was found beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cpchub.common.files import replacing
from cpchub.errors import BrokenImageError, QueryError
from cpchub.media.decode import ImageSource, read_image

TILE = 144  # side of an image's square, pixels
GAP = 14
MARGIN = 32
CAPTION = 24  # height of the line under an image
AFTER_FIRST = 30  # sets the query apart from what was found
TITLE = 52

PAPER, CARD, INK, GREY, ACCENT = "#ffffff", "#f3f4f6", "#1f2933", "#7b8794", "#0072b2"


@dataclass(frozen=True)
class Tile:
    """An image (path, bytes, PIL image or array) and the line under it; highlighted draws a frame around it."""

    image: ImageSource
    caption: str = ""
    highlighted: bool = False


def contact_sheet(
    rows: Sequence[Sequence[Tile]], out: str | Path, title: str | None = None, *, first_apart: bool = True
) -> Path:
    """Draw rows of tiles and write them as PNG; returns the path. The first of each row is set apart, unless not asked.

    An image that cannot be read is drawn as an empty card that says so. Raises QueryError without tiles, OutputError
    or NoSpaceError where `out` cannot be written.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise QueryError("a contact sheet needs at least one image")
    top = MARGIN + (TITLE if title else 0)
    apart = AFTER_FIRST if first_apart and columns > 1 else 0
    width = 2 * MARGIN + columns * TILE + (columns - 1) * GAP + apart
    height = top + len(rows) * (TILE + CAPTION) + (len(rows) - 1) * GAP + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _text(draw, (MARGIN, MARGIN), title, size=22, room=width - 2 * MARGIN, fill=INK)
    for number, row in enumerate(rows):
        y = top + number * (TILE + CAPTION + GAP)
        for column, tile in enumerate(row):
            x = MARGIN + column * (TILE + GAP) + (apart if column else 0)
            _draw_tile(sheet, draw, tile, x, y)
    if apart:
        x = MARGIN + TILE + (GAP + AFTER_FIRST) // 2
        draw.line((x, top, x, height - MARGIN - CAPTION), fill="#e0e3e8", width=2)
    out = Path(out)
    with replacing(out) as partial:
        sheet.save(partial, format="PNG", optimize=True)
    return out


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int) -> None:
    draw.rounded_rectangle((x, y, x + TILE - 1, y + TILE - 1), radius=8, fill=CARD)
    try:
        image = _fitted(read_image(tile.image, size=TILE))
    except BrokenImageError:
        _text(draw, (x + 12, y + TILE // 2 - 8), "cannot be read", size=14, room=TILE - 24, fill=GREY)
    else:
        mask = Image.new("L", image.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, image.width - 1, image.height - 1), radius=6, fill=255)
        sheet.paste(image, (x + (TILE - image.width) // 2, y + (TILE - image.height) // 2), mask)
    if tile.highlighted:
        draw.rounded_rectangle((x - 4, y - 4, x + TILE + 3, y + TILE + 3), radius=11, outline=ACCENT, width=3)
    fill = ACCENT if tile.highlighted else GREY
    _text(draw, (x + TILE // 2, y + TILE + 6), tile.caption, size=14, room=TILE, fill=fill, anchor="ma")


def _fitted(image: Image.Image) -> Image.Image:
    """The whole image in the square; tiny ones keep their pixels visible instead of turning to fog."""
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 6 else Image.Resampling.LANCZOS)


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, size: int, room: int, fill: str, anchor: str = "la"
) -> None:
    """One line, its middle left out where it is longer than `room` pixels: both ends of a path tell something."""
    font = ImageFont.load_default(size)
    text = " ".join(text.splitlines())  # a file name may have several
    shown, keep = text, len(text)
    while keep > 2 and draw.textlength(shown, font=font) > room:
        keep -= 1
        shown = text[: (keep + 1) // 2] + "..." + text[len(text) - keep // 2 :]
    draw.text(at, shown, font=font, fill=fill, anchor=anchor)
