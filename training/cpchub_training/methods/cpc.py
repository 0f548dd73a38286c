"""CPC v2: from the patches above, predict the patches below, told apart from all others; in four directions.

Henaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, arXiv 1905.09272; van den Oord et
al., arXiv 1807.03748 for the loss. What the papers leave open is said in `cpchub_training.recipes.cpc_settings`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub.errors import RecipeError
from cpchub_training.losses import cpc_info_nce, gather
from cpchub_training.losses.ranks import rank, world_size
from cpchub_training.methods.registry import DataFacts, Method, method, width_of
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import CPCSettings

TURNS = (0, 2, 1, 3)  # quarter turns that bring each direction to "from above to below"


class MaskedContext(nn.Module):
    """The context network g: residual blocks in which row r sees the rows up to r and all columns, and no norm.

    `[B, D, rows, columns]` to the same. A block is 1x1, 1x3, 2x1 below a row of zeros, 1x1 (appendix of the paper).
    """

    def __init__(self, dim: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_ContextBlock(dim, hidden) for _ in range(blocks)))

    def forward(self, z: Tensor) -> Tensor:
        context: Tensor = self.blocks(z)
        return F.relu(context)


class _ContextBlock(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(dim, hidden, 1)
        self.across = nn.Conv2d(hidden, hidden, (1, 3), padding=(0, 1))
        self.down = nn.Conv2d(hidden, hidden, (2, 1))
        self.expand = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        c = self.across(F.relu(self.reduce(x)))
        c = F.relu(self.down(F.pad(c, (0, 0, 1, 0))))  # a row of zeros on top: nothing from below
        out: Tensor = x + self.expand(c)
        return out


@method("cpc_v2", views=1)
class CPC(Method):
    """CPC v2 with the paper's names: patches -> encoder -> z, context network -> c, z_hat[i + k, j] = W_k c[i, j].

    backbone: a network on patches (`PatchGrid`); width: D, the length of z; side: of the views, in pixels.
    """

    Context: type[nn.Module] = MaskedContext

    def __init__(self, backbone: nn.Module, width: int, side: int, settings: CPCSettings) -> None:
        super().__init__()
        geometry: Any = backbone
        if getattr(backbone, "patch_size", None) is None:
            raise RecipeError("CPC needs a backbone on patches: give it patch_size and patch_stride in --backbone-args")
        self.rows, self.offsets = settings.grid(side, geometry.patch_size, geometry.patch_stride)
        self.settings = settings
        self.backbone = backbone
        if settings.checkpoint_activations:
            geometry.set_grad_checkpointing(True)
        dim = settings.target_dim or width
        copies = 1 if settings.shared else settings.directions
        self.context = nn.ModuleList(
            self.Context(width, settings.context_blocks, settings.context_width) for _ in range(copies)
        )
        self.target = nn.Conv2d(width, dim, 1, bias=False) if settings.target_dim else nn.Identity()
        self.W = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, dim, 1, bias=False) for _ in self.offsets) for _ in range(copies)
        )

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> CPC:
        return cls(backbone, width_of(backbone), recipe.views.size, recipe.cpc)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (patches,) = views
        z: Tensor = self.backbone.forward_features(patches)  # type: ignore[operator]
        loss, candidates = self.predict(z)
        return loss, {"information_bound": math.log(candidates) - loss.detach()}

    def predict(self, z: Tensor) -> tuple[Tensor, int]:
        """The loss of a grid of z, `[B, D, rows, rows]`, and among how many candidates each prediction chooses."""
        b, _, rows, columns = z.shape
        groups = self.settings.groups(b)
        targets = self.target(z).permute(0, 2, 3, 1)  # [B, rows, columns, d]
        candidates = targets.reshape(groups, -1, targets.shape[3])
        cells = torch.arange(candidates.shape[1], device=z.device).reshape(b // groups, rows, columns)
        if self.settings.all_ranks:
            cells = cells + rank() * candidates.shape[1]
            candidates = gather(candidates[0])[None]

        turned = [z.rot90(turn, (2, 3)) for turn in TURNS[: self.settings.directions]]
        if self.settings.shared:
            contexts = self.context[0](torch.cat(turned)).chunk(self.settings.directions)
        else:
            contexts = tuple(g(grid) for g, grid in zip(self.context, turned, strict=True))
        losses = []
        for direction, c in enumerate(contexts):
            W: Any = self.W[0 if self.settings.shared else direction]
            truth = cells.rot90(TURNS[direction], (1, 2))
            for W_k, k in zip(W, self.offsets, strict=True):
                z_hat = W_k(c[:, :, : rows - k]) * self.settings.emb_scale
                z_hat = z_hat.permute(0, 2, 3, 1).reshape(groups, -1, z_hat.shape[1])
                positive = truth[:, k:].reshape(1, -1).expand(groups, -1)
                losses.append(cpc_info_nce(z_hat, candidates, positive))
        return torch.stack(losses).mean(), candidates.shape[1]

    def chance(self, images: int) -> float:
        """The loss of telling nothing apart, in a step with so many images on all ranks."""
        among = images if self.settings.all_ranks else images // world_size()
        return math.log(min(among, self.settings.group or among) * self.rows**2)
