"""Recipes: a recipe is a function that returns a `Recipe`; a variant is a few lines that change another.

The resolved recipe is saved in the run folder and published with the weights. `cpchub train NAME --field value`
overrides any field.
"""

from __future__ import annotations

from cpchub_training.recipes import baselines, cifar10, cpc, imagenet, laptop  # noqa: F401  (importing a file of recipes is what registers them)
from cpchub_training.recipes.method_settings import BankSettings, CMCSettings, MoCoSettings, SemiSupervisedSettings
from cpchub_training.recipes.recipe import Recipe
from cpchub_training.recipes.registry import get, names, recipe

__all__ = [
    "BankSettings",
    "CMCSettings",
    "MoCoSettings",
    "Recipe",
    "SemiSupervisedSettings",
    "get",
    "names",
    "recipe",
]
