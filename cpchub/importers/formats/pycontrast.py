"""Checkpoints of HobbitLong/PyContrast: one ResNet with a head beside it, or two for the views of its CMC.

InsDis, MoCo, PIRL, MoCo v2, InfoMin and CMC differ in their heads and in what the loss keeps; the settings are not
saved. The SupCon of ImageNet that HobbitLong/SupContrast points to has this layout too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats.cmc import two_networks
from cpchub.importers.ledger import PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.resnet_plan import resnet_plan

_STARTS = ("model/module.", "model/")  # DistributedDataParallel of the whole, or nothing
_ENCODERS = ("encoder.module.", "encoder.")  # DataParallel of the encoder alone, as in SupContrast
_PATHS = {"encoder1.": "paths.0.", "encoder2.": "paths.1."}
_SPACE = "cmc_ydbdr"
_HEADS = ("head.", "head1.", "head2.", "head_jig.", "head1_jig.", "head2_jig.")
_JIGSAW = {"linear": "pirl", "mlp": "infomin"}  # options/base_options.py: the methods that solve jigsaws too
_SHARED = {"linear": "InsDis and MoCo", "mlp": "MoCo v2 and SupCon"}  # what else has such a head


class PyContrast:
    name = "pycontrast"
    title = "InsDis, MoCo, PIRL, InfoMin, CMC (HobbitLong/PyContrast), and the SupCon of ImageNet"

    def detect(self, checkpoint: Checkpoint) -> float:
        return 1.0 if _single(checkpoint) is not None or _double(checkpoint) is not None else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        ledger.drop("contrast/", "the memory bank, or the queue")
        ledger.drop("model_ema/", "the averaged weights; the encoder that is trained is published")
        settings = training_settings(checkpoint)
        double = _double(checkpoint)
        if double is not None:
            return self._cmc(ledger, double, claims, settings)
        single = _single(checkpoint)
        if single is None:
            raise ledger.error("it has no model/*encoder.conv1.weight with a model/*head beside it, and no encoder1")
        start, encoder = single
        _drop_heads(ledger, start)
        facts = _trained(checkpoint, start)
        return resnet_plan(ledger, start + encoder, claims, facts, settings=settings)

    def _cmc(self, ledger: Ledger, start: str, claims: Claims, settings: dict[str, Any]) -> Conversion:
        """The images are RGB in [0, 1]; the network turns them into Y, Db and Dr itself."""
        _drop_heads(ledger, start)
        architecture, taken = two_networks(ledger, start, _PATHS, claims)
        facts = replace(Facts("cmc"), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return ledger.plan(architecture, {"space": _SPACE}, taken, facts, settings)


def _drop_heads(ledger: Ledger, start: str) -> None:
    for head in _HEADS:
        ledger.drop(f"{start}{head}", PROJECTION)


def _trained(checkpoint: Checkpoint, start: str) -> Facts:
    """The method, where heads and memory tell it; else unknown, with a note."""
    head = "mlp" if has(checkpoint, f"{start}head.2.") else "linear"
    if has(checkpoint, f"{start}head_jig."):
        return Facts(_JIGSAW[head])
    if head == "linear" and has(checkpoint, "model_ema/"):
        return Facts("moco-v1")
    if head == "linear" and has(checkpoint, "contrast/"):  # a memory bank, since nothing is averaged
        return Facts("instdisc")
    note = f"The file does not say how it was trained: its head is that of {_SHARED[head]}. --method does."
    return Facts("unknown", method_notes=(note,))


def _single(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """What stands before the module, and between it and its encoder; a CIFAR ResNet has `shortcut` in its names."""
    if any(".shortcut." in name for name in checkpoint.tensors):
        return None
    for start in _STARTS:
        for encoder in _ENCODERS:
            if has(checkpoint, f"{start}{encoder}conv1.", f"{start}head."):
                return start, encoder
    return None


def _double(checkpoint: Checkpoint) -> str | None:
    """What stands before the two networks of CMC."""
    return next((start for start in _STARTS if has(checkpoint, *(f"{start}{path}conv1." for path in _PATHS))), None)
