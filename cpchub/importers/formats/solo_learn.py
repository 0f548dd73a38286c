"""Checkpoints of vturrisi/solo-learn: Lightning files, with an `args.json` beside them.

On CIFAR its ResNets have a 3x3 stem that is padded by 2: an image of 32 pixels becomes a map of 34. No tensor tells.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import facts_of, resnet_plan

STEM_PADDING = 2  # solo/methods/base.py
NORMALISATIONS = {  # solo/data/pretrain_dataloader.py
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261)),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "imagenet100": (IMAGENET_MEAN, IMAGENET_STD),
}
_CENTRE_FROM = 128  # pixels; smaller images are evaluated whole
_HEADS = ("projector.", "predictor.", "key_projector.", "prototypes.")
_WORD = re.compile(r"[\w+-]{1,40}")
_METHODS = {"simclr": "simclr", "mocov2plus": "moco-v2", "mocov3": "moco-v3", "supcon": "sup-con"}


class SoloLearn:
    name = "solo-learn"
    title = "solo-learn (vturrisi/solo-learn), every method with a ResNet"

    def detect(self, checkpoint: Checkpoint) -> float:
        place = _place(checkpoint)
        if place is None:
            return 0.0
        root, encoder = place
        own = any(has(checkpoint, f"{root}{head}") for head in ("classifier.", "projector."))
        stem = checkpoint.tensors.get(f"{root}{encoder}conv1.weight")
        if root != "state_dict/" and stem is not None and stem.shape[-1] == 3:
            return 0.0  # much other code has these names, and pads by 1
        return 1.0 if own else 0.5 if stem is not None and encoder == "backbone." else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        place = _place(checkpoint)
        if place is None:
            raise ledger.error("it has no state_dict/backbone.conv1.weight and no state_dict/encoder.conv1.weight")
        root, encoder = place[0], f"{place[0]}{place[1]}"
        ledger.drop(f"{encoder}fc.", CLASSIFIER)
        ledger.drop(f"{root}classifier.", CLASSIFIER)
        ledger.drop(f"{root}momentum_classifier.", CLASSIFIER)
        for head in _HEADS:
            ledger.drop(f"{root}{head}", PROJECTION)
        ledger.drop(f"{root}momentum_", "the momentum encoder; the encoder that it follows is the one to publish")
        ledger.drop(f"{root}queue", "the queue of keys")
        options = _options(checkpoint)
        stem = checkpoint.tensors.get(f"{encoder}conv1.weight")
        small = stem is not None and stem.shape[-1] == 3
        name = str(options.get("method", "")).lower()
        dataset = options.get("dataset")
        # The code has mean and std of its own for some data sets, and takes the settings' for all others.
        stated = options.pop("stated", None)
        stated = None if dataset in NORMALISATIONS else stated
        facts = facts_of(
            _METHODS.get(name, name or "unknown"), dataset, NORMALISATIONS, "cifar10" if small else "", stated
        )
        if side := options.get("crop_size"):
            facts = replace(facts, input_size=(3, side, side), crop_pct=1.0 if side < _CENTRE_FROM else facts.crop_pct)
        settings = {**training_settings(checkpoint, "hyper_parameters"), **{k: v for k, v in options.items() if v}}
        return resnet_plan(ledger, encoder, claims, facts, stem_padding=STEM_PADDING, settings=settings)


def _place(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """Where the encoder lies: what stands before its name, and its name."""
    for encoder in ("backbone.", "encoder."):
        root = root_of(checkpoint, encoder)
        if root is not None:
            return root, encoder
    return None


def _options(checkpoint: Checkpoint) -> dict[str, Any]:
    """Method, data set, side of the images, and mean and std where they were set: of `args.json` in the same folder,
    else of the hyperparameters in the file."""
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
            augmentations = source.get("augmentations")
            each: list[Any] = augmentations if isinstance(augmentations, list) else [augmentations]
            each = [one for one in each if isinstance(one, dict)]
            stated = {said.mean_and_std(one) for one in each} - {None}
            if len(stated) == 1:
                found["stated"] = stated.pop()
            if sides := [side for one in each if type(side := one.get("crop_size")) is int and side > 0]:
                found["crop_size"] = max(sides)  # multi-crop has smaller ones beside the images' own
    return found
