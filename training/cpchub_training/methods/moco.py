"""MoCo, versions 1 and 2: a query encoder, a slowly following key encoder, and a queue of past keys as negatives.

He et al., arXiv 1911.05722 (algorithm 1); Chen et al., arXiv 2003.04297 (version 2: MLP head, stronger views, cosine).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub_training.losses import gather, info_nce
from cpchub_training.methods.projector import mlp
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe


@method("moco_v1", views=2)
@method("moco_v2", views=2)
class MoCo(Method):
    """MoCo with the paper's names: queue length K, key momentum m, temperature T. `linear_head`: as in version 1.

    Batch statistics must not tell which keys belong to which queries: over several ranks the keys are shuffled between
    them; on one rank the key encoder's batch norms see `bn_splits` separate parts of a shuffled batch.
    The loss of a step reads the queue before the step's keys enter it. Any batch size works: the queue wraps around.
    """

    queue: Tensor
    pointer: Tensor
    sync_batch_norm = False  # statistics of all ranks would undo the shuffling
    can_be_sharded = False  # the key encoder follows within a step, where FSDP keeps only copies of the weights

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        projector_hidden: int,
        projector_dim: int,
        *,
        T: float = 0.2,
        K: int = 65536,
        m: float = 0.999,
        symmetric: bool = False,
        bn_splits: int = 8,
        linear_head: bool = False,
    ) -> None:
        super().__init__()
        self.T, self.K, self.m, self.symmetric = T, K, m, symmetric
        self.backbone = backbone
        self.projector: nn.Module = (
            nn.Linear(width, projector_dim) if linear_head else mlp(width, projector_hidden, projector_dim)
        )
        self.backbone_k = _split_batch_norms(copy.deepcopy(backbone), bn_splits)
        self.projector_k = copy.deepcopy(self.projector)
        for p in (*self.backbone_k.parameters(), *self.projector_k.parameters()):
            p.requires_grad = False
        self.register_buffer("queue", F.normalize(torch.randn(K, projector_dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> MoCo:
        return cls(
            backbone,
            width_of(backbone),
            recipe.projector_hidden,
            recipe.projector_dim,
            T=recipe.temperature,
            K=recipe.moco.queue_size,
            m=recipe.moco.key_momentum
            ** (1 / recipe.accumulate),  # each part of a batch moves it; together by momentum
            symmetric=recipe.moco.symmetric,
            bn_splits=recipe.moco.bn_splits,
            linear_head=recipe.method == "moco_v1",
        )

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x1, x2 = views
        q = F.normalize(self.projector(self.backbone(x1)).float(), dim=1)  # queries: NxD
        self._momentum_update()
        k = self._keys(x2)  # keys: NxD, no gradient
        queue = self.queue.clone()  # the negatives of this step, read before its keys enter
        loss = info_nce(q, k, queue, self.T)
        keys = gather(k)
        if self.symmetric:
            q2 = F.normalize(self.projector(self.backbone(x2)).float(), dim=1)
            k1 = self._keys(x1)
            loss = (loss + info_nce(q2, k1, queue, self.T)) / 2
            keys = torch.cat([keys, gather(k1)])
        self._dequeue_and_enqueue(keys)
        return loss, {"positive_similarity": (q.detach() * k).sum(1).mean()}

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all images are alike: log(K + 1)."""
        return math.log(self.K + 1)

    @torch.no_grad()
    def _momentum_update(self) -> None:
        """theta_k <- m theta_k + (1 - m) theta_q (eq. 2); batch norm buffers are the key encoder's own."""
        theta_q: list[Tensor] = [*self.backbone.parameters(), *self.projector.parameters()]
        theta_k: list[Tensor] = [*self.backbone_k.parameters(), *self.projector_k.parameters()]
        torch._foreach_mul_(theta_k, self.m)
        torch._foreach_add_(theta_k, theta_q, alpha=1 - self.m)

    @torch.no_grad()
    def _keys(self, x: Tensor) -> Tensor:
        """Keys of `x` in its own order, encoded in a shuffled one (section 3.3, "Shuffling BN")."""
        n = len(x)
        everything = gather(x)
        order = torch.randperm(len(everything), device=x.device)
        if dist.is_initialized():
            dist.broadcast(order, src=0)
        rank = dist.get_rank() if dist.is_initialized() else 0
        mine = slice(n * rank, n * (rank + 1))
        k = self.projector_k(self.backbone_k(everything[order[mine]]))
        k = gather(F.normalize(k.float(), dim=1))
        return k[order.argsort()[mine]]

    @torch.no_grad()
    def _dequeue_and_enqueue(self, keys: Tensor) -> None:
        keys = keys[-self.K :]
        rows = (self.pointer + torch.arange(len(keys), device=keys.device)) % self.K
        self.queue[rows] = keys
        self.pointer.copy_((self.pointer + len(keys)) % self.K)


class _SplitBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of `splits` parts of the batch, as of that many devices.

    Of fewer parts where they would be of one image, which has no statistics.
    """

    splits: int

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        parts = x.tensor_split(max(1, min(self.splits, len(x) // 2)))
        return torch.cat([super(_SplitBatchNorm2d, self).forward(part) for part in parts])


def _split_batch_norms(backbone: nn.Module, splits: int) -> nn.Module:
    """Turn each BatchNorm2d of `backbone` (and timm's subclasses without extras) into its split form, in place."""
    for module in backbone.modules():
        if splits > 1 and type(module) is nn.BatchNorm2d:
            module.__class__ = _SplitBatchNorm2d
            setattr(module, "splits", splits)  # noqa: B010  (mypy does not see the new class)
    return backbone
