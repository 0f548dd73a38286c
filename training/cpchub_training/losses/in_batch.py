"""Losses whose negatives are the other images of the batch, over all ranks. They take unnormalised projections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses.precision import without_autocast
from cpchub_training.losses.ranks import gather, rank, world_size


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR (arXiv 2002.05709, eq. 1), the mean over the 2N anchors.

    `z1`, `z2`: `[N, D]`, row i of both from image i. google-research/simclr reports twice this value (it adds the two
    directions), which matters when its learning rates are taken over.
    Orthonormal identical views give log(1 + (2N - 2) exp(-1/T)); a collapsed encoder gives log(2N - 1).

    >>> views = torch.eye(16)
    >>> nt_xent(views, views, temperature=0.1)
    tensor(0.0014)
    >>> nt_xent(torch.ones(16, 16), torch.ones(16, 16), temperature=0.1)  # collapsed: log 31
    tensor(3.4340)
    """
    return sup_con(torch.stack([z1, z2], dim=1), None, temperature)


@without_autocast
def sup_con(z: Tensor, labels: Tensor | None, temperature: float, form: str = "out") -> Tensor:
    """Supervised contrastive loss (arXiv 2004.11362, eq. 2 `out`, eq. 3 `in`), the mean over the N * V anchors.

    `z`: `[N, V, D]`; `labels`: `[N]`, or None for "each image is its own class", which with V = 2 is NT-Xent and with
    more views its multi-view form. Not multiplied by T / 0.07 as the official SupContrast code does.
    Raises `ValueError` when an anchor has no positive (V = 1 and a class with a single image, or no labels).
    """
    if form not in ("out", "in"):
        raise ValueError(f"form is 'out' or 'in', not {form!r}")
    logits, positive = _compare(z, labels, temperature)
    count = positive.sum(1)
    if z.shape[1] == 1 and not bool((count > 0).all()):  # with two views there is no need to wait for the device
        raise ValueError("an anchor has no positive: give each image two views, or drop classes with one image")
    log_normaliser = logits.logsumexp(1)
    if form == "out":
        mean_positive = logits.masked_fill(~positive, 0.0).sum(1) / count
        return (log_normaliser - mean_positive).mean()
    mean_likelihood = logits.masked_fill(~positive, float("-inf")).logsumexp(1) - count.log()
    return (log_normaliser - mean_likelihood).mean()


@without_autocast
def dcl(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Decoupled contrastive loss (arXiv 2110.06848, eq. 6): NT-Xent without the positive in the denominator.

    `z1`, `z2`: `[N, D]`; the mean over the 2N anchors. Orthonormal identical views give log(2N - 2) - 1/T, a collapsed
    encoder gives log(2N - 2). Raises `ValueError` for a single image, which has no negatives.

    >>> dcl(torch.ones(16, 16), torch.ones(16, 16), temperature=0.1)  # collapsed: log 30
    tensor(3.4012)
    """
    if len(z1) * world_size() < 2:
        raise ValueError("dcl needs negatives: give it two images or more")
    logits, positive = _compare(torch.stack([z1, z2], dim=1), None, temperature)
    negatives = logits.masked_fill(positive, float("-inf")).logsumexp(1)
    return (negatives - logits.masked_fill(~positive, 0.0).sum(1)).mean()


@without_autocast
def inva_spread(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Invariance and spread (Ye et al., CVPR 2019, arXiv 1904.03436, eq. 6): -log P(i|x^_i) - sum_j log(1 - P(i|x_j)).

    `z1`, `z2`: `[N, D]`; the mean over the 2N anchors. As in the official code both views are augmented, an anchor is
    no candidate of its own, and what an anchor is compared with carries no gradient.
    Orthonormal identical views give 0.022866 (T = 0.1, 2N = 256); a collapsed encoder gives
    log(2N - 1) - (2N - 2) log(1 - 1/(2N - 1)).
    """
    logits, positive = _compare(torch.stack([z1, z2], dim=1), None, temperature, constant_candidates=True)
    log_p = logits.log_softmax(1)
    largest = 1 - torch.finfo(torch.float32).eps  # a copy among the negatives would make the log infinite
    spread = torch.log1p(-log_p.exp().clamp(max=largest)).masked_fill(positive, 0.0).sum(1)
    invariance = log_p.masked_fill(~positive, 0.0).sum(1)
    return -(invariance + spread).mean()


def _compare(
    z: Tensor, labels: Tensor | None, temperature: float, constant_candidates: bool = False
) -> tuple[Tensor, Tensor]:
    """Cosine similarities over T of this rank's N * V anchors with the candidates of all ranks; which are positives.

    Both `[anchors, candidates]`, rows view by view; an anchor's similarity to itself is -inf, and no positive.
    """
    n, v, d = z.shape
    anchors = F.normalize(z.float(), dim=-1).transpose(0, 1).reshape(v * n, d)  # view-major: row = view * N + image
    first = n * rank()
    image = torch.arange(first, first + n, device=z.device)
    group = (image if labels is None else labels.to(z.device)).repeat(v)
    identity = (torch.arange(v, device=z.device)[:, None] * n * world_size() + image).reshape(-1)  # over all ranks
    candidates = gather(anchors.detach() if constant_candidates else anchors)
    logits = anchors @ candidates.T / temperature
    itself = identity[:, None] == gather(identity)[None, :]
    positive = (group[:, None] == gather(group)[None, :]) & ~itself
    return logits.masked_fill(itself, float("-inf")), positive
