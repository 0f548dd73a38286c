"""The encoder that a recipe trains: a timm network, fresh or with the weights of a published encoder."""

from __future__ import annotations

import timm
import torch.nn as nn

import cpchub.architectures  # noqa: F401  (registers our networks with timm)
from cpchub.errors import RecipeError
from cpchub_training.recipes import Recipe


def build_backbone(recipe: Recipe) -> nn.Module:
    """The recipe's timm network without a classifier, freshly initialised."""
    try:
        return timm.create_model(recipe.backbone, num_classes=0, **dict(recipe.backbone_args))
    except (RuntimeError, TypeError) as e:
        args = dict(recipe.backbone_args)
        raise RecipeError(f"timm cannot build backbone={recipe.backbone!r} with {args}: {e}") from e


def start_from(recipe: Recipe, backbone: nn.Module) -> None:
    """Give `backbone` the weights of the published encoder `recipe.init_from`.

    Raises `RecipeError` where that is another network.
    """
    from cpchub.encoders.load import load

    encoder = load(recipe.init_from, device="cpu")
    try:
        backbone.load_state_dict(encoder.model.state_dict())
    except RuntimeError as error:
        raise RecipeError(
            f"init_from={recipe.init_from!r} is a {encoder.spec.architecture} with {dict(encoder.spec.model_args)}, "
            f"not the {recipe.backbone} with {dict(recipe.backbone_args)} of this recipe; change --backbone and "
            "--backbone-args to its own"
        ) from error
