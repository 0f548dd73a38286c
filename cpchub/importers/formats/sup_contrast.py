"""Checkpoints of HobbitLong/SupContrast: a CIFAR ResNet whose shortcuts are called so, and a projection head."""

from __future__ import annotations

from dataclasses import replace

from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, training_settings
from cpchub.importers.networks.resnet import shortcut_to_downsample
from cpchub.importers.networks.resnet_plan import facts_of, resnet_plan

NORMALISATIONS = {  # SupContrast, main_supcon.py
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
METHODS = {"SupCon": "sup-con", "SimCLR": "simclr"}


class SupContrast:
    name = "sup-contrast"
    title = "SupCon and SimCLR (HobbitLong/SupContrast) on CIFAR"

    def detect(self, checkpoint: Checkpoint) -> float:
        prefix = _prefix(checkpoint)
        named = any(".shortcut." in name for name in checkpoint.tensors if name.startswith(prefix or "/"))
        return 1.0 if prefix is not None and named else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        prefix = _prefix(checkpoint)
        if prefix is None:
            raise ledger.error("it has no model/encoder.conv1.weight")
        ledger.drop("model/head.", PROJECTION)
        ledger.drop("model/fc.", CLASSIFIER)
        options = said.settings(checkpoint)
        # Without a projection head it is the cross-entropy baseline.
        trained = METHODS.get(str(options.get("method")), "sup-con")
        method = "supervised" if "model/fc.weight" in checkpoint.tensors else trained
        dataset = options.get("dataset")
        # The code has mean and std of its own for CIFAR, and takes those it is told for a folder of images.
        stated = said.mean_and_std(options) if dataset == "path" else None
        facts = facts_of(method, dataset, NORMALISATIONS, default="cifar10", stated=stated)
        if type(side := options.get("size")) is int and side > 0:
            facts = replace(facts, input_size=(3, side, side), crop_pct=1.0)
        return resnet_plan(
            ledger,
            prefix,
            claims,
            facts,
            rename=shortcut_to_downsample,
            stem_padding=1,
            settings=training_settings(checkpoint, "opt"),
        )


def _prefix(checkpoint: Checkpoint) -> str | None:
    for prefix in ("model/encoder.module.", "model/encoder.", "model/module.encoder."):
        if f"{prefix}conv1.weight" in checkpoint.tensors:
            return prefix
    return None
