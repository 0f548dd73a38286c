"""Where each image of a collection lies on its map: at once by PCA, then so that neighbours are together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpchub.common.extras import is_installed
from cpchub.common.words import counted
from cpchub.index import Index
from cpchub.index.layout import Points
from cpchub.index.layout_kept import Kept, kept_layout, layout_of
from cpchub.index.plane import project_to_plane
from cpchub_serving.visit.background import Job, Tell

FINE = 65535  # steps along a side of the map
NOT_INSTALLED = (
    "A first view by PCA. A map that keeps neighbours together takes the package openTSNE on the server: "
    "pip install openTSNE"
)


@dataclass(frozen=True)
class Drawn:
    """A map to draw: places `[N, 2]` uint16 in a square, y upwards; version: another one for other places."""

    version: str
    places: NDArray[np.uint16]
    note: str


class Plane:
    """The map of one collection, for all visitors; made from the first `open` on."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.drawn: Drawn | None = None
        self.job: Job[None] = Job(self._make)

    def open(self) -> None:
        """Begin to make it, where that has not been done; returns at once."""
        self.job.start()

    def _make(self, tell: Tell) -> None:
        kept = kept_layout(self.index)
        if kept is None:
            self.drawn = Drawn("pca", in_steps(project_to_plane(self.index.vectors)), "A first view by PCA.")
            if not is_installed("openTSNE"):
                self.drawn = Drawn("pca", self.drawn.places, NOT_INSTALLED)
                return
        if kept is None or not kept.saved:
            kept = layout_of(self.index, tell)
        self.drawn = Drawn("tsne", in_steps(kept.points), _about(kept))


def in_steps(points: Points) -> NDArray[np.uint16]:
    """Points `[N, 2]` as steps within a square, with their proportions."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()), 1e-12)
    shares = (points - (low + high) / 2) / side + 0.5
    return np.asarray(np.clip(np.rint(shares * FINE), 0, FINE), dtype=np.uint16)


def _about(kept: Kept) -> str:
    said = ["Images that the encoder finds alike lie together (t-SNE)."]
    if placed := int(kept.placed.sum()):
        said.append(f"{counted(placed, 'new image')} {'was' if placed == 1 else 'were'} put among their neighbours.")
    if not kept.saved:
        said.append("The collection's folder cannot be written, so the map is made again after a restart.")
    return " ".join(said)
