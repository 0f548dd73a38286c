"""Files that hold a network of torchvision's or timm's under its own names, and nothing else that tells them apart."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import timm

from cpchub.importers.format import NOTHING_CLAIMED, Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, Ledger, training_settings
from cpchub.importers.networks import named
from cpchub.importers.networks.places import root_of, root_of_network
from cpchub.importers.networks.resnet_plan import resnet_plan

_WHOLE = re.compile(r"(?:[^/]*/)?(?:module\.|model\.)*")  # what may stand before a network that is not another's part
_POOLS = ("avg", "max", "avgmax", "catavgmax", "token", "map")
_AVERAGED = "the averaged weights, kept beside those that were trained"


class Torchvision:
    name = "torchvision"
    title = "a ResNet in torchvision's names: a bare state_dict, or under state_dict or model"

    def detect(self, checkpoint: Checkpoint) -> float:
        prefix = _resnet(checkpoint)
        return 0.3 if prefix is not None and _WHOLE.fullmatch(prefix) else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        prefix = _resnet(checkpoint)
        if prefix is None:
            raise ledger.error("it has no conv1.weight, bare or under state_dict or model")
        ledger.drop(f"{prefix}fc.", CLASSIFIER)
        facts = said.images(Facts("unknown"), said.settings(checkpoint))
        return resnet_plan(ledger, prefix, claims, facts, settings=training_settings(checkpoint))


class Timm:
    name = "timm"
    title = "any network of timm's, in its names; --architecture says which, unless the file does"

    def detect(self, checkpoint: Checkpoint) -> float:
        if timm.is_model(_architecture(checkpoint, NOTHING_CLAIMED)) and _resnet(checkpoint) is None:
            return 0.4
        return 0.2 if root_of(checkpoint, "patch_embed.proj.weight") is not None else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        architecture = _architecture(checkpoint, claims)
        if not timm.is_model(architecture):
            near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
            known = f"timm has no {architecture!r}; near it: {', '.join(near)}" if architecture else "it does not say"
            raise ledger.error(f"which network is it? {known}. Give timm's name of it with --architecture")
        wanted = named.like(architecture, {})[0].state_dict()
        prefix = root_of_network(checkpoint, wanted)
        if prefix is None:
            raise ledger.error(
                f"it has no tensor of {architecture}, for example {next(iter(wanted))}, or several networks of them"
            )
        for head in named.heads(architecture):
            ledger.drop(f"{prefix}{head}", CLASSIFIER)
        ledger.drop("state_dict_ema/", _AVERAGED)
        taken = ledger.take(prefix)
        network, args, in_chans = named.like(architecture, taken.shapes)
        cfg: Mapping[str, Any] = network.pretrained_cfg
        side = args.get("img_size", cfg["input_size"][1])
        facts = Facts(
            "unknown",
            input_size=(in_chans, side, side),
            mean=tuple(cfg["mean"]),
            std=tuple(cfg["std"]),
            interpolation=cfg["interpolation"],
            crop_pct=float(cfg["crop_pct"]),
        )
        options = said.settings(checkpoint)
        facts = said.images(facts, options)
        if options.get("gp") in _POOLS:
            args["global_pool"] = options["gp"]
        return ledger.plan(architecture, args, taken, facts, training_settings(checkpoint))


def _resnet(checkpoint: Checkpoint) -> str | None:
    """What stands before the names of a ResNet that is not part of another network."""
    prefix = root_of(checkpoint, "layer1.0.conv1.weight")
    return prefix if prefix is not None and f"{prefix}conv1.weight" in checkpoint.tensors else None


def _architecture(checkpoint: Checkpoint, claims: Claims) -> str:
    """The claim; else what timm's training script writes as `arch`, or its published files as `architecture`."""
    return named.plain_name(claims.architecture or said.network(checkpoint) or "")
