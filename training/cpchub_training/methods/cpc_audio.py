"""CPC on sound: from all that was heard so far, predict what the encoder says up to twelve steps ahead.

Van den Oord, Li and Vinyals, Representation Learning with Contrastive Predictive Coding, arXiv 1807.03748, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from cpchub.architectures.audio import CpcAudio
from cpchub.errors import RecipeError
from cpchub_training.losses import cpc_info_nce, gather
from cpchub_training.losses.ranks import rank
from cpchub_training.methods.registry import DataFacts, Method, method
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.cpc_settings import AudioSettings


@method("cpc_audio", views=1)
class CPCAudio(Method):
    """CPC with the paper's names: x -> g_enc -> z_t -> g_ar -> c_t, f_k(x_{t+k}, c_t) = exp(z_{t+k} . W_k c_t).

    The candidates of a prediction are the z of all windows of the batch, at all times and of all ranks, or those of
    its own window alone. The loss is the mean over the k steps.
    """

    backbone: CpcAudio

    def __init__(self, backbone: nn.Module, settings: AudioSettings) -> None:
        super().__init__()
        if not isinstance(backbone, CpcAudio):
            raise RecipeError(f"cpc_audio needs backbone='cpc_audio', not a {type(backbone).__name__}")
        self.settings = settings
        self.backbone = backbone
        self.steps = backbone.steps(settings.window)
        if settings.window < backbone.receptive_field:
            raise RecipeError(
                f"a window of {settings.window} samples is shorter than the receptive field of "
                f"{backbone.receptive_field} samples; use a longer --audio.window"
            )
        if settings.steps >= self.steps:
            raise RecipeError(
                f"a window of {settings.window} samples is {self.steps} steps of {backbone.hop} samples, so at most "
                f"{self.steps - 1} steps ahead can be predicted, not {settings.steps}; use fewer --audio.steps or a "
                f"longer --audio.window"
            )
        self.W = nn.ModuleList(
            nn.Linear(backbone.num_features, backbone.channels, bias=False) for _ in range(settings.steps)
        )

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> CPCAudio:
        return cls(backbone, recipe.audio)

    def forward(
        self, views: Sequence[Tensor], indices: Tensor | None = None, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        z, c = self.backbone.encode_steps(x)  # both [B, steps, .]
        b, steps, _ = z.shape
        groups = b if self.settings.negatives == "window" else 1
        candidates = z.reshape(groups, -1, z.shape[2])
        cells = torch.arange(candidates.shape[1], device=z.device).reshape(b // groups, steps)
        if groups == 1:
            cells = cells + rank() * candidates.shape[1]
            candidates = gather(candidates[0])[None]
        losses = []
        for k, W_k in enumerate(self.W, start=1):
            z_hat = W_k(c[:, :-k]).reshape(groups, -1, z.shape[2])
            losses.append(cpc_info_nce(z_hat, candidates, cells[:, k:].reshape(1, -1).expand(groups, -1)))
        loss = torch.stack(losses).mean()
        return loss, {
            "information_bound": math.log(candidates.shape[1]) - loss.detach(),
            "last_step": losses[-1].detach(),
        }

    def chance(self, windows: int) -> float:
        """The loss of telling nothing apart, in a step with so many windows on all ranks."""
        return math.log(self.steps * (1 if self.settings.negatives == "window" else windows))
