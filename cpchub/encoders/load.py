"""Load an encoder by name, folder or Hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from cpchub.catalog.timm_names import timm_name
from cpchub.encoders import network
from cpchub.encoders.audio_encoder import AudioEncoder
from cpchub.encoders.encoder import Encoder
from cpchub.errors import ArgumentError
from cpchub.hub.locate import locate
from cpchub.hub.places import tell_of_namesake

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    pretrained: bool = True,
    token: str | None = None,
    cache_dir: str | Path | None = None,
    **timm_kwargs: Any,
) -> Encoder:
    """The encoder of that name, ready to use: weights verified, eval mode, its own transform.

    An encoder of sounds comes as an `AudioEncoder`.

    name_or_path: a catalog name (hyphens and underscores alike), a Hub id (`org/name`, `hf-hub:org/name@rev`), a run
        folder or a model folder (`./photos`, `local-dir:photos`) or any timm name (`timm/resnet50.a1_in1k`, which timm
        itself fetches).
        DINO and DINOv2 have short names too (`dino-vits16`, `dinov2-vitb14`): `cpchub.catalog.timm_names`.
    device, dtype: by default the first GPU if there is one, and float32, where `embed`, and `encode` for many images
        on a CPU, take a faster path of the same vectors (`cpchub.encoders.fast`); a dtype that is named turns that off.
    pretrained: False gives the untrained network, also of a recipe that has no weights.
    timm_kwargs: handed to timm, for example `num_classes=`, `in_chans=`, `features_only=True`, `global_pool=`.

    Raises UnknownModelError with the nearest names, WeightsUnavailableError, HubError, IntegrityError,
    UnsafeWeightsError, ModelFolderError, ArgumentError.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and (theirs := timm_name(text)) is not None:
        tell_of_namesake(text)
        text = f"timm/{theirs}"
    chosen_device, chosen_dtype = _device(device), _dtype(dtype)
    if text.startswith("timm/"):
        _refuse_what_timm_lacks(text, revision, token)
        model, spec = network.build_timm(text.removeprefix("timm/"), pretrained, cache_dir, timm_kwargs)
    else:
        spec = locate(name_or_path, revision=revision, token=token, cache_dir=cache_dir, weights=pretrained)
        model = network.build(spec, pretrained, timm_kwargs)
    spec = network.spec_as_built(spec, model, pretrained, timm_kwargs)
    kind = Encoder if spec.sample_rate is None else AudioEncoder
    encoder = kind(model.to(chosen_device, chosen_dtype), spec)
    encoder.exact = dtype is not None
    # Almost every encoder takes images. With a union here, a type checker would ask for an isinstance at each call.
    return cast(Encoder, encoder)


def _refuse_what_timm_lacks(name: str, revision: str | None, token: str | None) -> None:
    """timm downloads its own weights, always the newest and as the user who is logged in."""
    if revision is not None:
        raise ArgumentError(
            f"revision is {revision!r}, but timm, which downloads {name}, takes none; leave it out, or name the "
            f"repository: hf-hub:{name}@{revision}"
        )
    if token is not None:
        raise ArgumentError(
            f"timm, which downloads {name}, takes no token; set HF_TOKEN or run `hf auth login` instead"
        )


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """timm's `create_model`, which also knows our networks (`resnet18_cifar`) and the catalog's names."""
    name = timm_name(name) or name
    if timm.is_model(name.partition(".")[0]):
        return network.create_timm_model(name, pretrained, kwargs)
    return network.build(locate(name, weights=pretrained), pretrained, kwargs)


def _device(device: str | torch.device | None) -> torch.device:
    """The device asked for. Raises ArgumentError where there is none of that name."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:  # the second: a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise ArgumentError(f"device {str(device)!r} cannot be used: {reason}. Leave it out, or give 'cpu'") from error
    return chosen


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.float32
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    if dtype in DTYPES:
        return DTYPES[str(dtype)]
    raise ArgumentError(f"dtype is {dtype!r}; use one of {', '.join(DTYPES)}")
