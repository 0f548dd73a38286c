"""Weighted kNN for several k at once: the neighbours are searched once for all k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES_AT_ONCE = 500
BANK_AT_ONCE = 20_000  # bounds the similarities to 500 x 20,000


@torch.inference_mode()
def knn(
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.int64],
    queries: npt.NDArray[np.floating],
    ks: Sequence[int],
    temperature: float = 0.1,
) -> dict[int, npt.NDArray[np.int64]]:
    """Predicted class numbers `[Q]` of queries `[Q, D]` for each k, from features `[N, D]` and labels `[N]`.

    InstDisc (arXiv 1805.01978, section 3.4): by cosine similarity s, each neighbour votes with weight exp(s / T).
    A k above N uses all N features.
    """
    bank = F.normalize(torch.tensor(x), dim=1)
    labels = torch.from_numpy(np.asarray(y))
    classes, most = int(labels.max()) + 1, min(max(ks), len(bank))
    found: dict[int, list[Tensor]] = {k: [] for k in ks}
    for q in torch.tensor(queries).split(QUERIES_AT_ONCE):
        similarity, rows = _nearest(bank, F.normalize(q, dim=1), most)
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = labels[rows]
        for k in ks:
            tally = weights.new_zeros(len(q), classes).scatter_add_(1, votes[:, :k], weights[:, :k])
            found[k].append(tally.argmax(dim=1))
    return {k: torch.cat(parts).numpy() for k, parts in found.items()}


def _nearest(bank: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities and rows `[Q, k]` of the k nearest, best first; the bank is searched in parts."""
    best = queries.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(bank), BANK_AT_ONCE):
        similarity = queries @ bank[start : start + BANK_AT_ONCE].T
        near, at = similarity.topk(min(k, similarity.shape[1]), dim=1)
        best, order = torch.cat([best, near], dim=1).sort(dim=1, descending=True, stable=True)
        rows = torch.cat([rows, at + start], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
    return best, rows
