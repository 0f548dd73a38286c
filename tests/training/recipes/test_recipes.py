"""Every recipe survives JSON, passes its own checks and builds its network."""

from __future__ import annotations

import json

import pytest
import torch

from cpchub_training import recipes
from cpchub_training.recipes import Recipe
from cpchub_training.run.backbone import build_backbone


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_json_and_builds_its_network(name: str) -> None:
    recipe = recipes.get(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    recipe.check(n_images=50000)
    with torch.device("meta"):  # the largest have hundreds of millions of parameters
        build_backbone(recipe)
