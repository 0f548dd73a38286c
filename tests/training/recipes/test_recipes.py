"""Every recipe survives JSON, passes its own checks and builds its network."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from cpchub.errors import RecipeError
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


@pytest.mark.parametrize("sizes", [((0.5, 8), (0.3, 12)), ((0.0, 8),), ((1.5, 8),), ((0.5, 0),)])
def test_early_sizes_that_cannot_work_are_refused(sizes: tuple[tuple[float, int], ...]) -> None:
    with pytest.raises(RecipeError, match="early_sizes"):
        replace(recipes.get("simclr_digits"), early_sizes=sizes).check(1437)
