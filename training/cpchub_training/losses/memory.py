"""Losses against what a method remembers of earlier steps: MoCo's queue of keys, InstDisc's bank of features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses.precision import without_autocast
from cpchub_training.losses.ranks import gather, rank


@without_autocast
def info_nce(q: Tensor, k: Tensor, negatives: Tensor | None, temperature: float) -> Tensor:
    """InfoNCE of MoCo (arXiv 1911.05722, eq. 1), the mean over the N queries.

    `q`, `k`: `[N, D]`, row i of both from image i; `negatives`: `[K, D]` (MoCo's queue), shared by all queries, or
    None to contrast each query with the keys of the other images, of every rank.
    An orthonormal queue gives log(1 + K exp(-1/T)); a collapsed encoder gives log(K + 1).

    >>> info_nce(torch.ones(4, 8), torch.ones(4, 8), negatives=torch.ones(32, 8), temperature=0.2)  # log 33
    tensor(3.4965)
    """
    q, k = F.normalize(q.float(), dim=-1), F.normalize(k.float(), dim=-1)
    if negatives is None:
        mine = torch.arange(len(q), device=q.device) + len(q) * rank()
        logits = q @ gather(k).T / temperature
        positive = logits.gather(1, mine[:, None])[:, 0]
    else:
        l_pos = (q * k).sum(-1, keepdim=True)  # Nx1
        l_neg = q @ F.normalize(negatives.float(), dim=-1).T  # NxK
        logits = torch.cat([l_pos, l_neg], dim=1) / temperature
        positive = logits[:, 0]
    # not F.cross_entropy: its float32 sum over 65,536 negatives is off by 2e-4 on a CPU
    return (logits.logsumexp(1) - positive).mean()


@without_autocast
def instdisc_nce(similarity: Tensor, temperature: float, n: int, Z: Tensor | float) -> Tensor:
    """Noise-contrastive estimation of InstDisc (arXiv 1805.01978, eq. 5 to 7), the mean over the N features.

    `similarity`: `[N, 1 + m]`, cosine of feature v_i with its own row of the bank of `n`, then with m rows drawn
    uniformly (Pn = 1/n); `Z`: the partition constant, so that P = exp(similarity / T) / Z.
    The m negatives are summed, not averaged. If every P is 1/n this is log(1 + m) + m log(1 + 1/m).

    >>> nothing_learnt = torch.zeros(4, 1 + 16)  # exp(0) / Z is 1 / n for every row of the bank
    >>> instdisc_nce(nothing_learnt, temperature=0.07, n=1000, Z=1000.0)  # log 17 + 16 log(17 / 16)
    tensor(3.8032)
    """
    m = similarity.shape[1] - 1
    # log P/(m Pn), so that h = P / (P + m Pn) is its sigmoid; the official code's eps of 1e-7 is not needed here
    log_odds = similarity.float() / temperature - torch.as_tensor(Z).log() - math.log(m / n)
    return (F.softplus(-log_odds[:, 0]) + F.softplus(log_odds[:, 1:]).sum(1)).mean()


@without_autocast
def instance_softmax(
    v: Tensor, bank: Tensor, indices: Tensor, temperature: float, allowed: Tensor | None = None
) -> Tensor:
    """Non-parametric softmax of InstDisc (arXiv 1805.01978, eq. 2), the mean over the N features.

    `v`: `[N, D]`; `bank`: `[n, D]`, one feature an image, used as it is; `indices`: `[N]`, the rows that v belong to;
    `allowed`: `[n]`, the rows that are in the softmax, all where None.
    An orthonormal bank gives log(1 + (n - 1) exp(-1/T)).
    """
    logits = F.normalize(v.float(), dim=-1) @ bank.float().T / temperature
    if allowed is not None:
        logits = logits.masked_fill(~allowed, float("-inf"))
    return (logits.logsumexp(1) - logits.gather(1, indices[:, None])[:, 0]).mean()
