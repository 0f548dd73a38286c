"""Checkpoints of HobbitLong/SupContrast: a CIFAR ResNet whose shortcuts are called so, and a projection head."""

from __future__ import annotations

from cpchub.importers.format import Checkpoint, Claims, Plan
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, training_settings
from cpchub.importers.plans import facts_of, resnet_plan
from cpchub.importers.resnet import shortcut_to_downsample

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

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        prefix = _prefix(checkpoint)
        if prefix is None:
            raise ledger.error("it has no model/encoder.conv1.weight")
        ledger.drop("model/head.", PROJECTION)
        ledger.drop("model/fc.", CLASSIFIER)
        opt = checkpoint.meta.get("opt")
        options = opt if isinstance(opt, dict) else {}
        # Without a projection head it is the cross-entropy baseline.
        trained = METHODS.get(str(options.get("method")), "sup-con")
        method = "supervised" if "model/fc.weight" in checkpoint.tensors else trained
        facts = facts_of(method, options.get("dataset"), NORMALISATIONS, default="cifar10")
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
