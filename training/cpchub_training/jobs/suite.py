"""Several recipes, each to its end: trained in turns, exported, evaluated, with a card, and one table of them all.

    OUT/runs/NAME  a run folder each     OUT/model_cards/NAME  its encoder, whole     OUT/table.json, OUT/table.md

What is done is read from the files, so a call goes on wherever an earlier one has ended, by a limit or by a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn

from cpchub.catalog.spec import CARD, CONFIG, EVALUATION, RECIPE, WEIGHTS, read_json
from cpchub.common.files import expanded, only_writer, write_json, writing
from cpchub.common.progress import console
from cpchub.encoders.model_folder import has_weights_of
from cpchub.errors import CpchubError, ModelFolderError, OutputError, RecipeError, RunError
from cpchub_training import methods, recipes
from cpchub_training.data.loading import open_data
from cpchub_training.jobs import pretrain
from cpchub_training.jobs.suite_table import progress_row, result_row, values_of, write_table
from cpchub_training.jobs.time_limit import Clock, TimeUp, time_limit
from cpchub_training.recipes import Recipe
from cpchub_training.run.loop import train

ON_GPU = ("simclr_resnet18_cifar10_200e", "moco_v2_resnet18_cifar10_200e", "cpc_resnet18_cifar10")
ON_CPU = ("simclr_cifar10_short", "moco_v2_cifar10_short", "cpc_cifar10_short")
ROW = "row.json"  # in a run folder: what the table says of it, once its card is written
SAVING = 3 / 60  # minutes before the limit at which training stops, to save its state


@dataclass(frozen=True)
class Limits:
    """minutes: of this call. turn: after so many minutes of training the next recipe has its turn. None is no limit."""

    minutes: float | None = None
    turn: float | None = None


def chosen(
    names: Sequence[str], *, images: str | None = None, limit: int | None = None, epochs: int | None = None
) -> list[Recipe]:
    """The recipes of these names, or those of the device where there are none, with what is given in place of theirs.

    A name that ends in .json is the file of a recipe, such as `recipe.json` of a run. Raises `UnknownModelError` and
    `RecipeError`.
    """
    named = names or (ON_GPU if torch.cuda.is_available() else ON_CPU)
    changes = {"data": images, "limit": limit, "epochs": epochs}
    given = {field: value for field, value in changes.items() if value is not None}
    found = [replace(_recipe(name), **given) for name in named]  # type: ignore[arg-type]
    for recipe in found:
        if sum(each.name == recipe.name for each in found) > 1:
            raise RecipeError(f"{recipe.name} is named twice; a suite has each recipe once")
    return found


def run(found: Sequence[Recipe], out: Path, limits: Limits, *, cards: Path | None = None) -> bool:
    """Bring the recipes to their end in the folder `out`, as far as the limits allow; True where all have come to it.

    cards: the folder of the model folders, `out/model_cards` by default. A recipe that fails is told in the table, and
    the others go on; then `RunError` names those that failed. Raises `OutputError` while another process works in
    `out`.
    """
    cards = cards or out / "model_cards"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with only_writer(out):
        try:
            with suppress(TimeUp), time_limit(limits.minutes) as clock:
                _all(found, out, cards, clock, limits.turn, failed)
        finally:
            rows = [_row(recipe, out, cards, failed) for recipe in found]
            write_table(rows, out)
    if failed:
        raise RunError("; ".join(f"{name} failed: {why}" for name, why in failed.items()))
    return all("knn" in row for row in rows)


def _all(
    found: Sequence[Recipe], out: Path, cards: Path, clock: Clock, turn: float | None, failed: dict[str, str]
) -> None:
    """Turns of the recipes that are not finished, until none is left."""
    left = [recipe for recipe in found if _finished(recipe, out, cards) is None]
    while left:
        for recipe in tuple(left):
            try:
                over = _turn(recipe, out, cards, clock, turn)
            except CpchubError as error:
                failed[recipe.name], over = str(error), True
            if over:
                left.remove(recipe)
            write_table([_row(each, out, cards, failed) for each in found], out)


def _turn(recipe: Recipe, out: Path, cards: Path, clock: Clock, turn: float | None) -> bool:
    """Train for a turn; at the end of the run write its model folder. True where that is done."""
    run_dir = _run_dir(out, recipe)
    images = open_data(recipe, methods.check)
    left = clock.minutes_left() - SAVING
    if left <= 0:
        raise TimeUp
    result = train(recipe, run_dir, images=images, stop_after_minutes=left if turn is None else min(turn, left))
    if not result.finished:
        if clock.minutes_left() <= SAVING:
            raise TimeUp
        return False
    pretrain.finish(recipe, result, run_dir)
    card = _card_dir(cards, recipe)
    _check_card(card, run_dir, result.backbone)
    pretrain.export_run(recipe, result.backbone, card, result.images)
    write_json(run_dir / ROW, result_row(recipe, run_dir, card))
    console.print(f"{recipe.name}: {card}", soft_wrap=True, markup=False)
    return True


def _row(recipe: Recipe, out: Path, cards: Path, failed: dict[str, str]) -> dict[str, Any]:
    if row := _finished(recipe, out, cards):
        return row
    return progress_row(recipe, _run_dir(out, recipe), failed.get(recipe.name))


def _finished(recipe: Recipe, out: Path, cards: Path) -> dict[str, Any] | None:
    """The row of a recipe whose model folder is whole, else None."""
    path, card = _run_dir(out, recipe) / ROW, _card_dir(cards, recipe)
    wanted = (CARD, CONFIG, RECIPE, WEIGHTS)
    if not path.is_file() or not all((card / name).is_file() for name in wanted):
        return None
    row = read_json(path)
    whole = not row["measured"] or (card / EVALUATION).is_file()
    return row if whole and row["recipe"] == values_of(recipe) else None


def _check_card(card: Path, run_dir: Path, backbone: nn.Module) -> None:
    """Raise `OutputError` for an encoder at `card` that this run has not made."""
    if (card / WEIGHTS).exists() and not (run_dir / ROW).exists() and not has_weights_of(card, backbone):
        raise OutputError(f"{card} has an encoder that {run_dir} did not train; name another folder with --cards")


def _run_dir(out: Path, recipe: Recipe) -> Path:
    return out / "runs" / recipe.name


def _card_dir(cards: Path, recipe: Recipe) -> Path:
    return cards / recipe.name.replace("_", "-")


def _recipe(name: str) -> Recipe:
    if not name.endswith(".json"):
        return recipes.get(name)
    path = expanded(name)
    if not path.is_file():
        raise RecipeError(f"there is no file {name}; name a recipe, or the recipe.json of a run")
    try:
        return Recipe.from_dict(read_json(path))
    except (KeyError, TypeError, ModelFolderError) as error:
        raise RecipeError(f"{name} is not the file of a recipe: {error}") from error
