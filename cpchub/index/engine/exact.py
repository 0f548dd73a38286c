"""Exact search by matrix product: ground truth, subsets chosen by a filter, large batches, and a GPU.

For a batch, blocks of a matrix product are several times faster than FAISS's flat index. For one query FAISS is
faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cpchub.common.top_k import top_k_of_blocks
from cpchub.errors import QueryError

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 16_384  # vectors a step, on a device DEVICE_BLOCK: with QUERIES a step they bound the memory of a scan
DEVICE_BLOCK = 262_144
QUERIES = 1024

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def nearest(q: npt.NDArray[Any], vectors: npt.NDArray[Any], k: int, rows: npt.NDArray[np.int64] | None = None) -> Found:
    """The k largest inner products of each query with `vectors`, or with some rows of them, best first.

    q: `[Q, D]`. vectors: `[N, D]`, float32 or float16, may be mapped. rows: `[n]`, the only ones to look at.

    Returns scores `[Q, m]` and rows `[Q, m]`, m = min(k, N or n).
    """
    import torch

    count = len(vectors) if rows is None else len(rows)

    def block(start: int) -> Tensor:
        chosen = slice(start, start + BLOCK) if rows is None else rows[start : start + BLOCK]
        return torch.from_numpy(np.array(vectors[chosen], dtype=np.float32))

    parts = []
    for start in range(0, max(len(q), 1), QUERIES):
        queries = torch.from_numpy(np.array(q[start : start + QUERIES], dtype=np.float32))
        parts.append(top_k_of_blocks(queries, map(block, range(0, count, BLOCK)), k))
    scores, found = (torch.cat(each).numpy() for each in zip(*parts, strict=True))
    return scores, found if rows is None else rows[found]


class OnDevice:
    """All vectors on a torch device, in the precision that they are stored in; compared in float32, so exactly."""

    def __init__(self, vectors: npt.NDArray[Any], device: str) -> None:
        import torch

        kind = torch.float16 if vectors.dtype == np.float16 else torch.float32
        try:
            self._vectors = torch.empty(vectors.shape, dtype=kind, device=device)
            for start in range(0, len(vectors), BLOCK):
                self._vectors[start : start + BLOCK] = torch.from_numpy(np.array(vectors[start : start + BLOCK]))
        except (RuntimeError, AssertionError) as error:  # no such device, no CUDA in this torch, out of its memory
            raise QueryError(f"{len(vectors):,} vectors cannot be put on device {device!r}: {error}") from error

    def search(self, q: npt.NDArray[np.float32], k: int) -> Found:
        """The k nearest of each query `[Q, D]`: scores `[Q, k]` and rows `[Q, k]`, best first."""
        import torch

        scores, rows = [], []
        with torch.inference_mode():
            for start in range(0, len(q), QUERIES):
                queries = torch.from_numpy(np.array(q[start : start + QUERIES], np.float32)).to(self._vectors.device)
                best = top_k_of_blocks(queries, (block.float() for block in self._vectors.split(DEVICE_BLOCK)), k)
                scores.append(best[0].cpu().numpy())
                rows.append(best[1].cpu().numpy())
        return np.concatenate(scores), np.concatenate(rows)
