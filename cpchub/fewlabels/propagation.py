"""Labels spread over the graph of nearest neighbours, to the images that have none.

Zhou et al., "Learning with Local and Global Consistency" (2003): `F = (I - a S)^-1 Y` for one-hot labels Y and the
normalised graph S, solved by conjugate gradients (Iscen et al. 2019, whose weights these are: cosine to the power 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cpchub.common.progress import Report
from cpchub.common.top_k import top_k_of_blocks
from cpchub.common.vectors import unit_length
from cpchub.fewlabels.base import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Both chosen on training images of Tiny-ImageNet and CIFAR-10 and on digits.
NEIGHBOURS, SPREAD = 10, 0.95
POWER = 3
AT_ONCE, BANK_AT_ONCE = 500, 20_000  # bounds the similarities to 500 x 20,000
EXACT = 1e-4  # residual, as a share of the labels, at which the solution is good enough
STEPS = 200


def neighbour_graph(vectors: Array, *, progress: bool = False) -> csr_array:
    """The normalised graph S `[N, N]` of the nearest neighbours of vectors `[N, D]`, each compared with all others.

    What all vectors have in common is taken off first. The graph is symmetric: an edge is there if either end has it.
    """
    import torch
    from scipy.sparse import coo_array, diags_array

    unit = unit_length(vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
    count, k = len(unit), min(NEIGHBOURS, len(unit) - 1)
    blocks = torch.from_numpy(unit).split(BANK_AT_ONCE)
    cosines, rows = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
    with Report("Comparing", count, console=Console(stderr=True, quiet=not progress)) as report:
        for start in range(0, count, AT_ONCE):
            own = np.arange(start, min(start + AT_ONCE, count))
            with torch.inference_mode():
                found = [part.numpy() for part in top_k_of_blocks(torch.from_numpy(unit[own]), blocks, k + 1)]
            itself = found[1] == own[:, None]
            itself[~itself.any(axis=1), -1] = True  # hidden by twins: the last neighbour is dropped
            cosines[own], rows[own] = (part[~itself].reshape(-1, k) for part in found)
            report.advance(len(own))
    weights = np.maximum(cosines, 0).ravel() ** POWER
    graph = coo_array((weights, (np.repeat(np.arange(count), k), rows.ravel())), shape=(count, count)).tocsr()
    graph = graph.maximum(graph.T)
    degree = np.asarray(graph.sum(axis=1))
    scale = diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)).astype(np.float32))
    return (scale @ graph @ scale).tocsr()


def propagate(graph: csr_array, rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], classes: int) -> Array:
    """Class probabilities `[N, C]` from labels: the class numbers `[n]` of some rows `[n]`.

    The labels of a class count as much as those of any other class, however many they are. What no label reaches is of
    each class alike.
    """
    labels = np.zeros((graph.shape[0], classes), np.float32)
    labels[rows, codes] = 1 / np.bincount(codes, minlength=classes)[codes]
    spread = np.maximum(solve(graph, labels), 0)
    total = spread.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, spread / np.where(total > 0, total, 1), 1 / classes))


def solve(graph: csr_array, labels: Array) -> Array:
    """`(I - SPREAD S)^-1 Y` for each column of Y `[N, C]`, by conjugate gradients; all columns take steps together."""
    solution, residual = np.zeros_like(labels), labels.copy()
    direction, size = residual.copy(), np.square(residual).sum(axis=0)
    enough = EXACT**2 * size
    for _ in range(STEPS):
        if (size <= enough).all():
            break
        image = direction - SPREAD * (graph @ direction)
        along = (direction * image).sum(axis=0)
        step = np.where(along > 0, size / np.where(along > 0, along, 1), 0)
        solution += step * direction
        residual -= step * image
        new = np.square(residual).sum(axis=0)
        direction = residual + np.where(size > 0, new / np.where(size > 0, size, 1), 0) * direction
        size = new
    return solution
