"""CMC: views of one image are its channels, lightness and colour; each has an encoder, and they are to agree.

Tian et al., "Contrastive Multiview Coding", arXiv 1906.05849.

The encoder that is kept, evaluated and exported is the concatenation: `backbone` is the network `colour_paths`, which
takes RGB, splits it into the channels of Lab or YCbCr, and sets the features of its paths side by side. It is one model
folder that loads like any other; a path alone is `backbone.paths[i]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from cpchub.architectures.colour_paths import ColourPaths
from cpchub.errors import RecipeError
from cpchub_training.losses import info_nce
from cpchub_training.methods.memory_bank import InstanceContrast, MemoryBank, settings_of
from cpchub_training.methods.registry import DataFacts, Method, method
from cpchub_training.recipes import Recipe


@method("cmc", views=1)
class CMC(Method):
    """CMC with a linear head and a memory bank for each of M >= 2 paths of `backbone`.

    View a of an image finds its row in the bank of view b and the other way round; both losses are summed, over the
    pairs of the first view with each other one (`graph="core"`, eq. 7) or over all pairs (`"full"`, eq. 8). With two
    paths these are the same. `m` negatives, shared by all pairs; 0 for the softmax over the whole bank.

    `negatives="batch"` tells a view from the other images of the batch (of all ranks), without a bank: on small data
    sets the encoder changes faster than a bank, which is renewed once an epoch, can follow.
    """

    backbone: ColourPaths

    def __init__(
        self,
        backbone: ColourPaths,
        projector_dim: int,
        n_images: int,
        *,
        temperature: float = 0.07,
        m: int = 16384,
        momentum: float = 0.5,
        graph: str = "full",
        start: str = "random",
        negatives: str = "bank",
    ) -> None:
        super().__init__()
        if graph not in ("core", "full"):
            raise ValueError(f"graph is 'core' or 'full', not {graph!r}")
        if negatives not in ("bank", "batch"):
            raise ValueError(f"negatives is 'bank' or 'batch', not {negatives!r}")
        self.backbone = backbone
        widths = [int(path.num_features) for path in backbone.paths]
        self.projectors = nn.ModuleList(nn.Linear(width, projector_dim) for width in widths)
        remembered = widths if negatives == "bank" else []
        self.banks = nn.ModuleList(MemoryBank(n_images, projector_dim, momentum, start) for _ in remembered)
        self.pairs = [(a, b) for a, b in combinations(range(len(widths)), 2) if graph == "full" or a == 0]
        # Z is of a view against a bank, so each direction of each pair has its own
        self.contrasts = nn.ModuleDict(
            {f"{a}_{b}": InstanceContrast(temperature, m) for pair in self.pairs for a, b in (pair, pair[::-1])}
        )
        self.m, self.temperature = m, temperature

    @classmethod
    def from_recipe(cls, recipe: Recipe, backbone: nn.Module, data: DataFacts) -> CMC:
        if not isinstance(backbone, ColourPaths) or {*recipe.mean} != {0.0} or {*recipe.std} != {1.0}:
            raise RecipeError(
                f"cmc splits RGB in [0, 1] into views: it needs backbone='colour_paths' (not {recipe.backbone!r}), "
                f"mean 0 0 0 and std 1 1 1 (not {recipe.mean} and {recipe.std})"
            )
        return cls(
            backbone,
            recipe.projector_dim,
            data.n_images,
            graph=recipe.cmc.graph,
            negatives=recipe.cmc.negatives,
            **settings_of(recipe),
        )

    def forward(
        self, views: Sequence[Tensor], indices: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        (x,) = views
        parts = self.backbone.split(x)
        v = [
            F.normalize(projector(path(part)).float(), dim=1)  # NxD, of each view
            for projector, path, part in zip(self.projectors, self.backbone.paths, parts, strict=True)
        ]
        loss = self._against_banks(v, indices) if self.banks else self._in_batch(v)
        similarity = (v[0].detach() * v[1].detach()).sum(1).mean()
        return loss, {"positive_similarity": similarity}

    def _against_banks(self, v: Sequence[Tensor], indices: Tensor) -> Tensor:
        """Each view of a pair against what is remembered of the other one, in both directions."""
        for bank, mine in zip(self.banks, v, strict=True):
            bank.admit(indices, mine)  # type: ignore[operator]
        rows = self.banks[0].draw(indices, self.m)  # type: ignore[operator]
        losses = [
            self.contrasts[f"{a}_{b}"](v[a], self.banks[b], rows) for pair in self.pairs for a, b in (pair, pair[::-1])
        ]
        for bank, mine in zip(self.banks, v, strict=True):
            bank.update(indices, mine)  # type: ignore[operator]
        return sum(losses[1:], losses[0])

    def _in_batch(self, v: Sequence[Tensor]) -> Tensor:
        losses = [info_nce(v[a], v[b], None, self.temperature) for p in self.pairs for a, b in (p, p[::-1])]
        return sum(losses[1:], losses[0])

    def chance(self, n: int) -> float:
        """The loss of an encoder to which all images are alike."""
        if not self.banks:
            return 2 * len(self.pairs) * math.log(n)
        images = len(self.banks[0].features)  # type: ignore[arg-type]
        return sum(contrast.chance(images) for contrast in self.contrasts.values())  # type: ignore[operator]
