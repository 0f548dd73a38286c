"""`cpchub train`: recipes, and flags that change their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpchub.cli import training
from cpchub.cli.main import main
from cpchub.cli.training import TrainRecipe


def test_list_prints_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list"]) == 0
    assert "simclr_digits" in capsys.readouterr().out.splitlines()


def test_an_unknown_recipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simclr_unknown"]) == 2
    assert "simclr_unknown" in capsys.readouterr().err


def test_a_flag_changes_the_field_of_the_recipe_and_nothing_else() -> None:
    from dataclasses import replace

    from cpchub_training import recipes

    command = training.Train.parse(["simclr_digits", "--epochs", "3", "--views.size", "16", "-o", "somewhere"])
    recipe = recipes.get("simclr_digits")
    expected = replace(recipe, epochs=3, views=replace(recipe.views, size=16))
    assert command == TrainRecipe(expected, Path("somewhere"))


def test_the_run_folder_is_named_after_the_recipe() -> None:
    command = training.Train.parse(["simclr-digits"])
    assert isinstance(command, TrainRecipe)
    assert command.out == Path("runs/simclr_digits")


def test_a_value_of_the_wrong_type_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simclr_digits", "--epochs", "many"]) == 2
    assert capsys.readouterr().err == "error: --epochs takes a whole number, not 'many'\n"
