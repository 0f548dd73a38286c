"""The map of a collection as an image: in each part of the plane one of its images, framed in the colour of its label.

Where no image can be read, as of imported vectors, every image is a dot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cpchub.common.files import replacing
from cpchub.common.progress import Report
from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.decode import ImageSource, read_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES, DPI = (12.0, 10.5), 150
SMALLEST, LARGEST = 48, 120  # side of a thumbnail, pixels
GAP, FRAME = 2, 4
PIXELATED = 6  # from this magnification on, the pixels of a tiny image stay visible instead of turning to fog
GIVEN_UP = 20  # images in a row that cannot be read: then the source is gone, or out of reach
MOST_COLOURS = 20
OTHERS = "#b8bec6"

Points = npt.NDArray[np.float32]


def draw_plane(
    points: Points,
    labels: Sequence[str | None],
    image_of: Callable[[int], ImageSource],
    *,
    title: str,
    out: Path,
) -> None:
    """Draw images at points `[N, 2]` as PNG. `image_of` gives the image of a row.

    Raises OutputError or NoSpaceError where `out` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = _colours(labels)
    _frame_of(axes, points, colours, any(label not in colours for label in labels))
    axes.set_title(title)
    figure.draw_without_rendering()  # only now is known where the axes lie
    figure.set_layout_engine("none")
    area = axes.get_window_extent()
    corner, size = np.array([area.x0, area.y0]), np.array([area.width, area.height])
    side = int(np.clip(np.sqrt(size.prod() / len(points)), SMALLEST, LARGEST))
    rows, corners = _one_a_cell(axes.transData.transform(points), corner, size, side)
    of_row = [colours.get(label, OTHERS) if colours else None for label in labels]  # type: ignore[arg-type]
    unread = _draw_tiles(figure, rows, corners, side, image_of, of_row)
    shown = len(rows) - len(unread)
    dots = np.array(unread if shown else range(len(points)), dtype=np.int64)
    if len(dots):
        area_of_dot = float(np.clip(20_000 / len(dots), 2, 40))
        tints = [of_row[row] or OTHERS for row in dots]
        axes.scatter(points[dots, 0], points[dots, 1], s=area_of_dot, c=tints, linewidths=0, alpha=0.7)
    if 0 < shown < len(points):
        axes.set_title(f"{title}; shown are {shown:,} of them")
    with replacing(out) as partial:
        figure.savefig(partial, format="png")


def _colours(labels: Sequence[str | None]) -> dict[str, Any]:
    """A colour for each of the most frequent labels."""
    from matplotlib import colormaps

    names = [name for name, _ in Counter(sorted(filter(None, labels))).most_common()]
    palette = colormaps["tab20" if len(names) > 10 else "tab10"]
    return {name: palette(number) for number, name in enumerate(names[:MOST_COLOURS])}


def _frame_of(axes: Axes, points: Points, colours: dict[str, Any], others: bool) -> None:
    """The limits of the axes, and the legend."""
    from matplotlib.lines import Line2D

    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.03 * np.maximum(high - low, 1e-6)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if colours:
        entries = [*colours.items(), *([("other labels", OTHERS)] if others else [])]
        handles = [Line2D([], [], marker="s", linestyle="", color=colour, label=name) for name, colour in entries]
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _one_a_cell(
    at: npt.NDArray[Any], corner: npt.NDArray[Any], size: npt.NDArray[Any], side: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """For each cell of a grid with an image in it: the row that is nearest to its middle, and its lower left corner.

    at: where the images lie, `[N, 2]`, pixels. corner, size: of the area that is divided into cells of `side` pixels.
    """
    cells = np.maximum(size // side, 1).astype(np.int64)
    cell = np.clip((at - corner) // side, 0, cells - 1).astype(np.int64)
    distance = np.linalg.norm(at - corner - (cell + 0.5) * side, axis=1)
    number = cell[:, 1] * cells[0] + cell[:, 0]
    order = np.lexsort((distance, number))
    rows = order[np.unique(number[order], return_index=True)[1]]
    corners = (corner + cell[rows] * side).astype(np.int64)
    return rows.tolist(), [(int(x), int(y)) for x, y in corners]


def _draw_tiles(
    figure: Figure,
    rows: Sequence[int],
    corners: Sequence[tuple[int, int]],
    side: int,
    image_of: Callable[[int], ImageSource],
    colours: Sequence[Any],
) -> list[int]:
    """Draw a thumbnail of each row at its corner; returns the rows whose image cannot be read."""
    unread: list[int] = []
    last = 0  # how many in a row could not be read
    with Report("Drawing the map", len(rows)) as report:
        for position, (row, (x, y)) in enumerate(zip(rows, corners, strict=True)):
            try:
                tile = _tile(image_of(row), side - 2 * GAP, colours[row])
            except (BrokenImageError, SourceError):
                unread.append(row)
                last += 1
                if last == GIVEN_UP:
                    return unread + list(rows[position + 1 :])
            else:
                last = 0
                figure.figimage(tile, x + GAP, y + GAP, origin="upper", zorder=1)
            report.advance()
    return unread


def _tile(source: ImageSource, side: int, colour: Any) -> npt.NDArray[np.uint8]:
    """The middle square of an image, `[side, side, 3]`, with a frame in its colour where it has one."""
    inner = side if colour is None else side - 2 * FRAME
    image = read_image(source, size=inner)
    enlarged = inner / min(image.size) >= PIXELATED
    square = ImageOps.fit(image, (inner, inner), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)
    if colour is not None:
        from matplotlib.colors import to_rgb

        red, green, blue = (round(255 * part) for part in to_rgb(colour))
        square = ImageOps.expand(square, FRAME, (red, green, blue))
    return np.asarray(square)
