"""Exact search by matrix product: ground truth, subsets chosen by a filter, large batches, and a GPU.

For a batch, blocks of a matrix product are several times faster than FAISS's flat index; for one query FAISS is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.errors import QueryError

BLOCK = 16_384  # vectors a step; bounds the memory of a scan

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def nearest(q: npt.NDArray[Any], vectors: npt.NDArray[Any], k: int, rows: npt.NDArray[np.int64] | None = None) -> Found:
    """The k largest inner products of each query with `vectors`, or with some rows of them, best first.

    q: `[Q, D]`. vectors: `[N, D]`, float32 or float16, may be mapped. rows: `[n]`, the only ones to look at.

    Returns scores `[Q, m]` and rows `[Q, m]`, m = min(k, N or n).
    """
    import torch

    count = len(vectors) if rows is None else len(rows)
    best: tuple[Any, Any] | None = None
    queries = torch.from_numpy(np.array(q, dtype=np.float32))
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        chosen = slice(start, stop) if rows is None else rows[start:stop]
        block = torch.from_numpy(np.array(vectors[chosen], dtype=np.float32))
        scores, at = (queries @ block.T).topk(min(k, stop - start), dim=1)
        at += start
        if best is not None:
            scores, at = torch.cat([best[0], scores], dim=1), torch.cat([best[1], at], dim=1)
        top, order = scores.topk(min(k, scores.shape[1]), dim=1)
        best = top, at.gather(1, order)
    if best is None:
        return np.empty((len(q), 0), np.float32), np.empty((len(q), 0), np.int64)
    found = best[1].numpy()
    return best[0].numpy(), found if rows is None else rows[found]


class OnDevice:
    """All vectors on a torch device, searched exactly by one matrix product a batch."""

    def __init__(self, vectors: npt.NDArray[Any], device: str) -> None:
        import torch

        half = vectors.dtype == np.float16 and torch.device(device).type != "cpu"
        kind = torch.float16 if half else torch.float32
        try:
            self._vectors = torch.empty(vectors.shape, dtype=kind, device=device)
            for start in range(0, len(vectors), BLOCK):
                self._vectors[start : start + BLOCK] = torch.from_numpy(np.array(vectors[start : start + BLOCK]))
        except (RuntimeError, AssertionError) as error:  # no such device, no CUDA in this torch, out of its memory
            raise QueryError(f"{len(vectors):,} vectors cannot be put on device {device!r}: {error}") from error

    def search(self, q: npt.NDArray[np.float32], k: int) -> Found:
        """The k nearest of each query `[Q, D]`: scores `[Q, k]` and rows `[Q, k]`, best first."""
        import torch

        queries = torch.from_numpy(np.array(q)).to(self._vectors.device, self._vectors.dtype)
        with torch.inference_mode():
            scores, rows = (queries @ self._vectors.T).topk(k, dim=1)
        return scores.float().cpu().numpy(), rows.cpu().numpy()
