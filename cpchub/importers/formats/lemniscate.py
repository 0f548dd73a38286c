"""Checkpoints of zhirongw/lemniscate.pytorch (InstDisc), and of code that was made from it (InvaSpread).

For ImageNet, torchvision's network under `state_dict`; for CIFAR-10, kuangliu's names under `net`. The memory bank is
a pickled module under `lemniscate`. The repository has no licence.
"""

from __future__ import annotations

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.ledger import PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.resnet import shortcut_to_downsample
from cpchub.importers.networks.resnet_plan import resnet_plan

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # lemniscate.pytorch, cifar.py


class Lemniscate:
    name = "lemniscate"
    title = "InstDisc (zhirongw/lemniscate.pytorch), ImageNet and CIFAR-10"

    def detect(self, checkpoint: Checkpoint) -> float:
        prefix = _prefix(checkpoint)
        if prefix is None:
            return 0.0
        if has(checkpoint, "lemniscate/"):
            return 1.0
        return 0.8 if prefix.startswith("net/") else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        prefix = _prefix(checkpoint)
        if prefix is None:
            raise ledger.error("it has no conv1.weight under state_dict, nor under net")
        for head in ("fc.", "linear."):
            ledger.drop(f"{prefix}{head}", PROJECTION)
        ledger.drop("lemniscate/", "the memory bank")
        method = "instdisc" if "lemniscate" in checkpoint.meta else "unknown"
        facts = Facts(method=method, limits=("The repository that trains it states no licence.",))
        if prefix.startswith("net/"):
            facts = Facts(method=method, mean=CIFAR_MEAN, std=CIFAR_STD, limits=facts.limits)
        return resnet_plan(
            ledger,
            prefix,
            claims,
            facts,
            rename=shortcut_to_downsample,
            stem_padding=1,
            settings=training_settings(checkpoint),
        )


def _prefix(checkpoint: Checkpoint) -> str | None:
    for prefix in ("state_dict/module.", "state_dict/", "net/module.", "net/"):
        if f"{prefix}conv1.weight" in checkpoint.tensors:
            return prefix
    return None
