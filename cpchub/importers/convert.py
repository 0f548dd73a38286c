"""Make a model folder of a checkpoint: read it, find out what it is, convert it, check that nothing was forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from cpchub.catalog.vocabulary import data_title, method_title
from cpchub.common.files import expanded
from cpchub.encoders import model_folder
from cpchub.encoders.network import Network, create_timm_model
from cpchub.errors import ImportFormatError
from cpchub.hub.integrity import sha256_of
from cpchub.importers.format import NOTHING_CLAIMED, Checkpoint, Claims, Conversion, Format
from cpchub.importers.formats.registry import format_of
from cpchub.importers.readers.checkpoint import read_checkpoint

UNKNOWN = "unknown"
_COUNTER = ".num_batches_tracked"  # of batch norms; files before PyTorch 0.4.1 lack them, and nothing depends on them


@dataclass(frozen=True)
class Imported:
    """What came of a checkpoint: the model folder, and the account of every tensor.

    used: the checkpoint's name of each tensor that was taken over, with its name in the network.
    dropped: the checkpoint's name of each other tensor, with the reason.
    notes: what the file says and the import does not follow, or what was assumed; a sentence each.
    """

    folder: Path
    format: str
    title: str
    architecture: str
    license: str
    used: Mapping[str, str]
    dropped: Mapping[str, str]
    notes: tuple[str, ...] = ()


def import_checkpoint(
    path: str | Path,
    out: str | Path,
    *,
    as_: str | None = None,
    name: str | None = None,
    license: str | None = None,
    data: str | None = None,
    method: str | None = None,
    architecture: str | None = None,
    patch_size: int | None = None,
    stem_padding: int | None = None,
) -> Imported:
    """Write the model folder of a checkpoint that other code has trained.

    path: what `read_checkpoint` reads.
    out: the folder to write; its name is the encoder's, unless `name` is given.
    as_: the format, by its name in `formats.FORMATS`; recognised where it is None.
    license, data, method: what the card says of the weights, their training images and their training.
    architecture, patch_size, stem_padding: what you know of the network. They decide what the file leaves open. The
        first is timm's name of it, for a network of any kind in any format.

    Nothing in the file is executed. Raises ImportFormatError where the file does not fit the format, the claims or a
    network, UnsafeWeightsError for a file made to run code, OutputError where the folder cannot be written.
    """
    checkpoint = read_checkpoint(path)
    claims = Claims(architecture, patch_size, stem_padding)
    layout = format_of(checkpoint, as_, claims)
    network, plan = network_of(checkpoint, layout, claims)
    found = plan.facts
    facts = replace(
        found,
        license=license or found.license,
        data=data or found.data,
        method=method or found.method,
        notes=found.notes if method else (*found.notes, *found.method_notes),
    )
    plan = replace(plan, facts=facts)
    out = expanded(out)
    described = _described(checkpoint, plan, name or out.resolve().name)
    model_folder.write(network, out, facts=described, recipe=_recipe(checkpoint, plan, layout), evaluation=None)
    return Imported(
        folder=out,
        format=layout.name,
        title=layout.title,
        architecture=plan.architecture,
        license=plan.facts.license,
        used=dict(plan.used),
        dropped=dict(plan.dropped),
        notes=plan.facts.notes,
    )


def network_of(checkpoint: Checkpoint, layout: Format, claims: Claims = NOTHING_CLAIMED) -> tuple[Network, Conversion]:
    """The network of a checkpoint in eval mode, without a head, and how it was made; raises as `convert` does."""
    plan = layout.plan(checkpoint, claims)
    _check_account(checkpoint, plan)
    _check_claims(checkpoint, plan, claims)
    return _network(checkpoint, plan, layout), plan


def _check_account(checkpoint: Checkpoint, plan: Conversion) -> None:
    """Every tensor is used or dropped, and none is both."""
    forgotten = [each for each in checkpoint.tensors if each not in plan.used and each not in plan.dropped]
    twice = [each for each in plan.used if each in plan.dropped]
    if forgotten or twice:
        what = f"neither used nor dropped: {forgotten[0]}" if forgotten else f"both used and dropped: {twice[0]}"
        raise ImportFormatError(f"{checkpoint.path.name} is not understood; this tensor is {what}")


def _check_claims(checkpoint: Checkpoint, plan: Conversion, claims: Claims) -> None:
    """Raise where the user knows it otherwise than the file."""
    file = checkpoint.path.name
    if claims.architecture is not None and claims.architecture.partition(".")[0] != plan.architecture:
        raise ImportFormatError(f"{file} is of the network {plan.architecture}, not of {claims.architecture}")
    size = plan.model_args.get("patch_size")
    if claims.patch_size is not None and claims.patch_size != size:
        how = f"reads patches of {size} pixels" if size else "reads whole images"
        raise ImportFormatError(f"{file} is of {plan.architecture}, which {how}, not patches of {claims.patch_size}")
    padding = plan.model_args.get("stem_padding", 1) if plan.architecture.endswith("_cifar") else None
    if claims.stem_padding is not None and padding is not None and claims.stem_padding != padding:
        raise ImportFormatError(f"{file} has a stem padded by {padding}, not by {claims.stem_padding}")


def _network(checkpoint: Checkpoint, plan: Conversion, layout: Format) -> Network:
    """The network of the plan with its weights; every name and shape must fit."""
    args = {**plan.model_args, "num_classes": 0, "in_chans": plan.facts.input_size[0]}
    where = f"{checkpoint.path.name} does not fit {plan.architecture} as {layout.name}"
    if not timm.is_model(plan.architecture):
        raise ImportFormatError(f"{where}: there is no such network")
    with torch.device("meta"):  # no time for random weights that nobody will see
        network: Network = create_timm_model(plan.architecture, False, args)
    wanted = network.state_dict()
    if any(name not in wanted for name, _ in network.named_buffers()):  # tables that are not saved but computed
        network = create_timm_model(plan.architecture, False, args)
    source = {new: old for old, new in plan.used.items()}
    for key, value in plan.weights.items():
        if key not in wanted:
            raise ImportFormatError(f"{where}: the network has no {key} (in the file: {source.get(key, key)})")
        if value.shape != wanted[key].shape:
            raise ImportFormatError(f"{where}: {key} is {tuple(value.shape)}, the network's {tuple(wanted[key].shape)}")
    counters = [key for key in wanted if key.endswith(_COUNTER) and key not in plan.weights]
    if missing := [key for key in wanted if key not in plan.weights and key not in counters]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ImportFormatError(f"{where}: the file lacks {missing[0]}{more}")
    # Only now, when all of it fits: a file can point to one large storage many times over.
    weights = {key: _clean(value, key, where) for key, value in plan.weights.items()}
    weights.update({key: torch.zeros((), dtype=torch.long) for key in counters})
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _clean(value: Tensor, key: str, where: str) -> Tensor:
    value = value.detach().clone()  # of the file, which may be written to while the network lives
    if value.is_floating_point():
        value = value.float()
        if not bool(torch.isfinite(value).all()):
            raise ImportFormatError(f"{where}: {key} has values that are not finite; the training had diverged")
    return value


def _described(checkpoint: Checkpoint, plan: Conversion, name: str) -> dict[str, Any]:
    """The facts as `model_folder.write` takes them."""
    facts = plan.facts
    trained = "" if facts.method == UNKNOWN else f" trained with {method_title(facts.method)}"
    limits = [*facts.limits, *facts.notes, "Its weights were imported; nothing was measured with them here."]
    if facts.license == UNKNOWN:
        limits.append("Nobody has said under which licence its weights are; ask before you publish it.")
    return {
        "name": name,
        "method": facts.method,
        "data": facts.data,
        "license": facts.license,
        "architecture": plan.architecture,
        "model_args": dict(plan.model_args),
        "input_size": facts.input_size,
        "mean": facts.mean,
        "std": facts.std,
        "interpolation": facts.interpolation,
        "crop_pct": facts.crop_pct,
        "summary": f"{plan.architecture}{trained} on {data_title(facts.data)}, imported from {checkpoint.path.name}.",
        "limits": limits,
    }


def _recipe(checkpoint: Checkpoint, plan: Conversion, layout: Format) -> dict[str, Any]:
    """Where the encoder comes from, and what became of the file's tensors."""
    return {
        "imported_from": checkpoint.path.name,
        "sha256": sha256_of(checkpoint.path),
        "format": layout.name,
        "code": layout.title,
        "tensors_used": len(plan.used),
        "tensors_dropped": dict(Counter(plan.dropped.values())),
        "settings": {key: value for key, value in plan.settings.items() if value is not None},
    }
