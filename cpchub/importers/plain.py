"""Files that hold a network of torchvision's or timm's under its own names, and nothing else that tells them apart."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
import torch

from cpchub.importers.format import Checkpoint, Claims, Facts, Plan
from cpchub.importers.ledger import CLASSIFIER, Ledger, has, training_settings
from cpchub.importers.plans import resnet_plan
from cpchub.network import create_timm_model

_PREFIXES = ("", "state_dict/", "model/", "net/", "module.", "state_dict/module.", "model/module.")
_AVERAGED = "the averaged weights, kept beside those that were trained"


class Torchvision:
    name = "torchvision"
    title = "a ResNet in torchvision's names: a bare state_dict, or under state_dict or model"

    def detect(self, checkpoint: Checkpoint) -> float:
        prefix = _prefix(checkpoint, "conv1.weight")
        return 0.3 if prefix is not None and has(checkpoint, f"{prefix}layer1.0.conv1.") else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        prefix = _prefix(checkpoint, "conv1.weight")
        if prefix is None:
            raise ledger.error("it has no conv1.weight, bare or under state_dict or model")
        ledger.drop(f"{prefix}fc.", CLASSIFIER)
        return resnet_plan(ledger, prefix, claims, Facts("unknown"), settings=training_settings(checkpoint))


class Timm:
    name = "timm"
    title = "any network of timm's, in its names; --architecture says which, unless the file does"

    def detect(self, checkpoint: Checkpoint) -> float:
        named = timm.is_model(_architecture(checkpoint, Claims()))
        if named and _prefix(checkpoint, "conv1.weight") is None:
            return 0.4
        return 0.2 if _prefix(checkpoint, "patch_embed.proj.weight") is not None else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Plan:
        ledger = Ledger(checkpoint, self.name)
        architecture = _architecture(checkpoint, claims)
        if not timm.is_model(architecture):
            near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
            known = f"timm has no {architecture!r}; near it: {', '.join(near)}" if architecture else "it does not say"
            raise ledger.error(f"which network is it? {known}. Give timm's name of it with --architecture")
        with torch.device("meta"):
            network = create_timm_model(architecture, False, {"num_classes": 0})
        wanted = network.state_dict()
        prefix = max(_PREFIXES, key=lambda each: sum(f"{each}{name}" in checkpoint.tensors for name in wanted))
        if not any(f"{prefix}{name}" in checkpoint.tensors for name in wanted):
            raise ledger.error(f"it has no tensor of {architecture}, for example {next(iter(wanted))}")
        cfg: Mapping[str, Any] = network.pretrained_cfg
        head = cfg.get("classifier") or ()
        for name in (head,) if isinstance(head, str) else head:
            ledger.drop(f"{prefix}{name}.", CLASSIFIER)
        ledger.drop("state_dict_ema/", _AVERAGED)
        facts = Facts(
            "unknown",
            input_size=tuple(cfg["input_size"]),
            mean=tuple(cfg["mean"]),
            std=tuple(cfg["std"]),
            interpolation=cfg["interpolation"],
            crop_pct=float(cfg["crop_pct"]),
        )
        taken = ledger.take(prefix)
        return ledger.plan(architecture, {}, taken, facts, training_settings(checkpoint))


def _prefix(checkpoint: Checkpoint, name: str) -> str | None:
    return next((prefix for prefix in _PREFIXES if f"{prefix}{name}" in checkpoint.tensors), None)


def _architecture(checkpoint: Checkpoint, claims: Claims) -> str:
    """The claim; else what timm's training script writes as `arch`, or its published files as `architecture`."""
    said = claims.architecture or checkpoint.meta.get("arch") or checkpoint.meta.get("architecture") or ""
    return said.partition(".")[0] if isinstance(said, str) else ""
