"""Checkpoints of HobbitLong/CMC: two networks for L and ab, or Y and CbCr; or the one of its InsDis and MoCo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.errors import ImportFormatError
from cpchub.importers.format import Checkpoint, Claims, Conversion, Facts
from cpchub.importers.formats import said
from cpchub.importers.ledger import PROJECTION, Ledger, Taken, has, training_settings
from cpchub.importers.networks import resnet
from cpchub.importers.networks.resnet_plan import facts_of, recognised, resnet_plan

VERSIONS = {32: "v1", 64: "v2", 128: "v3"}  # channels of the first stage of each network
_PATHS = {"l_to_ab.": "paths.0.", "ab_to_l.": "paths.1."}  # the order in which the official code joins their features
NORMALISATIONS = dict.fromkeys(("imagenet", "imagenet100"), (IMAGENET_MEAN, IMAGENET_STD))
_SPACES = {"Lab": "lab", "YCbCr": "cmc_ycbcr"}  # what `--view` of train_CMC.py may be, by our name
_AVERAGED = "the encoder of the averaged weights; the one that is trained is published"


class Cmc:
    name = "cmc"
    title = "CMC (HobbitLong/CMC): ResNet or AlexNet on L and ab or Y and CbCr, and its InsDis and MoCo"

    def detect(self, checkpoint: Checkpoint) -> float:
        if _prefix(checkpoint, "l_to_ab.") is not None:
            return 1.0
        return 0.9 if _prefix(checkpoint, "conv1.weight") is not None and has(checkpoint, "contrast/") else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        ledger.drop("contrast/", "the memory bank, or the queue")
        ledger.drop("model_ema/", _AVERAGED)
        settings = training_settings(checkpoint, "opt")
        options = said.settings(checkpoint)
        prefix = _prefix(checkpoint, "l_to_ab.")
        if prefix is not None:
            return self._two_paths(ledger, prefix, claims, options, settings)
        prefix = _prefix(checkpoint, "conv1.weight")
        if prefix is None:
            raise ledger.error("it has neither *l_to_ab.* nor *conv1.weight under model")
        for head in ("fc.", "l2norm."):
            ledger.drop(f"{prefix}{head}", PROJECTION)
        momentum = has(checkpoint, "model_ema/") or options.get("moco") is True
        facts = facts_of("moco-v1" if momentum else "instdisc", options.get("dataset"), NORMALISATIONS)
        return resnet_plan(ledger, prefix, claims, facts, settings=settings)

    def _two_paths(
        self, ledger: Ledger, prefix: str, claims: Claims, options: Mapping[str, Any], settings: dict[str, Any]
    ) -> Conversion:
        for path in _PATHS:
            for head in ("fc.", "fc8."):
                ledger.drop(f"{prefix}{path}{head}", PROJECTION)
        view = options.get("view", "Lab")  # of before there were others
        if view not in _SPACES:
            raise ledger.error(f"the file says view: {view!r}; the colour spaces of CMC are {' and '.join(_SPACES)}")
        # The images are RGB in [0, 1]; the network turns them into the colour space itself.
        args = {} if view == "Lab" else {"space": _SPACES[view]}
        facts = replace(
            facts_of("cmc", options.get("dataset"), NORMALISATIONS), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        )
        if has(ledger.checkpoint, f"{prefix}l_to_ab.conv_block_1."):
            self._check_said(ledger, options, "alexnet")
            return self._alexnet(ledger, prefix, facts, args, settings)
        architecture, taken = two_networks(ledger, prefix, _PATHS, claims)
        self._check_said(ledger, options, architecture.removeprefix("cmc_").replace("_", ""))
        return ledger.plan(architecture, args, taken, facts, settings)

    def _check_said(self, ledger: Ledger, options: Mapping[str, Any], found: str) -> None:
        """Raise where the file calls its network otherwise than the tensors do."""
        name = options.get("model")
        if isinstance(name, str) and name != found:
            raise ledger.error(f"the file says model: {name!r}, and its tensors are those of {found}")

    def _alexnet(
        self, ledger: Ledger, prefix: str, facts: Facts, args: dict[str, Any], settings: dict[str, Any]
    ) -> Conversion:
        """The map behind the fifth block is what the paper evaluates; behind fc6 and fc7 it is no map any more."""
        for path in _PATHS:
            for layer in ("fc6.", "fc7."):
                ledger.drop(f"{prefix}{path}{layer}", "behind the fifth block, whose map is what the paper evaluates")
        return ledger.plan(
            "cmc_alexnet", args, ledger.take(prefix, lambda name: _renamed(name, _PATHS)), facts, settings
        )


def two_networks(ledger: Ledger, prefix: str, paths: Mapping[str, str], claims: Claims) -> tuple[str, Taken]:
    """The network of ours whose halves are under a prefix, one for lightness and one for colour, and their tensors.

    paths: what each half is called in the file, lightness first, and in our network.
    Raises ImportFormatError where the halves are no ResNets of one kind, or of other widths than those of CMC.
    """
    taken = ledger.take(prefix, lambda name: _renamed(name, paths))
    lightness, colour = (_half(ledger, taken, path, claims) for path in paths.values())
    if (lightness.architecture, lightness.model_args) != (colour.architecture, colour.model_args):
        raise ledger.error(f"its halves differ: {lightness.architecture} for L, {colour.architecture} for ab")
    if (lightness.in_chans, colour.in_chans) != (1, 2):
        raise ledger.error(f"its halves read {lightness.in_chans} and {colour.in_chans} channels, not L and ab")
    rest = dict(lightness.model_args)
    base = rest.pop("channels", [64])[0]
    depth = lightness.architecture.removeprefix("resnet")
    if base not in VERSIONS or depth not in ("18", "50", "101") or rest:
        raise ledger.error(
            f"its halves are {lightness.architecture} of {base} channels; CMC has resnet18, 50, 101 of 32, 64 and 128"
        )
    return f"cmc_resnet{depth}_{VERSIONS[base]}", taken


def _half(ledger: Ledger, taken: Taken, path: str, claims: Claims) -> resnet.Recognised:
    try:
        return recognised(ledger, taken.under(path), claims, None)
    except ImportFormatError as error:
        raise type(error)(f"{error} (in {path}*)") from error


def _renamed(name: str, paths: Mapping[str, str]) -> str:
    for theirs, ours in paths.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _prefix(checkpoint: Checkpoint, first: str) -> str | None:
    for prefix in ("model/encoder.module.", "model/module.encoder.", "model/encoder.", "model/module.", "model/"):
        if has(checkpoint, f"{prefix}{first}"):
            return prefix
    return None
