"""Checkpoints of OpenMMLab's mmselfsup and mmpretrain, and of OpenSelfSup before them."""

from __future__ import annotations

import re
from dataclasses import replace

from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, has, training_settings
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import resnet_plan

_STEM = "backbone.conv1.weight"


class OpenMMLab:
    name = "mmselfsup"
    title = "mmselfsup, mmpretrain and OpenSelfSup (open-mmlab), a ResNet backbone"

    def detect(self, checkpoint: Checkpoint) -> float:
        root = root_of(checkpoint, _STEM)
        if root is None:
            return 0.0
        return 0.5 if "meta" not in checkpoint.meta else 0.4 if "pytorch-lightning_version" in checkpoint.meta else 1.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        root = root_of(checkpoint, _STEM)
        if root is None:
            raise ledger.error(f"it has no state_dict/{_STEM}")
        # A caffe ResNet strides in the 1x1 convolution, which no tensor tells.
        config = _config(checkpoint)
        if re.search(r"style\W+caffe", config):
            raise ledger.error("its config says style='caffe': such a ResNet strides elsewhere than torchvision's")
        if re.search(r"to_rgb\W+False", config):
            raise ledger.error("its config says to_rgb=False: its images are BGR, for which there is no network here")
        if has(checkpoint, f"{root}sobel_layer.") or re.search(r"with_sobel\W+True", config):
            raise ledger.error("its images go through a Sobel filter first, for which there is no network here")
        ledger.drop(f"{root}backbone.fc.", CLASSIFIER)
        ledger.drop(f"{root}head.", CLASSIFIER)
        ledger.drop(f"{root}neck.", PROJECTION)
        ledger.drop(f"{root}encoder_q.", "the encoder and its neck once more")
        for momentum in ("encoder_k.", "momentum_encoder.", "target_net.", "target_neck."):
            ledger.drop(f"{root}{momentum}", "the momentum encoder; the encoder that it follows is published")
        ledger.drop(f"{root}queue", "the queue of keys")
        ledger.drop(f"{root}memory_bank.", "the memory bank")
        ledger.drop(f"{root}data_preprocessor.", "mean and std of the images")
        settings = training_settings(checkpoint, "meta")
        return resnet_plan(ledger, f"{root}backbone.", claims, _facts(config), settings=settings)


def _config(checkpoint: Checkpoint) -> str:
    """The text of the config, which mmcv saves as `config` and mmengine as `cfg`."""
    meta = checkpoint.meta.get("meta")
    texts = [meta.get(name) for name in ("config", "cfg")] if isinstance(meta, dict) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _facts(config: str) -> Facts:
    """Mean and std of the config, which are ImageNet's where it says none."""
    facts = Facts("unknown")
    values = {word: set(re.findall(rf"\b{word}\s*=\s*[\[(]([^\])]*)[\])]", config)) for word in ("mean", "std")}
    stated = {said.mean_and_std({"mean": mean, "std": std}) for mean in values["mean"] for std in values["std"]}
    if len(stated) != 1:
        more = "Its config has several means and stds; those of ImageNet-1k are assumed."
        return said.noted(facts, more) if stated else facts
    found = stated.pop()
    if found is None:
        return said.noted(facts, "Its config has a mean that is not understood; that of ImageNet-1k is assumed.")
    return replace(facts, mean=found[0], std=found[1])
