"""The linear classifier that some methods train with their encoder: saved in the run folder, measured on the test
part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from cpchub.catalog.licences import UNKNOWN, inherited
from cpchub.common.files import replacing, save_tensors
from cpchub_training import data
from cpchub_training.jobs.lineage import parents_of
from cpchub_training.methods import Classifying
from cpchub_training.recipes import Recipe
from cpchub_training.run.features import prepared

CLASSIFIER = "classifier.safetensors"


def write_classifier(method: Classifying, recipe: Recipe, path: Path) -> float | None:
    """Write the linear classifier of `method`, and return its test accuracy if there is a test part.

    The file holds weight `[classes, D]` and bias. They apply to the encoder's vectors; in a fine-tuned run, to the
    output of the head layers that it kept. The header holds the names of the classes, the accuracy of the final epoch,
    and the licence where the encoder was made of another one.
    """
    facts: dict[str, Any] = {}
    value = None
    if recipe.data in data.HAVE_TEST_PART:
        test = data.load(recipe.data, split="test")
        value = accuracy(method, test, recipe)
        facts = {"classes": json.dumps(test.classes), "accuracy": f"{value:.4f}", "data": recipe.data}
    if parents := parents_of(recipe):
        facts["license"] = inherited(UNKNOWN, parents)
    head = method.classifier
    tensors = {name: each.detach().cpu().contiguous() for name, each in head.state_dict().items()}
    with replacing(path) as partial:
        save_tensors(tensors, partial, facts)
    return value


def accuracy(method: Classifying, test: data.Images, recipe: Recipe) -> float:
    """Test accuracy of a method that has `logits`, at the recipe's input size."""
    device = next(method.parameters()).device
    method.eval()
    logits: Any = method.logits
    with torch.no_grad():
        answers = [logits(x).argmax(1).cpu() for x in prepared(test.images, recipe, device)]
    return float((torch.cat(answers) == torch.from_numpy(test.class_of_each())).float().mean())
