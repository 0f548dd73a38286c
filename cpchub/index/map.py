"""A 2-D map of a collection: similar images lie close together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.tables import write_table
from cpchub.common.extras import import_extra
from cpchub.common.files import expanded
from cpchub.common.progress import Report
from cpchub.errors import ArgumentError
from cpchub.index import Index
from cpchub.index.map_image import draw_plane

Method = Literal["pca", "umap"]
BLOCK = 16_384


def project_to_plane(vectors: npt.NDArray[Any], method: Method = "pca") -> npt.NDArray[np.float32]:
    """Vectors `[N, D]` as points `[N, 2]` float32.

    "pca" gives the two directions of largest variance, at once and at any size. "umap" keeps neighbourhoods together
    (McInnes et al., 2018), takes minutes, and needs the extra `map`.

    Raises ArgumentError for fewer than three vectors, DependencyError without umap-learn.
    """
    if len(vectors) < 3:
        raise ArgumentError(f"a map of {len(vectors)} images says nothing; it takes 3 or more")
    if method == "pca":
        return _pca(vectors)
    if method != "umap":
        raise ArgumentError(f"method={method!r}: choose pca or umap")
    umap = import_extra("umap", extra="map")
    points = umap.UMAP(metric="cosine", n_neighbors=min(15, len(vectors) - 1), random_state=0, n_jobs=1)
    with Report("Laying out the map", None):
        return np.asarray(points.fit_transform(np.asarray(vectors, dtype=np.float32)), dtype=np.float32)


def draw_map(index: Index, out: str | Path, method: Method = "pca") -> Path:
    """Write the map of a collection: thumbnails in frames of their label's colour (.png), or a table id, path, label,
    x, y (.parquet).

    Raises ArgumentError for another ending, and as `project_to_plane` does; OutputError or NoSpaceError if it cannot be
    written.
    """
    out = expanded(out)
    if out.suffix not in (".png", ".parquet"):
        raise ArgumentError(f"{out} ends with neither .png nor .parquet")
    points = project_to_plane(index.vectors, method)
    if out.suffix == ".parquet":
        known = {name: index.items[name] for name in ("id", "path", "label")}
        write_table(pa.table({**known, "x": points[:, 0], "y": points[:, 1]}), out)
    else:
        title = f"{len(points):,} images, {method.upper()}"
        draw_plane(points, index.items["label"].to_pylist(), index.collection.image, title=title, out=out)
    return out


def _pca(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Block by block, so that mapped vectors are never in memory as a whole."""
    count, dim = vectors.shape
    total, squares = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, count, BLOCK):
        block = np.asarray(vectors[start : start + BLOCK], dtype=np.float64)
        total += block.sum(axis=0)
        squares += block.T @ block
    mean = total / count
    axes = np.linalg.eigh(squares / count - np.outer(mean, mean))[1][:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # the sign of an axis is arbitrary: fix it
    points = [np.asarray(vectors[start : start + BLOCK]) @ axes for start in range(0, count, BLOCK)]
    return np.asarray(np.concatenate(points) - mean @ axes, dtype=np.float32)
