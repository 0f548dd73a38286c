"""Checkpoints of pl_bolts (lightning-bolts): CPC v2 and SimCLR; Lightning files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.importers.format import Checkpoint, Claims, Conversion
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, PROJECTION, Ledger, Taken, has, training_settings
from cpchub.importers.networks import resnet
from cpchub.importers.networks.places import root_of
from cpchub.importers.networks.resnet_plan import facts_of, recognised, resnet_plan

_STEM = "encoder.conv1.weight"
_CIFAR_MEAN, _CIFAR_STD = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
NORMALISATIONS = {  # pl_bolts/transforms/dataset_normalizations.py
    "cifar10": (_CIFAR_MEAN, _CIFAR_STD),
    "stl10": ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "imagenet2012": (IMAGENET_MEAN, IMAGENET_STD),
}
_BY_PATCH = {8: "cifar10", 16: "stl10", 32: "imagenet2012"}  # cpc_module.py
_SIDES = {8: 32, 16: 64, 32: 128}  # of the image for 7 x 7 patches; transforms/self_supervised/cpc_transforms.py
_RESIZED = {16: 70, 32: 146}  # to which the shorter side is resized, bicubic, before that is cut out; the same file
_KNOWN_LAYERS: dict[tuple[int, ...], str] = {(3, 4, 46, 3): "bolts_cpc_resnet101", (3, 4, 6, 3): "bolts_cpc_resnet50"}
_CHANNELS = (64, 128, 512, 512)
_STL_SIDE = 96
_LARGEST_PATCH = 512
_TASKS = ("contrastive_task.", "info_nce.")
_MEASURED = "non_linear_evaluator."


class BoltsSimclr:
    name = "bolts-simclr"
    title = "SimCLR of pl_bolts (lightning-bolts)"

    def detect(self, checkpoint: Checkpoint) -> float:
        root = root_of(checkpoint, _STEM)
        return 1.0 if root is not None and has(checkpoint, f"{root}projection.model.") else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        root = root_of(checkpoint, _STEM)
        if root is None:
            raise ledger.error(f"it has no state_dict/{_STEM}")
        encoder = f"{root}encoder."
        options = said.settings(checkpoint)
        small = checkpoint.tensors[f"{encoder}conv1.weight"].shape[-1] == 3
        pooled = options.get("maxpool1", not small)
        if small and pooled:
            raise ledger.error("maxpool1 is True, so it pools behind a 3x3 stem, for which there is no network here")
        ledger.drop(f"{encoder}fc.", CLASSIFIER)
        ledger.drop(f"{root}projection.", PROJECTION)
        ledger.drop(f"{root}{_MEASURED}", CLASSIFIER)
        facts = facts_of("simclr", options.get("dataset"), NORMALISATIONS, "cifar10" if small else "imagenet")
        if not small and "maxpool1" not in options:
            facts = said.noted(
                facts, "The file does not say whether its stem pools (maxpool1); it is taken to, as on ImageNet."
            )
        settings = training_settings(checkpoint, "hyper_parameters")
        plan = resnet_plan(ledger, encoder, claims, facts, stem_padding=1 if small else None, settings=settings)
        if small or pooled:
            return plan
        # On STL-10 the stem is of 7x7, but does not pool.
        facts = replace(plan.facts, input_size=(plan.facts.input_size[0], _STL_SIDE, _STL_SIDE), crop_pct=1.0)
        architecture = _with_batch_norm(ledger, resnet.Recognised(plan.architecture))
        return replace(plan, architecture=architecture, model_args={**plan.model_args, "stem_pool": False}, facts=facts)


class BoltsCpc:
    name = "bolts-cpc"
    title = "CPC v2 of pl_bolts (lightning-bolts)"

    def detect(self, checkpoint: Checkpoint) -> float:
        root = root_of(checkpoint, _STEM)
        if root is None:
            return 0.0
        norms = f"{root}encoder.ln1.weight" in checkpoint.tensors
        tasks = any(has(checkpoint, f"{root}{task}") for task in _TASKS)
        return 1.0 if norms or tasks else 0.0

    def plan(self, checkpoint: Checkpoint, claims: Claims) -> Conversion:
        ledger = Ledger(checkpoint, self.name)
        root = root_of(checkpoint, _STEM)
        if root is None:
            raise ledger.error(f"it has no state_dict/{_STEM}")
        encoder = f"{root}encoder."
        for task in _TASKS:
            ledger.drop(f"{root}{task}", "the context network and the predictors, which only the loss uses")
        ledger.drop(f"{root}{_MEASURED}", CLASSIFIER)
        ledger.drop(f"{encoder}fc.", CLASSIFIER)
        options = said.settings(checkpoint)
        taken = ledger.take(encoder, lambda name: re.sub(r"^ln1\.", "bn1.", name))
        if f"{encoder}ln1.weight" in checkpoint.tensors:
            architecture, args = _layer_norm_network(ledger, taken, (claims.patch_size, options.get("patch_size")))
        else:
            found = recognised(ledger, taken, claims, None)
            architecture = _with_batch_norm(ledger, found)
            size = claims.patch_size or options.get("patch_size")
            if type(size) is not int or not 2 <= size <= _LARGEST_PATCH:
                raise ledger.error(
                    f"its hyperparameters say {size!r} for patch_size, in pixels; give it with --patch-size"
                )
            args = {**found.model_args, "patch_size": size}
        size = args["patch_size"]
        for stated, source in ((claims.patch_size, "you said"), (options.get("patch_size"), "its hyperparameters say")):
            if stated not in (None, size):
                raise ledger.error(f"its weights are for patches of {size} pixels; {source} {stated}")
        overlap = options.get("patch_overlap")
        args["patch_stride"] = size - overlap if isinstance(overlap, int) and 0 < overlap < size else size // 2
        dataset = options.get("dataset") or _BY_PATCH.get(size)
        facts = facts_of("cpc-v2", options.get("dataset"), NORMALISATIONS, str(dataset), crop_pct=1.0)
        side = _SIDES.get(size, size + 6 * args["patch_stride"])
        facts = replace(facts, input_size=(3, side, side))
        if size in _RESIZED:
            facts = replace(facts, crop_pct=side / _RESIZED[size], interpolation="bicubic")
        return ledger.plan(architecture, args, taken, facts, training_settings(checkpoint, "hyper_parameters"))


def _with_batch_norm(ledger: Ledger, found: resnet.Recognised) -> str:
    if found.architecture not in ("resnet18", "resnet50"):
        raise ledger.error(f"its encoder is {found.architecture}; resnet18 and resnet50 are known here")
    return f"bolts_{found.architecture}"


def _layer_norm_network(ledger: Ledger, taken: Taken, said: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    """The network with position-wise norms. The first norm is of half a patch, of an odd one or of the even above."""
    shape = taken.shapes["bn1.weight"]
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ledger.error(f"*encoder.ln1.weight is {shape}, not channels x height x width")
    layers = tuple(_blocks(taken, stage) for stage in (1, 2, 3, 4))
    odd = 2 * shape[1] - 1
    args: dict[str, Any] = {"patch_size": odd if odd in said else 2 * shape[1]}
    channels = tuple(taken.shapes.get(f"layer{stage}.0.conv1.weight", (0,))[0] for stage in (1, 2, 3, 4))
    if channels != _CHANNELS:
        args["channels"] = list(channels)
    architecture = _KNOWN_LAYERS.get(layers)
    if architecture is None:
        architecture, args["layers"] = "bolts_cpc_resnet50", list(layers)
    return architecture, args


def _blocks(taken: Taken, stage: int) -> int:
    return len({match[1] for name in taken.shapes if (match := re.match(rf"layer{stage}\.(\d+)\.", name))})
