"""The losses of the contrastive family, as pure functions.

Every loss computes in float32 whatever comes in, takes unnormalised projections, and is rank-aware where negatives are
shared: under `torchrun` the candidates of all ranks are gathered *with* their gradients, and each rank returns the
mean over its own anchors, so that DDP's averaging of gradients gives exactly the gradient of one rank with the whole
batch (tested). Shapes: N pictures, V views, D dimensions, K negatives.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR (arXiv 2002.05709, eq. 1), the mean over the 2N anchors.

    `z1`, `z2`: `[N, D]`, row i of both from picture i. google-research/simclr reports twice this value (it adds the two
    directions), which matters when its learning rates are taken over.
    Orthonormal identical views give log(1 + (2N - 2) exp(-1/T)); a collapsed encoder gives log(2N - 1).
    """
    return sup_con(torch.stack([z1, z2], dim=1), None, temperature)


def sup_con(z: Tensor, labels: Tensor | None, temperature: float, form: str = "out") -> Tensor:
    """Supervised contrastive loss (arXiv 2004.11362, eq. 2 `out`, eq. 3 `in`), the mean over the N * V anchors.

    `z`: `[N, V, D]`; `labels`: `[N]`, or None for "each picture is its own class", which with V = 2 is NT-Xent and with
    more views its multi-view form. Not multiplied by T / 0.07 as the official SupContrast code does.
    Raises `ValueError` when an anchor has no positive (V = 1 and a class with a single picture).
    """
    if form not in ("out", "in"):
        raise ValueError(f"form is 'out' or 'in', not {form!r}")
    n, v, d = z.shape
    anchors = F.normalize(z.float(), dim=-1).transpose(0, 1).reshape(v * n, d)  # view-major: row = view * N + picture
    first = n * _rank()
    picture = torch.arange(first, first + n, device=z.device)
    group = (picture if labels is None else labels.to(z.device)).repeat(v)
    identity = (torch.arange(v, device=z.device)[:, None] * n * _world() + picture).reshape(-1)  # unique over the ranks
    candidates, groups, identities = gather(anchors), gather(group), gather(identity)

    logits = anchors @ candidates.T / temperature
    itself = identity[:, None] == identities[None, :]
    logits = logits.masked_fill(itself, float("-inf"))
    positive = (group[:, None] == groups[None, :]) & ~itself
    count = positive.sum(1)
    if labels is not None and not bool((count > 0).all()):
        raise ValueError("an anchor has no positive: give each picture two views, or drop classes with one picture")
    log_normaliser = logits.logsumexp(1)
    if form == "out":
        mean_positive = logits.masked_fill(~positive, 0.0).sum(1) / count
        return (log_normaliser - mean_positive).mean()
    mean_likelihood = logits.masked_fill(~positive, float("-inf")).logsumexp(1) - count.log()
    return (log_normaliser - mean_likelihood).mean()


def info_nce(q: Tensor, k: Tensor, negatives: Tensor | None, temperature: float) -> Tensor:
    """InfoNCE of MoCo (arXiv 1911.05722, eq. 1), the mean over the N queries.

    `q`, `k`: `[N, D]`, row i of both from picture i; `negatives`: `[K, D]` (MoCo's queue), shared by all queries, or
    None to contrast each query with the keys of the other pictures, of every rank.
    An orthonormal queue gives log(1 + K exp(-1/T)); a collapsed encoder gives log(K + 1).
    """
    q, k = F.normalize(q.float(), dim=-1), F.normalize(k.float(), dim=-1)
    if negatives is None:
        mine = torch.arange(len(q), device=q.device) + len(q) * _rank()
        logits = q @ gather(k).T / temperature
        positive = logits.gather(1, mine[:, None])[:, 0]
    else:
        l_pos = (q * k).sum(-1, keepdim=True)  # Nx1
        l_neg = q @ F.normalize(negatives.float(), dim=-1).T  # NxK
        logits = torch.cat([l_pos, l_neg], dim=1) / temperature
        positive = logits[:, 0]
    # not F.cross_entropy: its float32 sum over 65,536 negatives is off by 2e-4 on a CPU
    return (logits.logsumexp(1) - positive).mean()


def gather(x: Tensor) -> Tensor:
    """Concatenate `x` of all ranks along dimension 0, in rank order, with gradients to each rank's part.

    The backward sums what every rank's loss says about this rank's rows; ranks must hold equally many rows.
    """
    if _world() == 1:
        return x
    if not x.requires_grad:
        return _all_gather(x)
    return _Gather.apply(x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return _all_gather(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[ctx.rows * _rank() : ctx.rows * (_rank() + 1)]


def _all_gather(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(_world())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
