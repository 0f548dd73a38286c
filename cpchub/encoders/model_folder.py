"""Write a model folder: the folder that `cpchub publish` uploads and plain timm loads.

    config.json  model.safetensors  README.md  recipe.json  eval.json

The folder appears complete or not at all, and only after it has given the backbone's own features back. Training
and the importers write their encoders with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import cpchub
from cpchub.catalog.listing import catalog_folder
from cpchub.catalog.origin import ORIGIN, Origin
from cpchub.catalog.spec import CARD, CONFIG, EVALUATION, RECIPE, WEIGHTS, check_model_folder
from cpchub.common.files import put_in_place, replacing, save_tensors, write_json, writing
from cpchub.encoders.network import Network
from cpchub.errors import ModelFolderError
from cpchub.hub import card
from cpchub.hub.integrity import sha256_of

FACTS = (
    "name", "method", "data", "license", "architecture", "model_args", "input_size", "mean", "std", "interpolation",
    "crop_pct", "summary",
)  # fmt: skip
EXTRA_FACTS = ("aliases", "limits", "sample_rate", "derived_from", "command")


def write(
    backbone: Network,
    folder: Path,
    *,
    facts: Mapping[str, Any],
    recipe: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
) -> Path:
    """Write the model folder of a backbone and return it.

    backbone: a timm network; a classifier on it is left out.
    facts: FACTS, and EXTRA_FACTS where they apply; `data` is a name for readers, not a path.
    recipe: what made it, as JSON values; absolute paths are shortened to their last part.
    evaluation: the measurements in eval.json's form, or None.

    An earlier export at `folder` is replaced; what was written in its card outside our block is kept. Raises
    OutputError if it holds anything else, NoSpaceError on a full disk, ModelFolderError if facts are missing or the
    exported network does not give the backbone's features.
    """
    _check_facts(facts)
    folder = Path(folder)
    check_model_folder(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            complete = Path(scratch) / "export"
            complete.mkdir()
            _write(complete, backbone, facts, recipe, evaluation)
            text = _card_text(complete, _card_of(folder), by_name=_in_catalog(folder))
            (complete / CARD).write_text(text, encoding="utf-8")
            _check_features(complete, backbone, facts)
            put_in_place(complete, folder)
    return folder


def has_weights_of(folder: Path, backbone: Network) -> bool:
    """Whether `folder` is a complete model folder with the weights of `backbone`."""
    if not all((folder / name).is_file() for name in (CONFIG, CARD, RECIPE, WEIGHTS)):
        return False
    trained = backbone.state_dict()
    try:
        there = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError):
        return False
    return all(
        name in trained and torch.equal(trained[name].to("cpu", value.dtype), value) for name, value in there.items()
    )


def render_card(folder: Path) -> None:
    """Write README.md again after eval.json or the facts have changed; text outside our block is kept.

    Raises ModelFolderError for a folder that is none, OutputError and NoSpaceError; the card that was there then stays.
    """
    text = _card_text(folder, _card_of(folder), by_name=_in_catalog(folder))
    with replacing(folder / CARD) as partial:
        partial.write_text(text, encoding="utf-8")


def _card_text(folder: Path, existing: str, *, by_name: bool) -> str:
    """The card of the files in a folder, our block put into the text of `existing`."""
    config, recipe, evaluation = (_read(folder / name) for name in (CONFIG, RECIPE, EVALUATION))
    if config is None:
        raise ModelFolderError(f"{folder} has no {CONFIG}; a model folder is what `export` writes")
    found = _read(folder / ORIGIN)
    origin = Origin.of(found, folder / ORIGIN) if found is not None else None
    return card.merge(existing, card.render(config, recipe, evaluation, by_name=by_name, origin=origin))


def _in_catalog(folder: Path) -> bool:
    """Whether the encoder of a folder is loaded by its name."""
    return folder.resolve().parent == catalog_folder().resolve()


def _card_of(folder: Path) -> str:
    """The card that is there already, or nothing."""
    path = folder / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _check_facts(facts: Mapping[str, Any]) -> None:
    missing = [name for name in FACTS if name not in facts]
    unknown = sorted(set(facts) - set(FACTS) - set(EXTRA_FACTS))
    if missing or unknown:
        problem = f"lack {', '.join(missing)}" if missing else f"have {', '.join(unknown)}, which nobody reads"
        raise ModelFolderError(f"The facts of the export {problem}; they are {', '.join(FACTS)}")


def _write(
    folder: Path,
    backbone: Network,
    facts: Mapping[str, Any],
    recipe: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
) -> None:
    network = _network(facts)
    state = _headless(backbone, network, str(facts["architecture"]))
    weights = folder / WEIGHTS
    save_tensors(state, weights, {"format": "pt"})
    config = _config(network, facts, {"sha256": sha256_of(weights), "size": weights.stat().st_size})
    write_json(folder / CONFIG, config)
    write_json(folder / RECIPE, _without_paths(recipe))
    if evaluation is not None:
        write_json(folder / EVALUATION, dict(evaluation))


def _network(facts: Mapping[str, Any]) -> Network:
    args = {**facts["model_args"], "num_classes": 0, "in_chans": int(facts["input_size"][0])}
    with torch.device("meta"):  # only its names and shapes are asked for
        network: Network = timm.create_model(str(facts["architecture"]), pretrained=False, **args)
    return network


def _headless(backbone: Network, network: Network, architecture: str) -> dict[str, Tensor]:
    """The backbone's weights under the network's names, float32 on the CPU; a classifier is dropped."""
    trained = backbone.state_dict()
    wanted = network.state_dict()
    if missing := [key for key in wanted if key not in trained]:
        raise ModelFolderError(
            f"The backbone lacks {len(missing)} tensor(s), first {missing[0]}, so it is not timm's {architecture} "
            "with these model_args; give the arguments it was built with"
        )
    head = backbone.get_classifier() if hasattr(backbone, "get_classifier") else None
    head_keys = (
        {id(value) for value in head.state_dict(keep_vars=True).values()} if isinstance(head, nn.Module) else set()
    )
    kept_vars = backbone.state_dict(keep_vars=True)
    if extra := [key for key in trained if key not in wanted and id(kept_vars[key]) not in head_keys]:
        raise ModelFolderError(
            f"timm's {architecture} with these model_args has no {extra[0]}; give the arguments it had"
        )
    state = {}
    for key, like in wanted.items():
        if trained[key].shape != like.shape:
            raise ModelFolderError(
                f"{key} is {tuple(trained[key].shape)} in the backbone, {tuple(like.shape)} in timm's"
            )
        state[key] = trained[key].detach().to("cpu", like.dtype).contiguous().clone()
    return state


def _config(network: Network, facts: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """timm's schema. `pretrained_cfg` may hold only keys that timm knows; ours stand under `cpchub`."""
    global_pool = facts["model_args"].get("global_pool", "avg")
    first_conv = next(name for name, module in network.named_modules() if isinstance(module, (nn.Conv1d, nn.Conv2d)))
    return {
        "architecture": facts["architecture"],
        "num_classes": 0,
        "num_features": int(getattr(network, "head_hidden_size", network.num_features)),
        "global_pool": global_pool,
        "model_args": {**facts["model_args"], "num_classes": 0},
        "pretrained_cfg": {
            "tag": "cpchub",
            "custom_load": False,
            "input_size": [int(side) for side in facts["input_size"]],
            "fixed_input_size": bool(network.pretrained_cfg.get("fixed_input_size", False)),
            "interpolation": facts["interpolation"],
            "crop_pct": float(facts["crop_pct"]),
            "crop_mode": "center",
            "mean": [float(value) for value in facts["mean"]],
            "std": [float(value) for value in facts["std"]],
            "num_classes": 0,
            "pool_size": None,
            "first_conv": first_conv,  # timm's default is wrong for stem_type="deep", and in_chans=1 depends on it
            "classifier": network.pretrained_cfg.get("classifier"),
            "license": str(facts["license"]).lower(),
        },
        "cpchub": {
            "name": facts["name"],
            "method": facts["method"],
            "data": facts["data"],
            "license": facts["license"],
            "summary": facts["summary"],
            **{name: facts[name] for name in EXTRA_FACTS if name in facts},
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "weights": {WEIGHTS: dict(weights)},
            "version": cpchub.__version__,
        },
    }


