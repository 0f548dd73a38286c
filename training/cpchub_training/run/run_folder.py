"""Locking and ownership of run folders: one recipe per folder, one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpchub.common.files import check_free, only_writer, write_json
from cpchub.errors import OtherRunError, RunError
from cpchub_training.recipes import Recipe
from cpchub_training.run import checkpoint, optimizers

RECIPE = "recipe.json"
CHECKPOINT = Path("checkpoints") / "last.safetensors"


@contextmanager
def claimed(run_dir: Path, recipe: Recipe, steps_per_epoch: int) -> Iterator[None]:
    """Lock `run_dir` for a run of `recipe`; the folder is made if it does not exist.

    A changed number of epochs is accepted as long as no learning rate so far depended on it, and so is what decides
    where things are kept and not what they are: `fsdp` and `image_cache`. Raises `OtherRunError` if
    the folder holds a run of another recipe, `RunError` if something that is no run, `OutputError` while another
    process trains in it.
    """
    theirs = recipe_of(run_dir)
    if theirs is None:
        check_free(run_dir, way_out="it is not a run folder, so choose another --out", error=RunError)
    same = theirs is None or replace(theirs, **_places(recipe)) == recipe
    if theirs is not None and not same and not _differs_in_length(run_dir, theirs, recipe, steps_per_epoch):
        mine, other = recipe.to_dict(), theirs.to_dict()
        changed = ", ".join(f"{k}: {other[k]!r} there, {mine[k]!r} here" for k in mine if mine[k] != other[k])
        raise OtherRunError(f"{run_dir} holds a run of another recipe ({changed}); choose another --out")
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_writer(run_dir):
        if theirs != recipe:
            write_json(run_dir / RECIPE, recipe.to_dict())
        yield


def _differs_in_length(run_dir: Path, old: Recipe, new: Recipe, steps_per_epoch: int) -> bool:
    """Whether the recipes differ in `epochs` only, and all steps done so far are the same with both."""
    if replace(old, epochs=new.epochs, **_places(new)) != new:
        return False
    last = run_dir / CHECKPOINT
    done = int(checkpoint.progress(last)["step"]) if last.exists() else 0
    return done <= min(optimizers.independent_of_length(recipe, steps_per_epoch) for recipe in (old, new))


def _places(recipe: Recipe) -> dict[str, Any]:
    """The settings of a recipe that do not influence the result."""
    return {"fsdp": recipe.fsdp, "image_cache": recipe.image_cache}


def recipe_of(run_dir: Path) -> Recipe | None:
    """The recipe of the run in `run_dir`, or None where there is no run; `RunError` if it cannot be read."""
    path = run_dir / RECIPE
    if not path.exists():
        return None
    try:
        return Recipe.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); put it back, or choose another --out") from error
