"""A 2-D map of a collection: similar images lie close together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa

from cpchub.collection.tables import write_table
from cpchub.common.files import expanded
from cpchub.common.progress import Report
from cpchub.errors import ArgumentError
from cpchub.index import Index
from cpchub.index.layout import Points
from cpchub.index.layout_kept import layout_of
from cpchub.index.map_image import draw_plane
from cpchub.index.plane import project_to_plane

Method = Literal["pca", "tsne"]
NAMES = {"pca": "PCA", "tsne": "t-SNE"}


def draw_map(index: Index, out: str | Path, method: Method = "pca") -> Path:
    """Write the map of a collection: thumbnails in frames of their label's colour (.png), or a table id, path, label,
    x, y (.parquet).

    "pca" gives the two directions of largest variance, at once. "tsne" keeps neighbours together, takes a minute or
    more, needs the extra `map`, and is kept in the folder of the collection.

    Raises ArgumentError for another ending and for fewer than three images, DependencyError without openTSNE,
    OutputError or NoSpaceError if it cannot be written.
    """
    out = expanded(out)
    if out.suffix not in (".png", ".parquet"):
        raise ArgumentError(f"{out} ends with neither .png nor .parquet")
    if method not in NAMES:
        raise ArgumentError(f"method={method!r}: choose pca or tsne")
    points = project_to_plane(index.vectors) if method == "pca" else laid_out(index)
    if out.suffix == ".parquet":
        known = {name: index.items[name] for name in ("id", "path", "label")}
        write_table(pa.table({**known, "x": points[:, 0], "y": points[:, 1]}), out)
    else:
        title = f"{len(points):,} images, {NAMES[method]}"
        draw_plane(points, index.items["label"].to_pylist(), index.collection.image, title=title, out=out)
    return out


def laid_out(index: Index) -> Points:
    """The layout that is kept in the collection; made now, with a line that tells how far it is, where none fits.

    Raises as `draw_map` does.
    """
    with Report("Laying out the map", None) as report:

        def tell(what: str, share: float) -> None:
            report.note = f"{what.lower()}, {share:.0%}"
            report.update(0)

        return layout_of(index, tell).points
