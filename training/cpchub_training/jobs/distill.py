"""SimCLR v2's last two steps after pretraining: fine-tune on few labels, then distil on all images without labels.

Chen et al., arXiv 2006.10029. One folder holds it all:

    fine_tuned/  student/  run folders, each of which resumes      export/  the student's encoder, as a model folder
    classifier.safetensors  the student's classifier on it         results.json  what both score on the test part
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpchub.catalog.spec import read_json
from cpchub.common.files import write_json, writing
from cpchub.encoders.model_folder import has_weights_of
from cpchub.encoders.model_folder import write as write_model_folder
from cpchub.errors import OtherRunError, RecipeError, SourceError
from cpchub.fewlabels import label_fractions
from cpchub.hub.integrity import sha256_of
from cpchub_training.data.loading import open_data
from cpchub_training.data.recordings import Recordings
from cpchub_training.jobs.classifier import CLASSIFIER, write_classifier
from cpchub_training.jobs.pretrain import describe, leave_process_group
from cpchub_training.methods import Classifying
from cpchub_training.recipes import Recipe
from cpchub_training.recipes.distillation import Distillation
from cpchub_training.run import ranks
from cpchub_training.run.loop import train
from cpchub_training.run.run_folder import CHECKPOINT
from cpchub_training.run.saved_run import saved_recipe

RESULTS = "results.json"
ORIGIN = "pretraining.json"  # the state of the pretraining that a folder was begun from


def run(pretrained: Path, out: Path, settings: Distillation) -> dict[str, Any] | None:
    """Fine-tune and distil the SimCLR run `pretrained` into the folder `out`; returns the content of `results.json`.

    A stopped call resumes. Under `torchrun` rank 0 exports and the other ranks return None.
    Raises `RunError` for a folder without a run, `OtherRunError` where `out` was begun from another state of the
    pretraining, `RecipeError` for settings that cannot work.
    """
    ranks.launch()
    with ranks.first_writes(f"{out / ORIGIN}") as mine:
        pretraining = saved_recipe(pretrained)
        if mine:
            _begun_from(pretrained / CHECKPOINT, out)
        images = open_data(pretraining)
        if isinstance(images, Recordings):
            raise RecipeError(f"{pretrained} is a run on sound; distillation is for images")
        if images.labels is None:
            raise SourceError(f"{pretraining.data} has no labels to fine-tune on; put its images in one folder a class")
        fraction = settings.label_fraction
        rows = label_fractions(images.labels.numpy(), [fraction], settings.seed)[fraction]
    tuned = train(
        fine_tuning(pretraining, pretrained, settings, len(rows)), out / "fine_tuned", images=images.subset(rows)
    )
    recipe = distillation(pretraining, out / "fine_tuned", settings)
    student = train(recipe, out / "student", images=images.without_labels())
    if not leave_process_group():
        return None
    if not has_weights_of(out / "export", student.backbone):
        write_model_folder(
            student.backbone,
            out / "export",
            facts=describe(recipe, len(images), recipe.name.replace("_", "-")),
            recipe=recipe.to_dict(),
            evaluation=None,
        )
    results: dict[str, Any] = {"labels": len(rows), "pictures": len(images), "seed": settings.seed, "accuracy": {}}
    for name, method in (("fine_tuned", tuned.method), ("student", student.method)):
        path = out / CLASSIFIER if name == "student" else out / name / CLASSIFIER
        value = write_classifier(method, recipe, path) if isinstance(method, Classifying) else None
        if value is not None:
            results["accuracy"][name] = round(value, 4)
    write_json(out / RESULTS, results)
    return results


def _begun_from(checkpoint: Path, out: Path) -> None:
    """Record the weights that `out` starts from; refuse other weights, for example of a run that was trained further
    since."""
    now = {"checkpoint_sha256": sha256_of(checkpoint, fresh=True)}
    note = out / ORIGIN
    if note.is_file() and read_json(note) != now:
        raise OtherRunError(f"{out} was begun from other weights than {checkpoint} has now; choose another --out")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(note, now)


def fine_tuning(pretraining: Recipe, run_dir: Path, settings: Distillation, n_labelled: int) -> Recipe:
    """The recipe of the second step: crops and flips, LARS without weight decay or warm-up (appendix of the paper)."""
    batch = min(settings.batch_size or pretraining.batch_size, n_labelled)
    return replace(
        _plain(pretraining),
        name=f"{pretraining.name}_fine_tuned",
        method="fine_tune",
        teacher=str(run_dir),
        head_layers=settings.head_layers,
        optimizer="lars",
        lr=settings.fine_tune_lr or 0.005 * math.sqrt(batch),
        weight_decay=0.0,
        warmup_epochs=0,
        epochs=settings.fine_tune_epochs,
        batch_size=batch,
        drop_last=False,
        seed=settings.seed,
    )


def distillation(pretraining: Recipe, teacher: Path, settings: Distillation) -> Recipe:
    """The recipe of the third step, on all images: crops and flips, LARS."""
    batch = settings.batch_size or pretraining.batch_size
    student = settings.student or pretraining.backbone
    try:
        args = json.loads(settings.student_args) if settings.student else dict(pretraining.backbone_args)
    except ValueError as error:
        raise RecipeError(f"student_args={settings.student_args!r} is not JSON ({error})") from error
    return replace(
        _plain(pretraining),
        name=f"{pretraining.name}_distilled",
        method="distil",
        teacher=str(teacher),
        backbone=student,
        backbone_args=args,
        optimizer="lars",
        lr=settings.lr or 0.075 * math.sqrt(batch),
        temperature=settings.temperature,
        epochs=settings.epochs,
        batch_size=batch,
        seed=settings.seed,
    )


def _plain(pretraining: Recipe) -> Recipe:
    """One view with a crop and a flip, without the other augmentations and settings of the pretraining."""
    views = replace(pretraining.views, jitter_p=0.0, grey_p=0.0, blur_p=0.0, solarize_p=0.0)
    once = replace(pretraining, views=views, n_views=1, plain_views=0, schedule="cosine", knn_every=0)
    return replace(once, init_from="", ema_decay=0.0, accumulate=1)
