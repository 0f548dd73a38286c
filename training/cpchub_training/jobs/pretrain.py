"""Pretrain an encoder, export it as a model folder, and evaluate the export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch.distributed as dist
import torch.nn as nn

from cpchub.architectures.colour_paths import CHANNELS, ColourPaths
from cpchub.catalog.licences import UNKNOWN, inherited
from cpchub.catalog.spec import EVALUATION
from cpchub.catalog.vocabulary import method_title
from cpchub.common.files import write_json
from cpchub.encoders.load import load
from cpchub.encoders.model_folder import has_weights_of, render_card
from cpchub.encoders.model_folder import write as write_model_folder
from cpchub_training import data, methods
from cpchub_training.jobs.classifier import CLASSIFIER, write_classifier
from cpchub_training.jobs.lineage import parents_of
from cpchub_training.methods import Classifying
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.command import command_of
from cpchub_training.recipes.own_settings import only_own
from cpchub_training.run.loop import Result, train


class Exported(NamedTuple):
    """The model folder of a run, and whether this call has trained it: False where the run was finished before."""

    folder: Path
    trained: bool


FRACTIONS = (0.01, 0.1)  # of the labels, in a card
DATA_NAMES = {"cifar10": "CIFAR-10", "digits": "UCI handwritten digits (scikit-learn)", "fsdd": "Free Spoken Digits"}


def run(recipe: Recipe, run_dir: Path) -> Exported | None:
    """Train, export and evaluate `recipe` in `run_dir`; the model folder is `run_dir/export`.

    On a data set with a test part the encoder is evaluated as published, and its card has the numbers. Under
    `torchrun` the first rank exports; the others are done after training and return None.
    """
    result = train(recipe, run_dir)
    return Exported(finish(recipe, result, run_dir), trained=result.steps > 0) if leave_process_group() else None


def finish(recipe: Recipe, result: Result, run_dir: Path) -> Path:
    """Export and evaluate what a finished run in `run_dir` has trained; returns `run_dir/export`."""
    if (
        isinstance(result.method, Classifying) and not recipe.ema_decay
    ):  # the classifier was not trained on the averaged weights that are exported
        write_classifier(result.method, recipe, run_dir / CLASSIFIER)
    return export_run(recipe, result.backbone, run_dir / "export", result.images)


def leave_process_group() -> bool:
    """Leave the process group; return True on rank 0, which exports."""
    if not dist.is_initialized():
        return True
    first = dist.get_rank() == 0
    dist.destroy_process_group()  # the group is no longer needed, and its threads would abort this process at exit
    return first


def export_run(recipe: Recipe, backbone: nn.Module, folder: Path, n_images: int, *, name: str | None = None) -> Path:
    """Write `backbone` as a model folder, then measure that folder and add `eval.json` and its numbers to the card.

    A folder that has these weights already stays as it is, with its licence and with what was measured of it.
    """
    if isinstance(backbone, ColourPaths) and backbone.space == CHANNELS:
        recipe, backbone = _core_view(recipe, backbone)
    facts = describe(recipe, n_images, name or recipe.name.replace("_", "-"))
    if not has_weights_of(folder, backbone):
        write_model_folder(backbone, folder, facts=facts, recipe=only_own(recipe.to_dict()), evaluation=None)
    if recipe.data in data.HAVE_TEST_PART:
        if not (folder / EVALUATION).is_file():
            from cpchub_training.evaluate import Settings, evaluate, open_labelled  # brings scikit-learn: a second

            settings = Settings(fractions=FRACTIONS)
            write_json(folder / EVALUATION, evaluate(load(folder), open_labelled(recipe.data), settings=settings))
        render_card(folder)  # also where an earlier call was killed between the two files
    return folder


def _core_view(recipe: Recipe, backbone: ColourPaths) -> tuple[Recipe, nn.Module]:
    """The encoder of the first modality. The other modalities only helped to train it."""
    args = dict(recipe.backbone_args)
    channels = len(backbone.channels[0])
    path = {"backbone": args["path"], "backbone_args": args.get("path_args", {})}
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return replace(recipe, mean=zeros, std=ones, **path), backbone.paths[0]  # type: ignore[arg-type]


def describe(recipe: Recipe, n_images: int, name: str) -> dict[str, Any]:
    """The facts of a recipe's encoder, as its card and `config.json` state them."""
    images = DATA_NAMES.get(recipe.data, Path(recipe.data).name)
    heard = recipe.takes == "sound"
    labelled = methods.get(recipe.method).labels != "none" or recipe.method == "distil"  # its teacher saw labels
    number = f"{n_images:,} {'recordings' if heard else 'images'}"
    parents = parents_of(recipe)
    how = f"pretrained with {method_title(recipe.method)} on {number} of {images}"
    facts: dict[str, Any] = {
        "name": name,
        "method": recipe.method,
        "data": images,
        "license": inherited("apache-2.0" if recipe.data in DATA_NAMES else UNKNOWN, parents),  # the user chooses
        "architecture": recipe.backbone,
        "model_args": dict(recipe.backbone_args),
        "input_size": (len(recipe.mean), recipe.input_size, recipe.input_size),
        "mean": recipe.mean,
        "std": recipe.std,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "summary": f"{recipe.backbone} {how}, {'with' if labelled else 'without'} labels.",
    }
    if command := command_of(recipe):
        facts["command"] = command
    if parents:
        facts["derived_from"] = [parent._asdict() for parent in parents]
    if heard:  # to timm a waveform is an image one row high
        sound = {"input_size": (1, 1, recipe.audio.window), "mean": (0.0,), "std": (1.0,)}
        facts |= sound | {"sample_rate": recipe.audio.sample_rate}
    return facts
