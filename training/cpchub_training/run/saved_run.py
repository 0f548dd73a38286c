"""Build the method of a recipe, new or with the weights of a finished run, heads included."""

from __future__ import annotations

from pathlib import Path

import torch.nn as nn

from cpchub.errors import RunError
from cpchub_training import data, methods
from cpchub_training.methods import DataFacts, Method, Teacher
from cpchub_training.recipes import Recipe
from cpchub_training.run import checkpoint
from cpchub_training.run.backbone import build_backbone
from cpchub_training.run.run_folder import CHECKPOINT, recipe_of


def build_method(recipe: Recipe, backbone: nn.Module, facts: DataFacts) -> Method:
    """The method that `recipe.method` names, around `backbone` (a timm network without classifier), not yet trained.

    Raises `RecipeError` for a backbone that the method cannot use, `RunError` if it starts from another run that does
    not exist.
    """
    entry = methods.get(recipe.method)
    teacher = saved_run(Path(recipe.teacher)) if entry.teacher else None
    return entry.build(recipe, backbone, facts, teacher)


def facts_of(images: data.TrainingSet) -> DataFacts:
    """What a method may need to know of `images`."""
    return DataFacts(len(images), 0 if images.labels is None else int(images.labels.max()) + 1)


def saved_run(run_dir: Path) -> Teacher:
    """The recipe of a run and its method as of the last checkpoint, on the CPU.

    Raises `RunError` for a folder without a run or a checkpoint.
    """
    recipe, last = saved_recipe(run_dir), run_dir / CHECKPOINT
    sizes = checkpoint.shapes(last)
    n_images = next((shape[0] for name, shape in sizes.items() if name.endswith("bank.features")), 1)
    n_classes = next((shape[0] for name, shape in sizes.items() if name == "method.classifier.weight"), 0)
    method = build_method(recipe, build_backbone(recipe), DataFacts(n_images, n_classes))
    checkpoint.load(last, {"method": method})
    return Teacher(recipe, method)


def saved_recipe(run_dir: Path) -> Recipe:
    """The recipe of a run that has a checkpoint; `RunError` for a folder without."""
    recipe = recipe_of(run_dir)
    if recipe is None or not (run_dir / CHECKPOINT).is_file():
        missing = "a run" if recipe is None else "a checkpoint"
        raise RunError(f"{run_dir} is not the folder of {missing}; give one that `cpchub train` wrote")
    return recipe
