"""`benchmarks.methods` makes a recipe of each method for a slice of CIFAR-10."""

from __future__ import annotations

import pytest

from benchmarks.methods import RECIPES, scaled


@pytest.mark.parametrize("name", RECIPES)
def test_each_method_has_a_recipe_that_can_work(name: str) -> None:
    recipe = scaled(name, epochs=24)
    recipe.check(n_images=5000)
    assert (recipe.name, recipe.method, recipe.epochs) == (name, name, 24)


def test_settings_of_one_method_reach_the_group_that_they_belong_to() -> None:
    assert scaled("cmc", epochs=24).cmc.negatives == "batch"
    assert scaled("instdisc", epochs=24).batch_size == 32
