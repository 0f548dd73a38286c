"""Checkpoints of lightly's benchmarks and tutorials: Lightning files.

On ImageNet the backbone has torchvision's names. Elsewhere it is a network taken apart with `children()` and put into a
Sequential, so its layers are numbered. Taken from `ResNetGenerator` (3x3 stem), it loses the ReLU of the stem, which is
no child; taken from torchvision, it keeps it, as number 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from cpchub.importers.format import Checkpoint, Claims, Facts, Plan
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, has, training_settings
from cpchub.importers.plans import resnet_plan
from cpchub.importers.resnet import shortcut_to_downsample

_GENERATOR = {"0": "conv1", "1": "bn1", "2": "layer1", "3": "layer2", "4": "layer3", "5": "layer4"}
_TORCHVISION = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_BACKBONE = "state_dict/backbone."
_OWN = ("state_dict/projection_head.", "state_dict/online_classifier.", "state_dict/prediction_head.")


class Lightly:
    name = "lightly"
    title = "lightly (lightly-ai/lightly): ImageNet benchmark, CIFAR benchmarks, tutorials"

    def detect(self, checkpoint: Checkpoint) -> float:
        numbered = f"{_BACKBONE}0.weight" in checkpoint.tensors
        named = f"{_BACKBONE}conv1.weight" in checkpoint.tensors
        if numbered or (named and any(has(checkpoint, own) for own in _OWN)):
            return 1.0
        return 0.5 if named else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        for own in _OWN:
            ledger.drop(own, CLASSIFIER if "classifier" in own else PROJECTION)
        for momentum in ("key_backbone.", "backbone_momentum.", "teacher_backbone."):
            ledger.drop(f"state_dict/{momentum}", "the momentum encoder; the encoder that it follows is published")
        for head in ("key_projection_head.", "projection_head_momentum.", "teacher_projection_head."):
            ledger.drop(f"state_dict/{head}", PROJECTION)
        ledger.drop("state_dict/criterion.", "the memory bank of the loss")
        settings = training_settings(checkpoint, "hyper_parameters")
        # The benchmarks normalise by ImageNet's mean and std, on CIFAR-10 too.
        facts = Facts("unknown")
        if f"{_BACKBONE}conv1.weight" in checkpoint.tensors:
            ledger.drop(f"{_BACKBONE}fc.", CLASSIFIER)
            return resnet_plan(ledger, _BACKBONE, claims, facts, settings=settings)
        if f"{_BACKBONE}0.weight" not in checkpoint.tensors:
            raise ledger.error(f"it has neither {_BACKBONE}conv1.weight nor {_BACKBONE}0.weight")
        generator = f"{_BACKBONE}2.0.conv1.weight" in checkpoint.tensors
        names = _GENERATOR if generator else _TORCHVISION
        plan = resnet_plan(
            ledger,
            _BACKBONE,
            claims,
            facts,
            rename=lambda name: shortcut_to_downsample(_named(ledger, name, names)),
            stem_padding=1 if generator else None,
            settings=settings,
            extra_args={"stem_act": False} if generator else {},
        )
        return replace(plan, weights=_without_splits(plan.weights))


def _named(ledger: Ledger, name: str, names: Mapping[str, str]) -> str:
    number, _, rest = name.partition(".")
    if number not in names:
        raise ledger.error(f"{_BACKBONE}{name} is no layer of a ResNet; its layers are {', '.join(names)}")
    return f"{names[number]}.{rest}"


def _without_splits(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """SplitBatchNorm has statistics for every split, and evaluates with their mean (lightly/models/batchnorm.py)."""
    merged = dict(weights)
    for name, value in weights.items():
        match = re.fullmatch(r"(.*)\.running_(?:mean|var)", name)
        scale = weights.get(f"{match[1]}.weight") if match else None
        if scale is not None and len(scale) and len(value) > len(scale) and len(value) % len(scale) == 0:
            merged[name] = value.view(-1, len(scale)).mean(0)
    return merged
