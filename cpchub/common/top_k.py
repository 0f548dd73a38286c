"""The k nearest vectors by inner product, with one block of the vectors in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def top_k_of_blocks(queries: Tensor, blocks: Iterable[Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The k largest inner products `[Q, m]` of queries `[Q, D]` with blocks of vectors `[n, D]`, and their rows.

    Best first; of equal ones in two blocks, that of the earlier block. A row counts through all blocks; m is the
    smaller of k and the number of vectors.
    """
    import torch

    scores = queries.new_empty((len(queries), 0))
    rows = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    seen = 0
    for block in blocks:
        top, at = (queries @ block.T).topk(min(k, len(block)), dim=1)
        scores, order = torch.cat([scores, top], dim=1).sort(dim=1, descending=True, stable=True)
        scores = scores[:, :k]
        rows = torch.cat([rows, at + seen], dim=1).gather(1, order[:, :k])
        seen += len(block)
    return scores, rows
