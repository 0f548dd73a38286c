"""Checkpoints of lightly's benchmarks, examples and tutorials: Lightning files, and plain ones.

On ImageNet the backbone has torchvision's names. Elsewhere it is a network taken apart with `children()` and put into a
Sequential, so its layers are numbered. Taken from `ResNetGenerator` (3x3 stem), it loses the ReLU of the stem, which is
no child; taken from torchvision, it keeps it, as number 2. A transformer is one of timm's, whose name has to be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet import shortcut_to_downsample
from cpchub.importers.networks.resnet_plan import resnet_plan

_GENERATOR = {"0": "conv1", "1": "bn1", "2": "layer1", "3": "layer2", "4": "layer3", "5": "layer4"}
_TORCHVISION = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_FIRST_BLOCKS = ("2.0.conv1.weight", "4.0.conv1.weight")  # of a network that was taken apart
_FOLLOWED = "the momentum encoder; the encoder that it follows is published"
_LEARNER = "the student; its teacher, an average of it, is what the papers evaluate"
_MOMENTUM = ("key_backbone.", "backbone_momentum.", "teacher_backbone.")
_STUDENTS = ("student_backbone.", "anchor_backbone.")
# By name, in the order in which they are published. The `backbone` of DINO's benchmark and of MSN is the teacher.
_BACKBONES = ("backbone.", "teacher_backbone.", "student_backbone.")
_OWN = ("projection_head.", "online_classifier.", "prediction_head.", "student_head.", "projection_head_global.")


class Lightly:
    name = "lightly"
    title = "lightly (lightly-ai/lightly): ImageNet benchmark, CIFAR benchmarks, examples, tutorials"

    def detect(self, checkpoint: Checkpoint) -> float:
        place = _place(checkpoint)
        if place is None:
            return 0.0
        root, backbone = place
        encoder = f"{root}{backbone}"
        if not backbone:
            return 0.6
        own = any(has(checkpoint, each) for each in (f"{encoder}vit.", *(f"{root}{each}" for each in _OWN)))
        if own or _is_numbered(checkpoint, encoder) or backbone != "backbone.":
            return 1.0
        return 0.5 if f"{encoder}conv1.weight" in checkpoint.tensors else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        place = _place(checkpoint)
        if place is None:
            raise ledger.error("it has neither *backbone.conv1.weight nor a network taken apart, *0.weight and so on")
        root, backbone = place
        encoder = f"{root}{backbone}"
        if backbone:
            self._drop_others(ledger, root, backbone)
        settings = training_settings(checkpoint, "hyper_parameters")
        # The benchmarks normalise by ImageNet's mean and std, on CIFAR-10 too.
        facts = Facts("unknown")
        if not _is_numbered(checkpoint, encoder):
            return self._named(ledger, root, encoder, claims, facts, settings)
        generator = f"{encoder}{_FIRST_BLOCKS[0]}" in checkpoint.tensors
        names = _GENERATOR if generator else _TORCHVISION
        plan = resnet_plan(
            ledger,
            encoder,
            claims,
            facts,
            rename=lambda name: shortcut_to_downsample(_renumbered(ledger, encoder, name, names)),
            stem_padding=1 if generator else None,
            settings=settings,
            extra_args={"stem_act": False} if generator else {},
        )
        return replace(plan, weights=_without_splits(plan.weights))

    def _drop_others(self, ledger: Ledger, root: str, backbone: str) -> None:
        for own in _OWN:
            ledger.drop(f"{root}{own}", CLASSIFIER if "classifier" in own else PROJECTION)
        for others, reason in ((_STUDENTS, _LEARNER), (_MOMENTUM, _FOLLOWED)):
            for other in others:
                if other != backbone:
                    ledger.drop(f"{root}{other}", reason)
        for head in ("key_projection_head.", "projection_head_", "teacher_", "student_", "anchor_"):
            for name in ledger.names(f"{root}{head}"):
                if not f"{head}{name}".startswith(backbone):
                    ledger.drop(f"{root}{head}{name}", PROJECTION)
        ledger.drop(f"{root}criterion.", "the memory bank of the loss")

    def _named(
        self, ledger: Ledger, root: str, encoder: str, claims: Claims, facts: Facts, settings: Mapping[str, Any]
    ) -> Conversion:
        """Of a network that keeps its names: torchvision's ResNet, or timm's transformer."""
        if has(ledger.checkpoint, f"{root}projection_head.blocks."):
            raise ledger.error("AIM's transformer attends causally, for which there is no network here")
        for head in ("fc.", "vit.head."):
            ledger.drop(f"{encoder}{head}", CLASSIFIER)
        if not has(ledger.checkpoint, f"{encoder}vit."):
            return resnet_plan(ledger, encoder, claims, facts, settings=settings)
        if has(ledger.checkpoint, f"{encoder}vit.conv_proj."):
            raise ledger.error("its backbone is torchvision's vision transformer, for which there is no network here")
        ledger.drop(f"{encoder}mask_token", "the token that stands for what is masked in training")
        return resnet_plan(ledger, f"{encoder}vit.", claims, facts, settings=settings)


def _place(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """Where the encoder lies: what stands before its name, and its name; none for a network that is the whole file."""
    for backbone in _BACKBONES:
        root = root_of(checkpoint, backbone)
        if root is not None:
            return root, backbone
    for block in _FIRST_BLOCKS:
        root = root_of(checkpoint, block)
        if root is not None and _is_numbered(checkpoint, root):
            return root, ""
    return None


def _is_numbered(checkpoint: Checkpoint, encoder: str) -> bool:
    stem = checkpoint.tensors.get(f"{encoder}0.weight")
    blocks = any(f"{encoder}{block}" in checkpoint.tensors for block in _FIRST_BLOCKS)
    return blocks and stem is not None and stem.ndim == 4


def _renumbered(ledger: Ledger, encoder: str, name: str, names: Mapping[str, str]) -> str:
    number, _, rest = name.partition(".")
    if number not in names:
        raise ledger.error(f"{encoder}{name} is no layer of a ResNet; its layers are {', '.join(names)}")
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
