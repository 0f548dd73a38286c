"""Numbers that show collapse: effective rank, alignment and uniformity."""

from __future__ import annotations

import torch


def effective_rank(x: torch.Tensor) -> float:
    """RankMe (arXiv 2210.02885, eq. 1): exp of the entropy of the singular values of `x`, `[N, D]`; 1 to min(N, D).

    The features are centred first, so a common offset does not count as a dimension.
    """
    values = torch.linalg.svdvals((x - x.mean(0)).double())
    total = values.sum()
    if total == 0:
        return 1.0
    p = values / total + torch.finfo(torch.float32).eps
    return float(torch.exp(-(p * p.log()).sum()))


def alignment(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean squared distance of positive pairs, unit rows `[N, D]` (arXiv 2005.10242, eq. 1 with alpha 2)."""
    return float((a - b).square().sum(1).mean())


def uniformity(x: torch.Tensor) -> float:
    """log of the mean of exp(-2 d^2) over all pairs of unit rows `[N, D]` (arXiv 2005.10242, eq. 2 with t 2)."""
    return float((-2 * torch.pdist(x).square()).exp().mean().log())