@torch.inference_mode()
def _check_features(folder: Path, backbone: Network, facts: Mapping[str, Any]) -> None:
    """Raise unless plain timm, reading the folder, gives the backbone's pooled features."""
    reread = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    parameter = next(backbone.parameters())
    x = torch.randn(2, *(int(side) for side in facts["input_size"]), generator=torch.Generator().manual_seed(0))
    training = backbone.training
    backbone.eval()
    try:
        x_there = x.to(parameter.device, parameter.dtype)
        expected = backbone.forward_head(backbone.forward_features(x_there), pre_logits=True).float().cpu()
    finally:
        backbone.train(training)
    seen = reread(x)
    # Loose enough for a backbone on a GPU or in half precision; a wrong network is off by far more.
    if seen.shape != expected.shape or not torch.allclose(seen, expected, rtol=0.05, atol=0.05 * float(expected.std())):
        raise ModelFolderError(
            "The exported network does not give the backbone's features; its model_args are not those it was built with"
        )


def _without_paths(value: Any) -> Any:
    """JSON values with absolute paths cut to their last part: they name folders of one machine."""
    if isinstance(value, Mapping):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(each) for each in value]
    if isinstance(value, PurePath) or (isinstance(value, str) and PurePath(value).is_absolute()):
        return PurePath(value).name
    return value


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
