"""What most formats have in common: one ResNet under a prefix, and the data set that decides how it sees a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from cpchub.errors import ImportFormatError
from cpchub.importers import resnet
from cpchub.importers.format import IMAGENET_MEAN, IMAGENET_STD, Claims, Facts, Plan
from cpchub.importers.ledger import Ledger, Taken

DATA_NAMES = {  # as arguments of training scripts have them
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "imagenet": "ImageNet-1k",
    "imagenet2012": "ImageNet-1k",
    "imagenet100": "ImageNet-100",
}
SMALL_SIDE = 32


def resnet_plan(
    ledger: Ledger,
    prefix: str,
    claims: Claims,
    facts: Facts,
    *,
    rename: Callable[[str], str] = lambda name: name,
    stem_padding: int | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    extra_args: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """The plan for a ResNet under `prefix`, after its heads were dropped.

    rename: makes torchvision's names of the format's.
    stem_padding: of the format's 3x3 stem; None where the format has none or does not fix it.
    facts: for pictures of 224 pixels; a 3x3 stem makes them of 32, whole.
    """
    taken = ledger.take(prefix, rename)
    found = recognised(ledger, taken, claims, stem_padding)
    side = SMALL_SIDE if found.stem == 3 else facts.input_size[1]
    facts = replace(facts, input_size=(found.in_chans, side, side))
    if found.stem == 3:
        facts = replace(facts, crop_pct=1.0)
    return ledger.plan(found.architecture, {**found.model_args, **extra_args}, taken, facts, settings)


def recognised(ledger: Ledger, taken: Taken, claims: Claims, stem_padding: int | None) -> resnet.Recognised:
    """The ResNet that was taken; errors name file and format, and a padding that contradicts the format is refused."""
    small = taken.shapes.get("conv1.weight", ())[2:] == (3, 3)
    if small and stem_padding is not None and claims.stem_padding not in (None, stem_padding):
        raise ledger.error(
            f"its 3x3 stem is padded by {stem_padding}, as this format always has it, not by {claims.stem_padding}"
        )
    padding = stem_padding if small and stem_padding is not None else claims.stem_padding
    try:
        return resnet.recognise(taken.shapes, padding)
    except ImportFormatError as error:
        raise ledger.error(str(error)) from error


def facts_of(
    method: str,
    dataset: Any,
    normalisations: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]],
    default: str = "",
    **changes: Any,
) -> Facts:
    """Facts for a data set by its name in a training script; `default` names the one whose mean and std are assumed."""
    name = str(dataset or "").lower().replace("-", "").replace("_", "")
    mean, std = normalisations.get(name) or normalisations.get(default) or (IMAGENET_MEAN, IMAGENET_STD)
    if name in DATA_NAMES:
        changes["data"] = DATA_NAMES[name]
    return Facts(method=method, mean=mean, std=std, **changes)
