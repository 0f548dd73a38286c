"""The settings that belong to one method or to a few: MoCo, the memory banks, CMC and semi-supervised learning.

Those of CPC are in `cpchub_training.recipes.cpc_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cpchub.errors import RecipeError


def refuse(group: str, problems: Mapping[str, bool], settings: object) -> None:
    """Raise `RecipeError` for the first setting of `group` that is not fine."""
    for name, fine in problems.items():
        if not fine:
            flag = f"--{group}.{name.replace('_', '-')}"
            raise RecipeError(f"{group}.{name}={getattr(settings, name)!r} cannot work; change {flag}")


@dataclass(frozen=True)
class MoCoSettings:
    """MoCo (arXiv 1911.05722, 2003.04297): its queue and its key encoder."""

    queue_size: int = 4096  # K, the number of past keys that are negatives
    key_momentum: float = 0.99  # m, of the key encoder
    symmetric: bool = False  # each view is the query once and the key once
    bn_splits: int = 8  # parts of a batch with batch statistics of their own, on one device

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work."""
        problems = {
            "queue_size": self.queue_size >= 1,
            "key_momentum": 0 <= self.key_momentum <= 1,
            "bn_splits": self.bn_splits >= 1,
        }
        refuse("moco", problems, self)


@dataclass(frozen=True)
class BankSettings:
    """The memory bank of InstDisc (arXiv 1805.01978) and CMC: one feature of each image, from its last visit."""

    negatives: int = 0  # m of noise-contrastive estimation; 0 is the softmax over the whole bank
    momentum: float = 0.5  # of a remembered feature when it is replaced
    start: Literal["random", "visited"] = "random"  # visited: only images seen so far are negatives
    proximal: float = 0.0  # InstDisc: lambda of the proximal term

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work."""
        problems = {
            "negatives": self.negatives >= 0,
            "momentum": 0 <= self.momentum < 1,
            "start": self.start in ("random", "visited"),
            "proximal": self.proximal >= 0,
        }
        refuse("bank", problems, self)


@dataclass(frozen=True)
class CMCSettings:
    """CMC (arXiv 1906.05849)."""

    negatives: Literal["bank", "batch"] = "bank"  # where the negatives come from
    graph: Literal["core", "full"] = "full"  # with three views or more: which pairs are contrasted

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work."""
        problems = {"negatives": self.negatives in ("bank", "batch"), "graph": self.graph in ("core", "full")}
        refuse("cmc", problems, self)


@dataclass(frozen=True)
class SemiSupervisedSettings:
    """Pseudo-labels, entropy minimisation, VAT (arXiv 1704.03976) and UDA (arXiv 1904.12848)."""

    label_fraction: float = 1.0  # of the labels of each class, drawn by the seed; the others are not looked at
    labelled_share: float = 0.25  # of a batch that has labels
    unlabelled_weight: float = 1.0  # of the loss of images without labels
    certainty: float = 0.95  # pseudo_label and uda: how probable a guess must be to count
    adversarial_length: float = 6.0  # vat: of the perturbation
    entropy_weight: float = 0.0  # vat: of entropy minimisation beside it

    def check(self) -> None:
        """Raise `RecipeError` for values that cannot work."""
        problems = {
            "label_fraction": 0 < self.label_fraction <= 1,
            "labelled_share": 0 < self.labelled_share < 1,
            "unlabelled_weight": self.unlabelled_weight >= 0,
            "certainty": 0 <= self.certainty <= 1,
            "adversarial_length": self.adversarial_length > 0,
        }
        refuse("semi", problems, self)
