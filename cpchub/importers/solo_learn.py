"""Checkpoints of vturrisi/solo-learn: Lightning files, with an `args.json` beside them.

On CIFAR its ResNets have a 3x3 stem that is padded by 2: a picture of 32 pixels becomes a map of 34. No tensor tells.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cpchub.importers.format import IMAGENET_MEAN, IMAGENET_STD, Checkpoint, Claims, Plan
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, has, training_settings
from cpchub.importers.plans import facts_of, resnet_plan

STEM_PADDING = 2  # solo/methods/base.py
NORMALISATIONS = {  # solo/data/pretrain_dataloader.py
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "imagenet100": (IMAGENET_MEAN, IMAGENET_STD),
}
_HEADS = ("projector.", "predictor.", "key_projector.", "prototypes.")
_WORD = re.compile(r"[\w+-]{1,40}")
_METHODS = {"simclr": "simclr", "mocov2plus": "moco-v2", "mocov3": "moco-v3", "supcon": "sup-con"}


class SoloLearn:
    name = "solo-learn"
    title = "solo-learn (vturrisi/solo-learn), every method with a ResNet"

    def detect(self, checkpoint: Checkpoint) -> float:
        if _encoder(checkpoint) is None:
            return 0.0
        own = has(checkpoint, "state_dict/classifier.") or has(checkpoint, "state_dict/projector.")
        return 1.0 if own else 0.5 if "state_dict/backbone.conv1.weight" in checkpoint.tensors else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        encoder = _encoder(checkpoint)
        if encoder is None:
            raise ledger.error("it has no state_dict/backbone.conv1.weight and no state_dict/encoder.conv1.weight")
        ledger.drop(f"{encoder}fc.", CLASSIFIER)
        ledger.drop("state_dict/classifier.", CLASSIFIER)
        ledger.drop("state_dict/momentum_classifier.", CLASSIFIER)
        for head in _HEADS:
            ledger.drop(f"state_dict/{head}", PROJECTION)
        ledger.drop("state_dict/momentum_", "the momentum encoder; the encoder that it follows is the one to publish")
        ledger.drop("state_dict/queue", "the queue of keys")
        options = _options(checkpoint)
        small = checkpoint.tensors[f"{encoder}conv1.weight"].shape[-1] == 3
        name = str(options.get("method", "")).lower()
        facts = facts_of(
            _METHODS.get(name, name or "unknown"), options.get("dataset"), NORMALISATIONS, "cifar10" if small else ""
        )
        settings = {**training_settings(checkpoint, "hyper_parameters"), **{k: v for k, v in options.items() if v}}
        return resnet_plan(ledger, encoder, claims, facts, stem_padding=STEM_PADDING, settings=settings)


def _encoder(checkpoint: Checkpoint) -> str | None:
    for prefix in ("state_dict/backbone.", "state_dict/encoder."):
        if f"{prefix}conv1.weight" in checkpoint.tensors:
            return prefix
    return None


def _options(checkpoint: Checkpoint) -> dict[str, Any]:
    """Method and data set: of `args.json` in the same folder, else of the hyperparameters in the file."""
    sources: list[Any] = [checkpoint.meta.get("hyper_parameters")]
    beside = checkpoint.path.with_name("args.json")
    if beside.is_file():
        try:
            sources.append(json.loads(beside.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # somebody else's file
            sources.append(None)
    found: dict[str, Any] = {}
    for source in sources:
        if isinstance(source, dict):
            data = source.get("data")
            nested = data if isinstance(data, dict) else {}
            values = {"method": source.get("method"), "dataset": nested.get("dataset") or source.get("dataset")}
            found.update({name: value for name, value in values.items() if _WORD.fullmatch(str(value or ""))})
    return found
