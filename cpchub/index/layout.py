"""A collection laid out in the plane so that neighbours stay together: t-SNE on the neighbours that the index finds.

The neighbours come from the index, so nothing is searched twice; openTSNE (Poličar et al., 2024) arranges the points
with the method of van der Maaten (2014) up to 10,000 images, and of Linderman et al. (2019) beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.common.extras import import_extra
from cpchub.index import Index
from cpchub.index.neighbours import Neighbours, nearest_others

Points = npt.NDArray[np.float32]
Tell = Callable[[str, float], None]  # what is done now, and the share of it that is done

NEIGHBOURS = 45  # of each image; a third of them decides how close it is drawn (the perplexity)
EARLY, EXAGGERATION = 250, 12.0  # openTSNE's defaults: clusters form while neighbours attract each other twelve times
LATE = 250  # neighbours are found again within the first hundred; more steps cost more each, and keep no more
MANY = 10_000  # from here on the forces are interpolated on a grid, which is faster for many
TOLD_EVERY = 5  # steps
SEARCH_SHARE = 0.4  # of the whole work, as far as a bar tells it
BESIDE = 5  # placed neighbours, among which a new image is put
AT_ONCE, BLOCK = 1024, 16_384  # new images, and placed ones that they are compared with


def nothing_told(what: str, share: float) -> None:
    """For those whom progress does not concern."""


def neighbour_layout(index: Index, start: Points, tell: Tell = nothing_told) -> Points:
    """Points `[N, 2]` that keep the neighbours of a collection together; the same on every call.

    start: `[N, 2]`, the plane to begin with (the two directions of largest variance), which decides what is up and
    left. tell: called every moment; what it raises ends the work.

    Raises DependencyError without openTSNE.
    """
    import_extra("openTSNE", extra="map")
    neighbours = nearest_others(
        index, NEIGHBOURS, progress=False, tell=lambda share: tell("Finding neighbours", SEARCH_SHARE * share)
    )
    return arranged(neighbours, start, lambda share: tell("Arranging", SEARCH_SHARE + (1 - SEARCH_SHARE) * share))


def arranged(neighbours: Neighbours, start: Points, tell: Callable[[float], None]) -> Points:
    """The t-SNE of given neighbours."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    count, k = neighbours.rows.shape
    found = PrecomputedNeighbors(neighbours.rows, neighbours.distances())
    affinities = PerplexityBasedNN(perplexity=max(1.0, k / 3), knn_index=found, n_jobs=1)
    begun = start.astype(np.float64)
    begun *= 1e-4 / max(float(begun.std(axis=0).max()), 1e-12)  # small, as the steps are made for
    method = "bh" if count < MANY else "fft"
    done = 0

    def told(step: int, error: float, points: Any) -> None:
        tell((done + step) / (EARLY + LATE))

    # One thread: sums over several would differ from machine to machine, and the page keeps the other cores.
    embedding = TSNEEmbedding(
        begun,
        affinities,
        negative_gradient_method=method,
        n_jobs=1,
        random_state=0,
        callbacks=told,
        callbacks_every_iters=TOLD_EVERY,
    )
    embedding = embedding.optimize(EARLY, exaggeration=EXAGGERATION, momentum=0.5)
    done = EARLY
    embedding = embedding.optimize(LATE, momentum=0.8)
    return np.asarray(embedding, dtype=np.float32)


def placed_beside(index: Index, points: Points, known: npt.NDArray[np.bool_]) -> Points:
    """The same points, with those of the rows that are not `known` put among their placed neighbours.

    points: `[N, 2]`, of which the rows that are not known say nothing. known: `[N]`, at least one True.
    """
    placed, new = points.copy(), np.flatnonzero(~known)
    random = np.random.default_rng(0)  # many new images with the same neighbours would hide each other
    for start in range(0, len(new), AT_ONCE):
        rows = new[start : start + AT_ONCE]
        found = index.search_vectors(index.vectors[rows], min(len(index), 10 * BESIDE))[1]
        beside = [near[known[near]][:BESIDE] for near in found]
        alone = [place for place, near in enumerate(beside) if not len(near)]  # their neighbours are all new as well
        for place, near in zip(alone, _nearest_of(index, known, rows[alone]), strict=True):
            beside[place] = near
        for row, near in zip(rows, beside, strict=True):
            middle = np.median(points[near], axis=0)
            placed[row] = middle + 0.25 * np.abs(points[near] - middle).mean() * random.normal(size=2)
    return placed


def _nearest_of(index: Index, known: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each of `rows` the BESIDE nearest of the known rows, by comparing it with all of them."""
    queries = np.asarray(index.vectors[rows], np.float32)
    scores = np.full((len(rows), BESIDE), -np.inf, np.float32)
    found = np.zeros((len(rows), BESIDE), np.int64)
    for start in range(0, len(index) if len(rows) else 0, BLOCK):
        block = start + np.flatnonzero(known[start : start + BLOCK])
        all_scores = np.concatenate([scores, queries @ np.asarray(index.vectors[block], np.float32).T], axis=1)
        all_rows = np.concatenate([found, np.broadcast_to(block, (len(rows), len(block)))], axis=1)
        best = np.argsort(-all_scores, axis=1, kind="stable")[:, :BESIDE]
        scores, found = np.take_along_axis(all_scores, best, 1), np.take_along_axis(all_rows, best, 1)
    return found
