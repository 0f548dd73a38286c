"""Checkpoints of OpenMMLab's mmselfsup and mmpretrain, and of OpenSelfSup before them."""

from __future__ import annotations

import re

from cpchub.importers.format import Checkpoint, Claims, Facts, Plan
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, training_settings
from cpchub.importers.plans import resnet_plan

_BACKBONE = "state_dict/backbone."


class OpenMMLab:
    name = "mmselfsup"
    title = "mmselfsup, mmpretrain and OpenSelfSup (open-mmlab), a ResNet backbone"

    def detect(self, checkpoint: Checkpoint) -> float:
        if f"{_BACKBONE}conv1.weight" not in checkpoint.tensors:
            return 0.0
        return 0.5 if "meta" not in checkpoint.meta else 0.4 if "pytorch-lightning_version" in checkpoint.meta else 1.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        if f"{_BACKBONE}conv1.weight" not in checkpoint.tensors:
            raise ledger.error(f"it has no {_BACKBONE}conv1.weight")
        # A caffe ResNet strides in the 1x1 convolution, which no tensor tells.
        if re.search(r"style\W+caffe", str(checkpoint.meta.get("meta"))):
            raise ledger.error("its config says style='caffe': such a ResNet strides elsewhere than torchvision's")
        ledger.drop(f"{_BACKBONE}fc.", CLASSIFIER)
        ledger.drop("state_dict/head.", CLASSIFIER)
        ledger.drop("state_dict/neck.", PROJECTION)
        ledger.drop("state_dict/encoder_q.", "the encoder and its neck once more")
        for momentum in ("encoder_k.", "momentum_encoder.", "target_net.", "target_neck."):
            ledger.drop(f"state_dict/{momentum}", "the momentum encoder; the encoder that it follows is published")
        ledger.drop("state_dict/queue", "the queue of keys")
        ledger.drop("state_dict/memory_bank.", "the memory bank")
        ledger.drop("state_dict/data_preprocessor.", "mean and std of the pictures")
        facts = Facts("unknown")
        return resnet_plan(ledger, _BACKBONE, claims, facts, settings=training_settings(checkpoint, "meta"))
