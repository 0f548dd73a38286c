"""Bounds on the mutual information I(x; c), in nats, from what a critic or a conditional density says of N pairs.

Lower bounds take `scores`, `[N, N]`, the critic's f(x_i, c_j): pairs that belong together on the diagonal, all others
as draws from the product of the marginals. Upper bounds take log densities: `[N, N]` of log p(c_j | x_i).
InfoNCE <= I <= the variational bound always holds in expectation; CLUB is a bound where its density is the true one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def info_nce_lower_bound(scores: Tensor) -> Tensor:
    """log N minus the InfoNCE loss (arXiv 1807.03748, section 2.3), N candidates c_j for each x_i; never above log N.

    Best critic: log p(c|x) / p(c), up to any function of x.
    """
    scores = _square(scores)
    return math.log(len(scores)) + (scores.diagonal() - scores.logsumexp(1)).mean()


def nwj_lower_bound(scores: Tensor) -> Tensor:
    """Nguyen, Wainwright and Jordan (arXiv 0809.0853): E[f] - E[exp(f - 1)], the second over pairs that do not belong.

    Unbiased for its bound and not capped, at the price of a variance that grows with exp(I). Best critic:
    1 + log p(c|x) / p(c).
    """
    scores = _square(scores)
    n = len(scores)
    mean_of_exponentials = (_others(scores - 1).flatten().logsumexp(0) - math.log(n * (n - 1))).exp()
    return scores.diagonal().mean() - mean_of_exponentials


def variational_upper_bound(log_conditional: Tensor, log_marginal: Tensor) -> Tensor:
    """E[log p(c_i | x_i) - log r(c_i)], r any density over c (Barber and Agakov 2003), both arguments `[N]`.

    It exceeds I by KL(p(c) || r(c)).
    """
    return (log_conditional.float() - log_marginal.float()).mean()


def club_upper_bound(log_conditional: Tensor) -> Tensor:
    """CLUB (arXiv 2006.12013, eq. 7): E log p(c_i | x_i) - E log p(c_j | x_i) over pairs that do not belong.

    The paper's estimate counts j = i among the latter, which shrinks it by (N - 1) / N; this one does not. Densities
    are sums over the dimensions of c (the official code averages over them).
    """
    log_conditional = _square(log_conditional)
    n = len(log_conditional)
    others = _others(log_conditional, 0.0).sum() / (n * (n - 1))
    return log_conditional.diagonal().mean() - others


def leave_one_out_upper_bound(log_conditional: Tensor) -> Tensor:
    """E[log p(c_i | x_i) - log mean_{j != i} p(c_i | x_j)] (Poole et al., arXiv 1905.06922, eq. 13)."""
    log_conditional = _square(log_conditional)
    marginal = _others(log_conditional).logsumexp(0) - math.log(len(log_conditional) - 1)
    return (log_conditional.diagonal() - marginal).mean()


def _square(scores: Tensor) -> Tensor:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"scores of N >= 2 pairs are [N, N], not {list(scores.shape)}")
    return scores.float()


def _others(scores: Tensor, instead: float = float("-inf")) -> Tensor:
    """`scores` with the pairs that belong together, the diagonal, replaced."""
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool, device=scores.device), instead)
