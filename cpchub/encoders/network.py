"""The timm network that a spec describes, built through timm's own factory, with its weights or without.

timm does the loading, so that a folder gives the same network here as in plain timm; what timm lets pass in silence
(weights that are missing, a keyword that nobody knows) is an error here.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import timm
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

import cpchub.architectures  # noqa: F401  registers our networks with timm
from cpchub.catalog.spec import WEIGHTS, FileRecord, ModelSpec
from cpchub.common.hashing import bytes_sha256
from cpchub.errors import ArgumentError, ModelFolderError, UnknownModelError, WeightsUnavailableError
from cpchub.hub.client import hub_errors
from cpchub.hub.hub_files import check_reachable

TIMM_WEIGHTS = (WEIGHTS, "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
Network: TypeAlias = Any  # an nn.Module that keeps timm's contract, which has no type of its own


def build(spec: ModelSpec, pretrained: bool, kwargs: dict[str, Any]) -> Network:
    """The network of a model folder; `kwargs` go to timm and win over the folder's own, except that no head is default.

    Raises ModelFolderError when network and weights do not fit, ArgumentError for a keyword nobody knows.
    """
    if spec.folder is None:  # a family's network, which needs no entry in the catalog
        if pretrained:
            raise WeightsUnavailableError(f"{spec.name} has no weights; pass pretrained=False")
        return create_timm_model(spec.architecture, False, {"num_classes": 0, **spec.model_args, **kwargs})
    model = create_timm_model(f"local-dir:{spec.folder}", pretrained, {"num_classes": 0, **kwargs})
    if pretrained:
        _refuse_untrained(model, spec)
    return model


def build_timm(
    name: str, pretrained: bool, cache_dir: str | Path | None, kwargs: dict[str, Any]
) -> tuple[Network, ModelSpec]:
    """One of timm's own networks, with its weights if `pretrained`, and the spec that it amounts to."""
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        offer = f"; did you mean {' or '.join(f'timm/{each}' for each in near)}?" if near else ""
        raise UnknownModelError(f"timm has no network called {architecture!r}{offer}")
    with hub_errors(f"timm/{name}", "Fetching"):
        if pretrained:
            _check_reachable(name, cache_dir)
        model = create_timm_model(name, pretrained, {"num_classes": 0, "cache_dir": cache_dir, **kwargs})
    cfg = timm.data.resolve_model_data_config(model)
    return model, ModelSpec(
        name=f"timm/{name}",
        architecture=architecture,
        dim=width(model),
        input_size=tuple(cfg["input_size"]),
        mean=tuple(cfg["mean"]),
        std=tuple(cfg["std"]),
        interpolation=cfg["interpolation"],
        crop_pct=cfg["crop_pct"],
        crop_mode=cfg["crop_mode"],
        license=model.pretrained_cfg.get("license") or "",
        status="hub",
        repo_id=model.pretrained_cfg.get("hf_hub_id"),
    )


def _check_reachable(name: str, cache_dir: str | Path | None) -> None:
    """Ask once whether the Hub is there: timm would ask for each kind of file, for half a minute each."""
    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.hf_hub_id:
        check_reachable(
            cfg.hf_hub_id, [cfg.hf_hub_filename] if cfg.hf_hub_filename else TIMM_WEIGHTS, cache_dir=cache_dir
        )


def create_timm_model(name: str, pretrained: bool, kwargs: dict[str, Any]) -> Network:
    """timm's factory with its errors made ours."""
    try:
        model: Network = timm.create_model(name, pretrained=pretrained, **kwargs)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ArgumentError(
            f"{name}: {str(error).rpartition('() ')[2]}; it is neither ours nor the network's"
        ) from error
    except SafetensorError as error:
        raise ModelFolderError(f"{name}: the weights cannot be read as safetensors ({error})") from error
    except RuntimeError as error:
        if "Unknown model" in str(error):
            raise UnknownModelError(f"{name} needs a network that timm does not have ({error}); update timm") from error
        if "No pretrained weights" in str(error):
            raise WeightsUnavailableError(f"timm has no weights for {name}; pass pretrained=False") from error
        if "state_dict" in str(error):
            raise ModelFolderError(f"{name}: the weights do not fit the network of config.json ({error})") from error
        raise
    return model


def _refuse_untrained(model: Network, spec: ModelSpec) -> None:
    """Raise if a layer other than the head kept its random weights: timm loads without `strict` when heads differ."""
    if spec.folder is None or not hasattr(model, "get_classifier"):
        return  # features_only: timm wraps the network, and leaves out what comes after the last map
    with safe_open(spec.folder / WEIGHTS, framework="pt") as file:
        stored = set(file.keys())
    head = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((head,) if isinstance(head, str) else head))
    missing = [key for key in model.state_dict() if key not in stored and not (heads and key.startswith(heads))]
    if missing:
        raise ModelFolderError(
            f"{spec.folder / WEIGHTS} lacks the weights of {len(missing)} tensor(s), first {missing[0]}; it is not of "
            f"the network {spec.architecture} that config.json names"
        )


def spec_as_built(spec: ModelSpec, model: Network, pretrained: bool, kwargs: dict[str, Any]) -> ModelSpec:
    """The spec of this very network: the caller's changes are in it, so its fingerprint tells them apart."""
    changes: dict[str, Any] = {"dim": width(model)}
    if kwargs:
        changes["model_args"] = {**spec.model_args, **kwargs}
    channels = int(kwargs.get("in_chans") or spec.input_size[0])
    if channels != spec.input_size[0]:
        changes["input_size"] = (channels, *spec.input_size[1:])
        changes["mean"] = (sum(spec.mean) / len(spec.mean),) * channels
        changes["std"] = (sum(spec.std) / len(spec.std),) * channels
    if not pretrained or WEIGHTS not in spec.files:
        encoded = to_safetensors({key: value.contiguous().cpu() for key, value in model.state_dict().items()})
        changes["files"] = {WEIGHTS: FileRecord(bytes_sha256(encoded), len(encoded))}
    return replace(spec, **changes)


def width(model: Network) -> int:
    """D: the length of a pooled vector, or the channels of the last map where there is no pooling."""
    if hasattr(model, "head_hidden_size"):  # num_features is the width of the map; pooling may double it
        return int(model.head_hidden_size)
    if hasattr(model, "num_features"):
        return int(model.num_features)
    return int(model.feature_info.channels()[-1])
