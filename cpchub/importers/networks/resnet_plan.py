"""What most formats have in common: one ResNet under a prefix, and the data set that decides how it sees an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import timm

from cpchub.common.normalisation import IMAGENET_MEAN, IMAGENET_STD
from cpchub.errors import ImportFormatError
from cpchub.importers.format import Claims, Conversion, Facts
from cpchub.importers.formats import said
from cpchub.importers.ledger import CLASSIFIER, Ledger, Taken
from cpchub.importers.networks import named, resnet

DATA_NAMES = {  # as arguments of training scripts have them
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stl10": "STL-10",
    "imagenet": "ImageNet-1k",
    "imagenet2012": "ImageNet-1k",
    "imagenet100": "ImageNet-100",
}
SMALL_SIDE = 32
_LONGEST_NAME = 40


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
) -> Conversion:
    """The plan for the network under `prefix`, after its heads were dropped.

    It is a ResNet that its tensors tell, or the network that the user or the file calls by timm's name.

    rename: makes torchvision's names of the format's.
    stem_padding: of the format's 3x3 stem; None where the format has none or does not fix it.
    facts: for images of 224 pixels; a 3x3 stem makes them of 32, whole.
    """
    for head in named.heads(claims.architecture or said.network(ledger.checkpoint)):
        ledger.drop(f"{prefix}{head}", CLASSIFIER)
    taken = ledger.take(prefix, rename)
    found, facts = _network(ledger, taken, claims, stem_padding, facts)
    if extra_args and found.stem == 0:
        raise ledger.error(f"its network is not the {found.architecture} of timm: it computes something else")
    small = found.stem == 3 and facts.input_size == Facts.input_size  # of whose size the file says nothing
    side = SMALL_SIDE if small else found.side or facts.input_size[1]
    facts = replace(facts, input_size=(found.in_chans, side, side))
    if found.stem == 3:
        facts = replace(facts, crop_pct=1.0)
    return ledger.plan(found.architecture, {**found.model_args, **extra_args}, taken, facts, settings)


def _network(
    ledger: Ledger, taken: Taken, claims: Claims, stem_padding: int | None, facts: Facts
) -> tuple[resnet.Recognised, Facts]:
    """The network of the tensors, by what the user calls it, the file calls it, or its shapes; and the facts, with a
    note where a name of the file's is not followed."""
    name = claims.architecture or said.network(ledger.checkpoint)
    other = None
    try:
        found = recognised(ledger, taken, claims, stem_padding)
    except ImportFormatError as error:
        other = named.fitting(name, taken.shapes) if name else None
        if other is None and claims.architecture is not None:
            raise ledger.error(named.misfit(claims.architecture, taken.shapes)) from error
        if other is None:
            raise
        found = other
    if other is None and name is not None and not said.agrees(named.plain_name(name), found):
        found = named.fitting(name, taken.shapes) or found
    return found, agreed(ledger, claims, found, facts)


def agreed(ledger: Ledger, claims: Claims, found: resnet.Recognised, facts: Facts) -> Facts:
    """The facts, with a note where the file calls its network otherwise than it was found to be.

    Raises ImportFormatError where that is the name of another network, unless the user says that it is this one.
    """
    written = said.network(ledger.checkpoint)
    if written is None or said.agrees(written, found):
        return facts
    if claims.architecture is None and timm.is_model(written):
        raise ledger.error(
            f"the file says that its network is {written}, and its tensors are those of {found.architecture}; if they "
            f"are right, give --architecture {found.architecture}"
        )
    return said.noted(
        facts,
        f"The file calls its network {written}; by its tensors it is {found.architecture}, as it is imported.",
    )


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
    stated: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    **changes: Any,
) -> Facts:
    """Facts for a data set by its name in a training script; `default` names the one whose mean and std are assumed.

    stated: mean and std, where the file has them.
    """
    name = re.sub(r"\W", "", str(dataset or "").lower().replace("_", ""))[:_LONGEST_NAME]
    mean, std = normalisations.get(name) or normalisations.get(default) or (IMAGENET_MEAN, IMAGENET_STD)
    if name in DATA_NAMES:
        changes["data"] = DATA_NAMES[name]
    facts = Facts(method=method, mean=mean, std=std, **changes)
    if stated is not None:
        return replace(facts, mean=stated[0], std=stated[1])
    if name and name not in normalisations:
        whose = DATA_NAMES.get(default, "ImageNet-1k") if default in normalisations else "ImageNet-1k"
        return said.noted(
            facts,
            f"The file calls its images {name!r}; their mean and std are taken to be those of {whose}.",
        )
    return facts
