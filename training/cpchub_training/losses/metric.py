"""Losses of metric learning, over distances and margins. They take embeddings as they are: normalise them or not."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses.precision import without_autocast
from cpchub_training.losses.ranks import gather, rank, world_size

MINING = ("all", "hard", "semi-hard", "easy")


@without_autocast
def margin_contrastive(x1: Tensor, x2: Tensor, dissimilar: Tensor, margin: float) -> Tensor:
    """Contrastive loss of Hadsell, Chopra and LeCun (CVPR 2006, eq. 4), the mean over the N pairs.

    (1 - Y) D^2 / 2 + Y max(0, m - D)^2 / 2, D the Euclidean distance of `x1` and `x2` (`[N, D]`), Y = `dissimilar`
    (`[N]`, bool or 0 and 1). Both halves have their 1/2, which some surveys drop from the first.

    >>> x = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> y = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> margin_contrastive(x, y, torch.tensor([False, True]), margin=2.0)  # (25 / 2 + (2 - 1)^2 / 2) / 2
    tensor(6.5000)
    """
    distance = torch.linalg.vector_norm(x1.float() - x2.float(), dim=-1)
    y = dissimilar.float()
    return ((1 - y) * distance.square() / 2 + y * F.relu(margin - distance).square() / 2).mean()


@without_autocast
def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Triplet loss of FaceNet (arXiv 1503.03832, eq. 2), the mean over the N triplets: max(0, d_ap - d_an + margin).

    All `[N, D]`; d is the *squared* Euclidean distance (torch.nn.TripletMarginLoss takes its root).

    >>> anchor, positive, negative = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> triplet(anchor, positive, negative, margin=0.2)  # both are equally far, so the margin is what is missing
    tensor(0.2000)
    """
    d_ap = (anchor.float() - positive.float()).square().sum(-1)
    d_an = (anchor.float() - negative.float()).square().sum(-1)
    return F.relu(d_ap - d_an + margin).mean()


@without_autocast
def mined_triplet(x: Tensor, labels: Tensor, margin: float, mining: str = "semi-hard") -> Tensor:
    """Triplet loss over the batch's own triplets of one kind, the mean over them; 0 if there is none.

    `x`: `[N, D]`, `labels`: `[N]`. Anchors are this rank's, positives and negatives those of all ranks. Kinds (FaceNet,
    section 3.2): hard d_an <= d_ap; semi-hard d_ap < d_an <= d_ap + margin; easy beyond; or all of them, where the
    mean counts the easy ones as the zeros they are. Takes N^3 floats. Raises `ValueError` for another kind.

    >>> x, labels = torch.tensor([[0.0], [1.0], [1.5]]), torch.tensor([0, 0, 1])
    >>> mined_triplet(x, labels, margin=0.5, mining="hard")  # 1.5 is nearer to 1 than 0 is: 1 - 0.25 + 0.5
    tensor(1.2500)
    >>> mined_triplet(x, labels, margin=2.0, mining="semi-hard")  # seen from 0: 1 - 2.25 + 2
    tensor(0.7500)
    """
    if mining not in MINING:
        raise ValueError(f"mining is one of {', '.join(MINING)}, not {mining!r}")
    x = x.float()
    others, classes = gather(x), gather(labels)
    distance = (x[:, None] - others[None]).square().sum(-1)
    mine = torch.arange(len(x), device=x.device) + len(x) * rank()
    same = labels[:, None] == classes[None]
    positive = same.scatter(1, mine[:, None], False)
    gap = distance[:, None, :] - distance[:, :, None]  # d_an - d_ap, [anchor, positive, negative]
    chosen = positive[:, :, None] & ~same[:, None, :]
    if mining == "hard":
        chosen = chosen & (gap <= 0)
    elif mining == "semi-hard":
        chosen = chosen & (gap > 0) & (gap <= margin)
    elif mining == "easy":
        chosen = chosen & (gap > margin)
    count = chosen.sum()
    if world_size() > 1:
        dist.all_reduce(count)  # ranks hold different numbers of triplets; DDP averages over the ranks
    return F.relu(margin - gap).masked_fill(~chosen, 0.0).sum() * world_size() / count.clamp(min=1)
