"""Bounds on the mutual information I(x; c) of N pairs, in nats.

Lower bounds take the scores of a critic, `[N, N]`: f(x_i, c_j). The diagonal has the positive pairs; all other pairs
stand for draws from the product of the marginals. Upper bounds take log densities, `[N, N]`: log p(c_j | x_i).
In expectation, InfoNCE <= I <= the variational bound. CLUB is a bound only if its density is the true one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def info_nce_lower_bound(scores: Tensor) -> Tensor:
    """log N minus the InfoNCE loss (arXiv 1807.03748, section 2.3), N candidates c_j for each x_i; never above log N.

    Best critic: log p(c|x) / p(c), up to any function of x.

    >>> info_nce_lower_bound(100.0 * torch.eye(8))  # a sure critic: log 8, the most that 8 pairs can show
    tensor(2.0794)
    >>> bool(info_nce_lower_bound(torch.zeros(8, 8)).abs() < 1e-5)  # one that cannot tell the pairs apart
    True
    """
    scores = _square(scores)
    return math.log(len(scores)) + (scores.diagonal() - scores.logsumexp(1)).mean()


def nwj_lower_bound(scores: Tensor) -> Tensor:
    """Nguyen, Wainwright and Jordan (arXiv 0809.0853): E[f] over positive pairs - E[exp(f - 1)] over all other pairs.

    The estimate is unbiased and has no cap. Its variance grows with exp(I). Best critic: 1 + log p(c|x) / p(c).

    >>> bool(nwj_lower_bound(torch.ones(8, 8)).abs() < 1e-5)  # the best critic of independent x and c: nothing
    True
    >>> nwj_lower_bound(100.0 * torch.eye(64))  # no cap: log 64 is 4.2
    tensor(99.6321)
    """
    scores = _square(scores)
    n = len(scores)
    mean_of_exponentials = (_others(scores - 1).flatten().logsumexp(0) - math.log(n * (n - 1))).exp()
    return scores.diagonal().mean() - mean_of_exponentials


def variational_upper_bound(log_conditional: Tensor, log_marginal: Tensor) -> Tensor:
    """E[log p(c_i | x_i) - log r(c_i)], r any density over c (Barber and Agakov 2003), both arguments `[N]`.

    It exceeds I by KL(p(c) || r(c)).

    >>> variational_upper_bound(torch.tensor([-0.5, -0.7]), torch.tensor([-1.5, -1.7]))
    tensor(1.)
    """
    return (log_conditional.float() - log_marginal.float()).mean()


def club_upper_bound(log_conditional: Tensor) -> Tensor:
    """CLUB (arXiv 2006.12013, eq. 7): E log p(c_i | x_i) over positive pairs - E log p(c_j | x_i) over all others.

    The paper's estimate counts j = i among the others, which shrinks it by (N - 1) / N; this one does not. Densities
    are sums over the dimensions of c (the official code averages over them).

    >>> club_upper_bound(torch.tensor([[-1.0, -4.0], [-6.0, -1.0]]))
    tensor(4.)
    """
    log_conditional = _square(log_conditional)
    n = len(log_conditional)
    others = _others(log_conditional, 0.0).sum() / (n * (n - 1))
    return log_conditional.diagonal().mean() - others


def leave_one_out_upper_bound(log_conditional: Tensor) -> Tensor:
    """E[log p(c_i | x_i) - log mean_{j != i} p(c_i | x_j)] (Poole et al., arXiv 1905.06922, eq. 13).

    >>> leave_one_out_upper_bound(torch.tensor([[-1.0, -4.0], [-6.0, -1.0]]))
    tensor(4.)
    """
    log_conditional = _square(log_conditional)
    marginal = _others(log_conditional).logsumexp(0) - math.log(len(log_conditional) - 1)
    return (log_conditional.diagonal() - marginal).mean()


def _square(scores: Tensor) -> Tensor:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"scores of N >= 2 pairs are [N, N], not {list(scores.shape)}")
    return scores.float()


def _others(scores: Tensor, instead: float = float("-inf")) -> Tensor:
    """`scores` with the positive pairs, the diagonal, replaced."""
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool, device=scores.device), instead)
